/**
 * Rows of data out of rows of files, a batch at a time: what a thread is asked to do. Everything that it depends on is in the job and
 * the tokenizer, so that a batch comes out the same wherever it is made.
 */
import { RequestError, type Report } from "../errors.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import { interpret } from "./formats/interpret.ts";
import type { DataFormatName } from "./formats/table.ts";
import { type Source, namesUnread } from "./load-records.ts";
import type { RecordKind } from "./record-kinds.ts";
import { type DataKind, formats } from "./record-formats.ts";
import type { Problem } from "./records.ts";
import { type RowBuilder, type RowLimits, type RowSettings, buildRows } from "./rows.ts";
import type { TokenRow } from "./token-row.ts";

/** What rows depend on beside data and tokenizer. Plain values, for it goes to threads and into names of caches. */
export interface RowJob {
  /** Kinds of rows that are made of each kind of record; other records are refused. */
  readonly kindFor: Readonly<Partial<Record<DataKind, RecordKind>>>;
  readonly vocabularySize: number;
  readonly endIds: readonly number[];
  readonly limits: RowLimits;
  readonly settings: RowSettings;
}

/** A row of a file. */
export interface RawLine {
  readonly source: Source;
  readonly value: unknown;
  readonly cells: boolean;
}

export interface RowBatch {
  readonly format: DataFormatName;
  readonly lines: readonly RawLine[];
}

/** Something that cannot be used, by its line of the batch. */
export interface Refused {
  readonly index: number;
  /** A field of the record, or what the making of the row said. */
  readonly problem?: Problem;
  readonly report?: Report;
}

export interface MadeRows {
  readonly rows: readonly TokenRow[];
  readonly refused: readonly Refused[];
  /** The first record of each kind of data, by its line of the batch, in order. */
  readonly kinds: readonly { readonly index: number; readonly data: DataKind }[];
  /** Fields that no record has a place for, with the number of rows that have them. */
  readonly unread: Readonly<Record<string, number>>;
}

/** The row builder of a job. */
export const builderOf = (job: RowJob, tokenizer?: Tokenizer): RowBuilder => ({ ...job, tokenizer });

/** Makes the rows of a batch. */
export function makeRows({ format, lines }: RowBatch, job: RowJob, builder: RowBuilder): MadeRows {
  const accepted = Object.keys(job.kindFor) as DataKind[];
  const rows: TokenRow[] = [];
  const refused: Refused[] = [];
  const kinds = new Map<DataKind, number>();
  const unread: Record<string, number> = {};
  for (const [index, { source, value, cells }] of lines.entries()) {
    const read = interpret(value, { format, cells, kinds: accepted });
    for (const name of namesUnread(read)) unread[name] = (unread[name] ?? 0) + 1;
    for (const parsed of read.parsed) {
      if ("problem" in parsed) {
        refused.push({ index, problem: parsed.problem });
        continue;
      }
      const { record } = parsed;
      const data = formats[record.format].kind;
      if (!kinds.has(data)) kinds.set(data, index);
      try {
        rows.push(...buildRows(record, source, builder, job.kindFor[data]));
      } catch (error) {
        if (!(error instanceof RequestError)) throw error;
        refused.push({ index, report: error.report });
      }
    }
  }
  return { rows, refused, kinds: [...kinds].map(([data, index]) => ({ data, index })), unread };
}
