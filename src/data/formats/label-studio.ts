/**
 * Tasks of Label Studio with pairwise or ranker results, as its JSON export holds them (https://labelstud.io/guide/export,
 * https://labelstud.io/tags/pairwise, https://labelstud.io/tags/ranker): `data` with prompt and answers, `annotations` with
 * results. A pairwise result selects "left" or "right" of the two objects that it names; that these are named like fields of
 * `data` is usual and not certain, so usual pairs of names are tried after them. Several annotations become shares of votes.
 */
import type { Row } from "../../formats/rows.ts";
import { type Fields, isObject } from "./fields.ts";
import { CannotWrite, type DataFormat, has } from "./format.ts";
import type { Content } from "./turns.ts";
import { comparisonOf, inOrder, orderOf, type Ranking } from "./votes.ts";

const promptNames = ["prompt", "question", "instruction", "query", "input", "context", "dialogue", "text"];
const usualPairs: readonly (readonly [string, string])[] = [
  ["answer1", "answer2"],
  ["response1", "response2"],
  ["response_a", "response_b"],
  ["text1", "text2"],
  ["left", "right"],
];

export const labelStudio: DataFormat = {
  title: "Label Studio comparisons",
  source: "https://labelstud.io/guide/export",
  detect: (row) =>
    row.isObject("data") && row.isList("annotations") ? has("data", "annotations") : undefined,
  read(row) {
    const data = row.object("data");
    const results = row.objects("annotations").flatMap(resultsOf);
    if (results.length === 0)
      row.fail(
        "annotations",
        "none of them compares answers",
        "Leave the task out, or set data.invalid to skip",
      );
    const prompt = promptNames.find((name) => data.has(name));
    if (prompt === undefined)
      return data.fail("prompt", "it is missing", `Name it one of ${promptNames.join(", ")}`);
    const { answers, rankings } =
      results[0].kind === "pairwise" ? pairwise(row, data, results) : ranked(row, data, results);
    const id = row.any("id");
    return [{ ...comparisonOf(data.content(prompt), answers, rankings), ...(id !== undefined && { id }) }];
  },
  writer: {
    kinds: ["pair", "list"],
    open: false,
    write(record, notes) {
      const id = record.any("id");
      const task = (data: Row, type: string, to: string, value: Row): Row => ({
        ...(id !== undefined && { id }),
        data: { prompt: record.content("prompt"), ...data },
        annotations: [{ result: [{ from_name: "comparison", to_name: to, type, value }] }],
      });
      if (record.has("chosen")) {
        const answers = { answer1: record.content("chosen"), answer2: record.content("rejected") };
        return task(answers, "pairwise", "answer1,answer2", { selected: "left" });
      }
      const completions = record.list("completions");
      const scores = record.listOr("scores") as readonly number[] | undefined;
      if (!scores) throw new CannotWrite("scores", "there are none, and answers are ranked here");
      const items = completions.map((body, i) => {
        if (typeof body !== "string") throw new CannotWrite(`completions.${i}`, "it must be plain text here");
        return { id: String(i + 1), body };
      });
      const order = orderOf(
        items.map((item) => item.id),
        scores,
      );
      if (!order.exact) notes.lose("scores (their order is kept)");
      return task({ items }, "ranker", "items", { ranker: { comparison: order.names } });
    },
  },
};

interface Result {
  readonly kind: "pairwise" | "ranker";
  readonly to: readonly string[];
  readonly value: Row;
}

/** The comparing results of an annotation that was not cancelled. */
function resultsOf(annotation: Fields): Result[] {
  annotation.skip(...annotation.names); // who annotated, when and how long says nothing of the preference
  if (annotation.peek("was_cancelled") === true) return [];
  const results = annotation.listOr("result") ?? [];
  return results.flatMap((r): Result[] => {
    if (!isObject(r) || !isObject(r.value)) return [];
    const names = Array.isArray(r.to_name)
      ? r.to_name.map(String)
      : typeof r.to_name === "string"
        ? r.to_name.split(",")
        : [];
    const to = names.map((name) => name.trim());
    if (r.type === "pairwise") return [{ kind: "pairwise", to, value: r.value }];
    return r.type === "ranker" && isObject(r.value.ranker)
      ? [{ kind: "ranker", to, value: r.value.ranker }]
      : [];
  });
}

interface Compared {
  readonly answers: ReadonlyMap<string, Content>;
  readonly rankings: readonly Ranking[];
}

function pairwise(row: Fields, data: Fields, results: readonly Result[]): Compared {
  const named = results[0].to;
  const pairs = [...(named.length === 2 ? [[named[0], named[1]] as const] : []), ...usualPairs];
  const names = pairs.find((pair) => pair.every((name) => data.has(name)));
  if (!names)
    return data.fail(
      "answer1",
      "the compared answers are not among its fields",
      `Name them like the compared objects, or ${usualPairs[0].join(" and ")}`,
    );
  const [left, right] = names;
  const rankings = results.map(({ value }) => {
    if (value.selected !== "left" && value.selected !== "right")
      return row.fail("annotations", "a pairwise result selects neither left nor right");
    return inOrder(value.selected === "left" ? [left, right] : [right, left]);
  });
  return { answers: new Map([left, right].map((name) => [name, data.content(name)])), rankings };
}

function ranked(row: Fields, data: Fields, results: readonly Result[]): Compared {
  const listName = [results[0].to[0], "items", "answers", "responses"].find(
    (name) => name !== undefined && data.isList(name),
  );
  if (listName === undefined) return data.fail("items", "it is missing");
  const items = data.objects(listName);
  const answers = new Map(
    items.map((item) => [
      String(item.any("id")),
      item.textOr("body") ?? item.textOr("html") ?? item.text("title"),
    ]),
  );
  const rankings = results.map(({ value }) => {
    const lists = Object.values(value).filter(Array.isArray) as unknown[][];
    if (lists.length !== 1)
      return row.fail("annotations", "a ranker result must be one list, in order; buckets have none");
    return inOrder(lists[0].map(String));
  });
  return { answers, rankings };
}
