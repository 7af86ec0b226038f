/** Rows of data files, here or on the hub, as records: the format is told from the first rows, or given. Streamed. */
import { locateData } from "../../formats/locations.ts";
import { readRows, rowFormatOf } from "../../formats/rows.ts";
import type { Source } from "../load-records.ts";
import type { DataKind } from "../record-formats.ts";
import { type Detected, detectFormat, sampleRows } from "./detect.ts";
import { type Interpreted, interpret } from "./interpret.ts";
import { dataFormatNamed } from "./table.ts";

export interface ReadOptions {
  /** Takes this format instead of telling it from the rows. */
  readonly format?: string;
  readonly kinds?: readonly DataKind[];
  /** Refuses equal completions too; default: true. */
  readonly comparing?: boolean;
}

export interface RawRow {
  readonly source: Source;
  readonly value: unknown;
  readonly cells: boolean;
}

export interface ReadRow extends RawRow, Interpreted {}

export interface OpenedData {
  readonly format: Detected;
  readonly rows: AsyncGenerator<RawRow>;
}

/** Opens files, or values that are there already, and tells their format. Throws a RequestError for what is wrong with files or names. */
export async function openData(
  from: string | readonly unknown[],
  options: ReadOptions = {},
): Promise<OpenedData> {
  const where = typeof from === "string" ? from : "records";
  const given = options.format === undefined ? undefined : dataFormatNamed(options.format, where);
  const rows = typeof from === "string" ? rowsOf(from) : valuesOf(from);
  if (given) return { format: { name: given, reason: "as asked for" }, rows };
  const sample: RawRow[] = [];
  while (sample.length < sampleRows) {
    const next = await rows.next();
    if (next.done) break;
    sample.push(next.value);
  }
  const format = detectFormat(
    sample.map((row) => row.value),
    sample.some((row) => row.cells),
  );
  return { format, rows: followedBy(sample, rows) };
}

/** The rows of files with the records that they hold. */
export async function* readData(opened: OpenedData, options: ReadOptions = {}): AsyncGenerator<ReadRow> {
  const { kinds, comparing } = options;
  for await (const row of opened.rows) {
    const { value, cells } = row;
    yield { ...row, ...interpret(value, { format: opened.format.name, cells, kinds, comparing }) };
  }
}

async function* rowsOf(name: string): AsyncGenerator<RawRow> {
  const { files } = await locateData(name);
  for (const { path, name: file } of files) {
    const cells = rowFormatOf(path).textOnly ?? false;
    for await (const { line, value } of readRows(path)) yield { source: { file, line }, value, cells };
  }
}

async function* valuesOf(values: readonly unknown[]): AsyncGenerator<RawRow> {
  for (const [i, value] of values.entries())
    yield { source: { file: "records", line: i + 1 }, value, cells: false };
}

async function* followedBy(first: readonly RawRow[], rest: AsyncGenerator<RawRow>): AsyncGenerator<RawRow> {
  try {
    yield* first;
    yield* rest;
  } finally {
    await rest.return(undefined);
  }
}
