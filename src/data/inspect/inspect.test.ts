/** What is shown is what is trained: the tokens of rows, each with its mask; truncated ones from the side that was cut. */
import { describe, expect, test } from "vitest";
import { trainByteLevelBpe } from "../../text/bpe-trainer.ts";
import { chatMl } from "../../text/chatml.ts";
import { makeTokenizer } from "../../text/tokenizer.ts";
import { formats } from "../record-formats.ts";
import { parseRecord } from "../records.ts";
import { type RowBuilder, buildRows } from "../rows.ts";
import { type ShownRow, countsOf, inspectRecord } from "./inspect.ts";
import { inspectPage } from "./page.ts";

const trained = trainByteLevelBpe(["the film is a delight", "the film is a mess"], {
  vocabularySize: 290,
  specialTokens: ["<b>", "<|im_start|>", "<|im_end|>"],
  beginToken: "<b>",
  endToken: "<|im_end|>",
  chatTemplate: chatMl,
});
const tokenizer = makeTokenizer(trained.tokenizerJson, trained.tokenizerConfigJson);
const builder: RowBuilder = {
  tokenizer,
  vocabularySize: 290,
  endIds: [2],
  limits: { maxLength: 100, truncation: "error" },
};
const source = { file: "x.jsonl", line: 4 };
const inspect = (value: object, changes: Partial<RowBuilder> = {}) => {
  const parsed = parseRecord(value);
  if ("problem" in parsed) throw new Error(parsed.problem.why);
  return { record: parsed.record, shown: inspectRecord(parsed.record, source, { ...builder, ...changes }) };
};
const pair = { prompt: "the film", chosen: " is a delight", rejected: " is a mess", chosenProb: 0.7 };
const ids = { promptIds: [5, 6, 7, 8], chosenIds: [9, 10, 2], rejectedIds: [11, 2] };

describe("tokens", () => {
  test.each<[string, object]>([
    ["a pair of texts", pair],
    [
      "a conversation",
      {
        messages: [
          { role: "user", content: "the film" },
          { role: "assistant", content: "is a mess" },
        ],
      },
    ],
    ["a list", { prompt: "the", completions: [" film", " mess"] }],
    ["ids", ids],
    [
      "a joint pair",
      {
        chosen: { instruction: "the film", response: "is" },
        rejected: { instruction: "a mess", response: "is" },
      },
    ],
    ["steps", { prompt: "the", completions: ["film", "mess"], labels: [true, false] }],
    ["a prompt alone", { prompt: "the film" }],
  ])("%s: those of its rows, in order", (_, value) => {
    const { record, shown } = inspect(value);
    const rows = buildRows(record, source, builder, formats[record.format].kind);
    const shownIds = (shown as ShownRow[]).map((row) =>
      row.trees.map((t) => ({
        prompt: t.prompt.map((x) => x.id),
        branches: t.branches.map((b) => b.map((p) => ({ role: p.role, ids: p.tokens.map((x) => x.id) }))),
      })),
    );
    expect(shownIds).toEqual(rows.map((row) => row.trees));
  });
  test("masks: given, learned, the end token", () => {
    const [row] = inspect(pair).shown as ShownRow[];
    const [{ prompt, branches }] = row.trees;
    expect(prompt[0]).toEqual({ id: 0, text: "<b>", mask: "prompt", special: true });
    expect(new Set(prompt.map((t) => t.mask))).toEqual(new Set(["prompt"]));
    for (const [part] of branches) {
      expect(part.tokens.at(-1)).toEqual({ id: 2, text: "<|im_end|>", mask: "end", special: true });
      expect(new Set(part.tokens.slice(0, -1).map((t) => t.mask))).toEqual(new Set(["trained"]));
    }
    expect(row.fields).toEqual({ chosenProb: 0.7 });
    expect(countsOf(row)).toMatchObject({ end: 2, truncated: 0 });
  });
  test("without a tokenizer there are ids alone, and an answer without an end token has none", () => {
    const [row] = inspect({ ...ids, rejectedIds: [11] }, { tokenizer: undefined }).shown as ShownRow[];
    const [chosen, rejected] = row.trees[0].branches.map(([part]) => part.tokens);
    expect(chosen).toEqual([
      { id: 9, mask: "trained" },
      { id: 10, mask: "trained" },
      { id: 2, mask: "end" },
    ]);
    expect(rejected).toEqual([{ id: 11, mask: "trained" }]);
  });
  test.each([
    ["keep-end", ["truncated", "truncated", "prompt", "prompt"]],
    ["keep-start", ["prompt", "prompt", "truncated", "truncated"]],
  ] as const)("%s: what was cut off the prompt", (truncation, masks) => {
    const [row] = inspect(ids, { limits: { maxLength: 5, truncation } }).shown as ShownRow[];
    expect(row.trees[0].prompt.map((t) => [t.id, t.mask])).toEqual(
      [5, 6, 7, 8].map((id, i) => [id, masks[i]]),
    );
    expect(countsOf(row).truncated).toBe(row.truncated);
  });
  test("what was cut off answers", () => {
    const [row] = inspect(ids, { limits: { maxLength: 3, truncation: "keep-end" } }).shown as ShownRow[];
    const [[chosen]] = row.trees[0].branches;
    expect(chosen.tokens.map((t) => [t.id, t.mask])).toEqual([
      [9, "trained"],
      [10, "trained"],
      [2, "truncated"],
    ]);
    expect(countsOf(row).truncated).toBe(row.truncated);
  });
  test("a record that does not fit says why", () => {
    const { shown } = inspect(ids, { limits: { maxLength: 3, truncation: "error" } });
    expect(shown).toEqual([
      { source, problem: expect.stringMatching(/^the row has 7 tokens: at most 3 fit/) as string },
    ]);
  });
});

test("the page is whole in itself, escapes text, and tells masks by more than colour", () => {
  const { shown } = inspect({ ...pair, prompt: "<script>alert(1)</script>\n" });
  const page = inspectPage({
    name: "a&b.jsonl",
    facts: [["format", "x"]],
    rows: [...shown, { source, problem: "<bad>" }],
  });
  expect(page).not.toContain("<script");
  expect(page).not.toMatch(/https?:|src=|@import|url\(/);
  expect(page).toContain("a&amp;b.jsonl");
  expect(page).toContain("&lt;bad&gt;");
  expect(page).toContain("prefers-color-scheme: dark");
  expect(page).toMatch(/\.trained \{[^}]*border-bottom/);
  expect(page).toMatch(/\.truncated \{[^}]*line-through/);
  expect(page).toMatch(/\.end \{[^}]*outline/);
  expect(page).toContain('title="end, id 2"');
  expect(page).toContain("↵");
});
