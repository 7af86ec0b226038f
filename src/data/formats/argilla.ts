/**
 * Records of Argilla with a ranking question, as `dataset.records.to_json` and the hub hold them
 * (https://docs.argilla.io/latest/how_to_guides/import_export/): nested, with `fields` and `responses`; flat, with
 * "<question>.responses"; or as version 1 wrote them, with a list of {user_id, value, status}. The answers are the fields that the
 * rankings name; several people's rankings become shares of votes (votes.ts). Discarded responses do not count.
 */
import type { Fields } from "./fields.ts";
import { isObject } from "./fields.ts";
import { CannotWrite, type DataFormat, has } from "./format.ts";
import { comparisonOf, inOrder, orderOf, type Ranking } from "./votes.ts";
import type { Content } from "./turns.ts";

const promptNames = ["prompt", "instruction", "input", "question", "query", "text", "context", "chat"];
/** Who answered, where records that were no answers of people are written. */
const nobody = "00000000-0000-0000-0000-000000000000";

export const argilla: DataFormat = {
  title: "Argilla rankings",
  source: "https://docs.argilla.io/latest/how_to_guides/import_export/",
  detect(row) {
    if (row.isObject("fields") && row.isObject("responses")) return has("fields", "responses");
    const flat = flatQuestion(row);
    if (flat !== undefined) return has(`${flat}.responses`);
    const old = oldQuestion(row);
    return old === undefined ? undefined : `${has(old)} with rankings of users`;
  },
  read(row) {
    const { fields, rankings } = row.isObject("fields")
      ? nested(row)
      : flatQuestion(row) === undefined
        ? versionOne(row)
        : flattened(row);
    if (rankings.length === 0)
      row.fail(
        "responses",
        "nobody has ranked the answers",
        "Leave the record out, or set data.invalid to skip",
      );
    const names = [...new Set(rankings.flatMap((ranking) => [...ranking.keys()]))].sort();
    if (names.length < 2) row.fail("responses", "they rank fewer than two answers");
    const prompt = promptNames.find((name) => fields.has(name) && !names.includes(name));
    if (prompt === undefined)
      return fields.fail("prompt", "it is missing", `Name it one of ${promptNames.join(", ")}`);
    const answers = new Map(names.map((name) => [name, fields.content(name)]));
    const id = row.any("id");
    return [
      {
        ...comparisonOf(fields.content(prompt), answers, rankings),
        ...(id !== undefined && id !== null && { id }),
      },
    ];
  },
  writer: {
    kinds: ["pair", "list"],
    open: false,
    write(record, notes) {
      const paired = record.has("chosen");
      const given: readonly Content[] = paired
        ? [record.content("chosen"), record.content("rejected")]
        : (record.list("completions") as readonly Content[]);
      const names = given.map((_, i) => `response${i + 1}`);
      const scores = paired ? [1, 0] : (record.listOr("scores") as readonly number[] | undefined);
      if (!scores) throw new CannotWrite("scores", "there are none, and answers are ranked here");
      const order = orderOf(names, scores);
      if (!order.exact) notes.lose("scores (their order is kept)");
      const id = record.any("id");
      return {
        ...(id !== undefined && { id: String(id) }),
        status: "completed",
        fields: {
          prompt: record.content("prompt"),
          ...Object.fromEntries(names.map((name, i) => [name, given[i]])),
        },
        metadata: {},
        suggestions: {},
        responses: { preference: [{ value: order.names, user_id: nobody }] },
        vectors: {},
      };
    },
  },
};

interface Ranked {
  readonly fields: Fields;
  readonly rankings: readonly Ranking[];
}

function nested(row: Fields): Ranked {
  row.skip("status", "_server_id");
  for (const name of ["metadata", "suggestions", "vectors"]) {
    const value = row.peek(name);
    if (isObject(value) && Object.keys(value).length === 0) row.skip(name);
  }
  const responses = row.object("responses");
  const question = responses.names.find((name) => rankingsIn(responses.peek(name)).length > 0);
  const rankings = question === undefined ? [] : rankingsIn(responses.any(question));
  return { fields: row.object("fields"), rankings };
}

function flattened(row: Fields): Ranked {
  const question = flatQuestion(row) ?? "";
  const values = row.list(`${question}.responses`);
  const statuses = row.listOr(`${question}.responses.status`) ?? [];
  row.skip(`${question}.responses.users`, "status", "_server_id");
  const rankings = values.flatMap((value, i) => rankingOf(value, statuses[i]));
  return { fields: row, rankings };
}

function versionOne(row: Fields): Ranked {
  const question = oldQuestion(row) ?? "";
  return { fields: row, rankings: rankingsIn(row.any(question)) };
}

function flatQuestion(row: Fields): string | undefined {
  const names = row.names.filter((name) => name.endsWith(".responses"));
  const found = names.find((name) => {
    const list = row.peek(name);
    return Array.isArray(list) && list.some((value) => rankingOf(value).length > 0);
  });
  return found?.slice(0, -".responses".length);
}

const oldQuestion = (row: Fields): string | undefined =>
  row.names.find((name) => {
    const list = row.peek(name);
    return (
      Array.isArray(list) && list.some((r) => isObject(r) && "user_id" in r) && rankingsIn(list).length > 0
    );
  });

/** The rankings among responses: {value, user_id, status}. */
function rankingsIn(responses: unknown): Ranking[] {
  if (!Array.isArray(responses)) return [];
  return responses.flatMap((r) => (isObject(r) ? rankingOf(r.value, r.status) : []));
}

/** One ranking: names in order, a list of {rank, value}, or {rank: [...], value: [...]}. Nothing where it is none. */
function rankingOf(value: unknown, status?: unknown): Ranking[] {
  if (status === "discarded" || status === "draft") return [];
  if (isObject(value) && Array.isArray(value.rank) && Array.isArray(value.value)) {
    const ranks = value.rank as unknown[];
    return rankingOf(value.value.map((name, i) => ({ value: name as unknown, rank: ranks[i] })));
  }
  if (!Array.isArray(value) || value.length < 2) return [];
  if (value.every((name) => typeof name === "string")) return [inOrder(value as string[])];
  const ranked = value.flatMap((v): [string, number][] =>
    isObject(v) && typeof v.value === "string" && typeof v.rank === "number" ? [[v.value, v.rank]] : [],
  );
  return ranked.length === value.length ? [new Map(ranked)] : [];
}
