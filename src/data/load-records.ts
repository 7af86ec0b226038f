/**
 * Reads records from files of any format (formats/) and checks every one. By default the first bad record is an error; `skip` lists
 * and counts them.
 */
import { RequestError } from "../errors.ts";
import type { Detected } from "./formats/detect.ts";
import { type ReadRow, openData, readData } from "./formats/read-data.ts";
import type { DataKind, DataRecord } from "./record-formats.ts";
import type { Problem } from "./records.ts";

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
  /** Their format, and what it was told by. */
  readonly format: Detected;
  /** Fields that no record has a place for, with the number of rows that have them. */
  readonly unread: ReadonlyMap<string, number>;
}

export interface LoadOptions {
  /** What to do with a record that cannot be used. */
  readonly invalid?: "error" | "skip";
  /** What records may be; default: anything. */
  readonly kinds?: readonly DataKind[];
  /** The format of files; default: told from their rows. */
  readonly format?: string;
  /** More to say about a record that cannot be used: what it would do for. */
  readonly hint?: (value: unknown, line: number) => string | undefined;
}

export const showSource = ({ file, line }: Source): string => `${file}:${line}`;

/** Loads a file of rows (formats/rows.ts), here or on the hub, or checks values that are there already. */
export async function loadRecords(
  from: string | readonly unknown[],
  options: LoadOptions = {},
): Promise<LoadedRecords> {
  const { invalid = "error" } = options;
  const records: LoadedRecord[] = [];
  const skipped: Skipped[] = [];
  const unread = new Map<string, number>();
  const opened = await openData(from, options);
  for await (const row of readData(opened, options)) {
    const { source, value } = row;
    for (const name of namesUnread(row)) unread.set(name, (unread.get(name) ?? 0) + 1);
    for (const parsed of row.parsed) {
      if ("record" in parsed) records.push({ record: parsed.record, source });
      else if (invalid === "skip") skipped.push({ source, ...parsed.problem });
      else throw hinted(source, parsed.problem, options.hint?.(value, source.line));
    }
  }
  if (records.length === 0) throw noRecords(typeof from === "string" ? from : "records", skipped);
  return { records, skipped, unread, format: opened.format };
}

/** Names of what a row has and no record has a place for. */
export const namesUnread = ({ rest, unread }: Pick<ReadRow, "rest" | "unread">): string[] => [
  ...Object.keys(rest),
  ...unread,
];

/** The error of a file none of whose records can be used. */
export function noRecords(where: string, skipped: readonly Skipped[]): RequestError {
  return new RequestError({
    code: "no-records",
    what: skipped.length > 0 ? `none of its ${skipped.length} records can be used` : "has no records",
    where,
    why:
      skipped.length > 0
        ? `the first: ${[skipped[0].field, skipped[0].why].filter(Boolean).join(" ")}`
        : undefined,
    fix: "Give at least one record",
  });
}

/** The error of a record that cannot be used, with what it would do for. */
export function hinted(source: Source, { fix = "", ...problem }: Problem, hint?: string): RequestError {
  return invalidRecord(source, { ...problem, fix: [fix, hint].filter(Boolean).join(". ") || undefined });
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
