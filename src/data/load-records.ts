/** Reads records from files and checks every one. By default the first bad record is an error; `skip` lists and counts them. */
import { RequestError } from "../errors.ts";
import { locateData } from "../formats/locations.ts";
import { parseJson } from "../formats/parse-json.ts";
import { readRows, rowFormatOf } from "../formats/rows.ts";
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

/** Loads a file of rows (formats/rows.ts), here or on the hub, or checks values that are there already. */
export async function loadRecords(
  from: string | readonly unknown[],
  options: LoadOptions = {},
): Promise<LoadedRecords> {
  const { invalid = "error", kinds } = options;
  const records: LoadedRecord[] = [];
  const skipped: Skipped[] = [];
  for await (const { source, value, parsed } of typeof from === "string"
    ? parsedFiles(from, kinds)
    : parsedValues(from, kinds)) {
    if ("record" in parsed) records.push({ record: parsed.record, source });
    else if (invalid === "skip") skipped.push({ source, ...parsed.problem });
    else {
      const { fix = "", ...problem } = parsed.problem;
      const hint = options.hint?.(value, source.line);
      throw invalidRecord(source, { ...problem, fix: [fix, hint].filter(Boolean).join(". ") || undefined });
    }
  }
  if (records.length === 0) {
    throw new RequestError({
      code: "no-records",
      what: skipped.length > 0 ? `none of its ${skipped.length} records can be used` : "has no records",
      where: typeof from === "string" ? from : "records",
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

interface Parsed {
  readonly source: Source;
  readonly value: unknown;
  readonly parsed: ReturnType<typeof parseRecord>;
}

async function* parsedFiles(name: string, kinds?: readonly DataKind[]): AsyncGenerator<Parsed> {
  const { files } = await locateData(name);
  for (const { path, name: file } of files) {
    const parse = rowFormatOf(path).textOnly ? parseCells : parseRecord;
    for await (const { line, value } of readRows(path))
      yield { source: { file, line }, value, parsed: parse(value, kinds) };
  }
}

function* parsedValues(values: readonly unknown[], kinds?: readonly DataKind[]): Generator<Parsed> {
  for (const [i, value] of values.entries())
    yield { source: { file: "records", line: i + 1 }, value, parsed: parseRecord(value, kinds) };
}

/**
 * The record of a row whose cells are all text. Where a field must be something else, its cell is read as JSON (numbers,
 * ids, messages), or is absent where it is empty. A cell that is text for the record stays text, unless it is a list of messages.
 */
function parseCells(row: unknown, kinds?: readonly DataKind[]): ReturnType<typeof parseRecord> {
  const cells: Record<string, unknown> = { ...(row as Record<string, string>) };
  for (const [key, cell] of Object.entries(cells)) {
    const value = jsonOf(cell as string);
    if (isMessages(value)) cells[key] = value;
  }
  let parsed = parseRecord(cells, kinds);
  while ("problem" in parsed) {
    const field = parsed.problem.field.split(".")[0];
    const cell = cells[field];
    const value = typeof cell === "string" ? jsonOf(cell) : undefined;
    if (cell === "") delete cells[field];
    else if (value !== undefined) cells[field] = value;
    else break;
    const again = parseRecord(cells, kinds);
    if ("problem" in again && again.problem.field === field) break; // what was said of the cell as it is stands
    parsed = again;
  }
  return parsed;
}

/** The number, list or object that a cell writes; undefined where it is other text. */
function jsonOf(cell: string): unknown {
  if (!/^\s*[-\d[{]/.test(cell)) return undefined;
  try {
    return parseJson(cell, "a cell");
  } catch {
    return undefined;
  }
}

const isMessages = (value: unknown): boolean =>
  Array.isArray(value) &&
  value.length > 0 &&
  value.every((m) => typeof (m as { role?: unknown } | null)?.role === "string");
