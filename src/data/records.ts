/** Records, checked: what one lacks is said by field name, with the formats that would fit. */
import type { z } from "zod";
import {
  type DataKind,
  type DataRecord,
  type Format,
  type FormatName,
  formats,
  looksLike,
} from "./record-formats.ts";

/** Why a value is not a usable record. */
export interface Problem {
  readonly field: string;
  readonly why: string;
  readonly fix?: string;
}

export type Parsed = { readonly record: DataRecord } | { readonly problem: Problem };

/** Checks one value. `kinds` narrows what it should be, for better messages; `comparing` also refuses equal completions. */
export function parseRecord(value: unknown, kinds?: readonly DataKind[], comparing = true): Parsed {
  const candidates = (Object.entries(formats) as [FormatName, Format][]).filter(
    ([, f]) => kinds === undefined || kinds.includes(f.kind),
  );
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return {
      problem: {
        field: "",
        why: "it is not a JSON object",
        fix: `Write for example ${candidates[0][1].example}`,
      },
    };
  }
  const found = candidates.find(([name, f]) => looksLike(name, f, value));
  if (!found) return { problem: missingField(value, candidates) };
  const [format, { schema }] = found;
  const result = schema.safeParse(value);
  if (!result.success) return { problem: invalidField(result.error.issues[0]) };
  // The schema of the format has just accepted it.
  const record = { format, ...result.data } as unknown as DataRecord;
  const problem =
    emptyCompletion(record) ??
    uneven(record) ??
    unshownTools(record) ??
    (comparing ? nothingPreferred(record) : undefined);
  return problem ? { problem } : { record };
}

/** The format that lacks the fewest fields, of equals the one of which most are there; and the first field that it lacks. */
function missingField(value: object, candidates: readonly [FormatName, Format][]): Problem {
  const has = (field: string) => field in value;
  const wanted = (f: Format) => [...f.required, ...(f.oneOf?.slice(0, 1) ?? [])];
  const lacks = (f: Format) => wanted(f).filter((field) => !has(field)).length;
  const there = (f: Format) => wanted(f).length - lacks(f);
  // Of formats that lack as much, the one that is there for the most part; then the simplest.
  const lacking = candidates.filter(([, f]) => lacks(f) > 0);
  const [[, nearest]] = (lacking.length > 0 ? lacking : [...candidates]).sort(
    ([, f], [, g]) =>
      Number(there(g) > 0) - Number(there(f) > 0) ||
      lacks(f) - lacks(g) ||
      there(g) - there(f) ||
      wanted(f).length - wanted(g).length,
  );
  const field = wanted(nearest).find((name) => !has(name)) ?? wanted(nearest)[0];
  const others = (Object.entries(formats) as [FormatName, Format][]).filter(([name, f]) =>
    looksLike(name, f, value),
  );
  const also =
    others.length > 0
      ? `; as it is, it would do as a record of ${others.map(([, f]) => wanted(f).join(" and ")).join(" or ")}`
      : "";
  return { field, why: `it is missing${also}`, fix: `Write for example ${nearest.example}` };
}

function invalidField(issue: z.core.$ZodIssue): Problem {
  const field = issue.path.map(String).join(".");
  if (issue.code === "invalid_union")
    return { field, why: "it must be text or a list of messages with role and content" };
  return { field, why: / received undefined$/.test(issue.message) ? "it is missing" : issue.message };
}

function emptyCompletion(record: DataRecord): Problem | undefined {
  const fields = ["completion", "gold", "chosen", "rejected", "completions"] as const;
  for (const field of fields) {
    const value = (record as Record<string, unknown>)[field];
    const list = field === "completions" && Array.isArray(value) ? value : [value];
    const at = list.findIndex(isEmpty);
    if (at >= 0)
      return {
        field: field === "completions" ? `${field}.${at}` : field,
        why: "it is empty",
        fix: "Give a completion, or remove the record",
      };
  }
  return undefined;
}

function isEmpty(value: unknown): boolean {
  return typeof value === "string" ? value === "" : Array.isArray(value) && isEmptyAnswer(value.at(-1));
}

/** Numbers of a list are one for each completion, labels of steps one for each step. */
function uneven(record: DataRecord): Problem | undefined {
  if (record.format === "stepwise" && record.labels.length !== record.completions.length)
    return {
      field: "labels",
      why: `there are ${record.labels.length} and ${record.completions.length} steps`,
      fix: "Give one label for each step",
    };
  if (record.format !== "list" && record.format !== "listIds") return undefined;
  const n = "completions" in record ? record.completions.length : record.completionsIds.length;
  for (const field of ["scores", "winRates"] as const) {
    const given = record[field];
    if (given && given.length !== n)
      return {
        field,
        why: `it has ${given.length} numbers and there are ${n} completions`,
        fix: "Give one number for each completion",
      };
  }
  return undefined;
}

/** Tools reach the model through its chat template only. */
function unshownTools(record: DataRecord): Problem | undefined {
  if (record.tools === undefined) return undefined;
  const { prompt, chosen, messages } = record as Readonly<Record<string, unknown>>;
  if ([prompt ?? chosen, messages].some(Array.isArray)) return undefined;
  return {
    field: "tools",
    why: "only a chat template can show them, and the record is no conversation",
    fix: "Write the prompt as messages",
  };
}

function nothingPreferred(record: DataRecord): Problem | undefined {
  const [a, b] =
    "chosenIds" in record
      ? [record.chosenIds, record.rejectedIds]
      : "chosen" in record
        ? [record.chosen, record.rejected]
        : [];
  if (a !== undefined && JSON.stringify(a) === JSON.stringify(b)) {
    const field = "chosenIds" in record ? "rejectedIds" : "rejected";
    return {
      field,
      why: "it equals the chosen one, so nothing is preferred",
      fix: "Remove the record, or set data.invalid to skip",
    };
  }
  return undefined;
}

function isEmptyAnswer(last: unknown): boolean {
  if (typeof last !== "object" || last === null) return false;
  const { content: said, tool_calls: calls } = last as { content?: unknown; tool_calls?: unknown };
  return said === "" && !(Array.isArray(calls) && calls.length > 0);
}
