/** What is said of fields that nothing reads. */
import { expect, test } from "vitest";
import { loadRecords } from "./load-records.ts";
import { unreadField, unreadLines } from "./unread.ts";

test("a misspelt field is warned of with what was meant, what tools carry is only named", async () => {
  const pair = { prompt: "p", chosen: "a", rejected: "b" };
  const { unread, format } = await loadRecords([
    { ...pair, wieght: 2, source: "here", id: 1 },
    { ...pair, wieght: 2, chosen_prob: 0.9, meta_data: {} },
    { ...pair, scores: [1, 2], zzz: 1 },
  ]);
  expect(unreadLines("pairs.jsonl", unread, format.name)).toEqual({
    warnings: [
      'pairs.jsonl: field "wieght" of 2 rows is not used. Did you mean weight?',
      'pairs.jsonl: field "chosen_prob" of 1 row is not used. Did you mean chosenProb?',
      'pairs.jsonl: field "scores" of 1 row is not used. Records of this kind have no place for it',
      'pairs.jsonl: field "zzz" of 1 row is not used. No record has such a field',
    ],
    notes: ["pairs.jsonl: fields that are not used: source (1 row), meta_data (1 row)"],
  });
});

test.each(["prompt_id", "Source", "metadata", "__index_level_0__", "model_a"])("%s is a note", (name) => {
  expect(unreadField(name, "prefopt").severity).toBe("note");
});

test("columns of data of others are named, not warned of", () => {
  expect(unreadField("wieght", "ultrafeedback").severity).toBe("note");
  expect(unreadField("wieght", "trl")).toMatchObject({ severity: "warning", hint: "Did you mean weight?" });
});
