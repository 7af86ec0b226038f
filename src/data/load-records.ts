/** Reads records from files and checks every one. By default the first bad record is an error; `skip` lists and counts them. */
import { RequestError } from "../errors.ts";
import { readJson } from "../formats/files.ts";
import { type JsonLine, readJsonl } from "../formats/jsonl.ts";
import { type DataKind, type DataRecord, type Problem, parseRecord } from "./records.ts";

/** Where a record came from. */
export interface Source {
  /** File, or "records" for values passed by a program. */
  readonly file: string;
  /** Line, or index from 1. */
  readonly line: number;
}

export interface LoadedRecord {
  readonly record: DataRecord;
  readonly source: Source;
}

export interface Skipped extends Problem {
  readonly source: Source;
}

export interface LoadedRecords {
  readonly records: readonly LoadedRecord[];
  readonly skipped: readonly Skipped[];
}

export interface LoadOptions {
  /** What to do with a record that cannot be used. */
  readonly invalid?: "error" | "skip";
  /** What records may be; default: anything. */
  readonly kinds?: readonly DataKind[];
  /** More to say about a record that cannot be used: what it would do for. */
  readonly hint?: (value: unknown, line: number) => string | undefined;
}

export const showSource = ({ file, line }: Source): string => `${file}:${line}`;

/** Loads a .jsonl or .json file, or checks values that are there already. */
export async function loadRecords(
  from: string | readonly unknown[],
  options: LoadOptions = {},
): Promise<LoadedRecords> {
  const { invalid = "error", kinds } = options;
  const file = typeof from === "string" ? from : "records";
  const records: LoadedRecord[] = [];
  const skipped: Skipped[] = [];
  for await (const { line, value } of typeof from === "string" ? linesOf(from) : numbered(from)) {
    const source = { file, line };
    const parsed = parseRecord(value, kinds);
    if ("record" in parsed) records.push({ record: parsed.record, source });
    else if (invalid === "skip") skipped.push({ source, ...parsed.problem });
    else {
      const { fix = "", ...problem } = parsed.problem;
      const hint = options.hint?.(value, line);
      throw invalidRecord(source, { ...problem, fix: [fix, hint].filter(Boolean).join(". ") || undefined });
    }
  }
  if (records.length === 0) {
    throw new RequestError({
      code: "no-records",
      what: skipped.length > 0 ? `none of its ${skipped.length} records can be used` : "has no records",
      where: file,
      why: skipped.length > 0 ? `the first: ${skipped[0].field} ${skipped[0].why}` : undefined,
      fix: "Give at least one record",
    });
  }
  return { records, skipped };
}

/** The error of a record that cannot be used. */
export function invalidRecord(source: Source, { field, why, fix }: Problem): RequestError {
  return new RequestError({
    code: "record-invalid",
    what: field ? `field "${field}" cannot be used` : "the record cannot be used",
    where: showSource(source),
    why,
    fix,
  });
}

async function* linesOf(path: string): AsyncGenerator<JsonLine> {
  if (!path.endsWith(".json")) {
    yield* readJsonl(path);
    return;
  }
  const value = await readJson(path);
  if (!Array.isArray(value)) {
    throw new RequestError({
      code: "not-a-list",
      what: "is not a JSON list of records",
      where: path,
      fix: "Write a list, or one record a line in a .jsonl file",
    });
  }
  yield* numbered(value);
}

function* numbered(values: readonly unknown[]): Generator<JsonLine> {
  for (const [i, value] of values.entries()) yield { line: i + 1, value };
}
