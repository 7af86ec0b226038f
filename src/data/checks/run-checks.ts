/** Runs checks over a data set and gathers one report. Records are read once, rows and the probe made once where a check asks for them. */
import { RequestError } from "../../errors.ts";
import { type Detected } from "../formats/detect.ts";
import { openData, readData } from "../formats/read-data.ts";
import { type Skipped, type Source, namesUnread } from "../load-records.ts";
import type { RecordKind } from "../record-kinds.ts";
import { type DataKind, formats } from "../record-formats.ts";
import { type RowBuilder, buildRows } from "../rows.ts";
import type { TokenRow } from "../token-row.ts";
import type { Check, CheckResult, CheckSource, Severity } from "./check.ts";
import { probeOf } from "./probe.ts";
import { type CheckedRecord, checkedRecord } from "./records.ts";
import { dataChecks } from "./table.ts";

export interface CheckOptions {
  /** Held-out data. */
  readonly against?: string;
  readonly format?: string;
  /** What records may be; default: anything. */
  readonly kinds?: readonly DataKind[];
  /** The kind of rows that records become; default: their own. */
  readonly rowKind?: (data: DataKind) => RecordKind | undefined;
  readonly builder: RowBuilder;
  readonly seed?: number;
  /** Further checks, such as those that need a model. */
  readonly checks?: readonly Check[];
  readonly onProgress?: (text: string) => void;
  readonly signal?: AbortSignal;
}

export interface CheckedQuestion extends CheckResult {
  readonly id: string;
  readonly title: string;
  readonly says: string;
  /** The gravest finding; "ok" where there is none. */
  readonly status: Severity | "ok" | "left out";
}

export interface DataReport {
  readonly data: string;
  readonly against?: string;
  readonly format: Detected;
  readonly records: number;
  readonly checks: readonly CheckedQuestion[];
}

const gravest: readonly Severity[] = ["error", "warning", "note"];

/** Checks a data set. Throws a RequestError where it cannot be read at all. */
export async function checkData(data: string, options: CheckOptions): Promise<DataReport> {
  const { builder, seed = 1, onProgress: tell = () => undefined, signal } = options;
  tell("reading the data");
  const own = await readChecked(data, options);
  const held =
    options.against === undefined
      ? undefined
      : await readChecked(options.against, { ...options, format: undefined });
  if (own.records.length === 0 && own.refused.length === 0)
    throw new RequestError({
      code: "no-records",
      what: "has no records",
      where: data,
      fix: "Give at least one record",
    });
  const source: CheckSource = {
    records: own.records,
    refused: own.refused,
    format: own.format.name,
    rowCount: own.rowCount,
    unread: own.unread,
    held: held?.records,
    tokenizer: builder.tokenizer,
    builder,
    rows: once(() => rowsOf(own.records, options)),
    probe: once(() => {
      tell("training a probe on words and lengths");
      return Promise.resolve(probeOf(own.records, seed, signal));
    }),
    seed,
    tell,
    signal,
  };
  const checks: CheckedQuestion[] = [];
  for (const check of [...dataChecks, ...(options.checks ?? [])]) {
    signal?.throwIfAborted();
    tell(`checking: ${check.title}`);
    const result = await check.run(source);
    const { id, title, says } = check;
    checks.push({ id, title, says, status: statusOf(result), ...result });
  }
  return {
    data,
    ...(options.against !== undefined && { against: options.against }),
    format: own.format,
    records: own.records.length + own.refused.length,
    checks,
  };
}

function statusOf({ findings, leftOut }: CheckResult): CheckedQuestion["status"] {
  if (leftOut !== undefined && findings.length === 0) return "left out";
  return gravest.find((severity) => findings.some((f) => f.severity === severity)) ?? "ok";
}

interface Read {
  readonly format: Detected;
  readonly records: readonly CheckedRecord[];
  readonly refused: readonly Skipped[];
  readonly rowCount: number;
  readonly unread: ReadonlyMap<string, { readonly count: number; readonly first: Source }>;
}

async function readChecked(data: string, options: CheckOptions): Promise<Read> {
  const { kinds, builder, signal } = options;
  const opened = await openData(data, options);
  const records: CheckedRecord[] = [];
  const refused: Skipped[] = [];
  const unread = new Map<string, { count: number; first: Source }>();
  let rowCount = 0;
  for await (const row of readData(opened, { kinds, comparing: false })) {
    signal?.throwIfAborted();
    rowCount++;
    const { source, parsed } = row;
    for (const name of namesUnread(row)) {
      const { count, first } = unread.get(name) ?? { count: 0, first: source };
      unread.set(name, { count: count + 1, first });
    }
    for (const p of parsed) {
      if ("problem" in p) refused.push({ source, ...p.problem });
      else records.push(checkedRecord({ record: p.record, source }, builder.tokenizer));
    }
  }
  return { format: opened.format, records, refused, rowCount, unread };
}

/** The rows of each record, whatever their length. */
async function rowsOf(
  records: readonly CheckedRecord[],
  { builder, rowKind, onProgress, signal }: CheckOptions,
): Promise<(readonly TokenRow[] | undefined)[]> {
  const whole: RowBuilder = { ...builder, limits: { maxLength: Infinity, truncation: "error" } };
  const rows: (readonly TokenRow[] | undefined)[] = [];
  for (const [i, { record, source }] of records.entries()) {
    if (i % 256 === 0) {
      signal?.throwIfAborted();
      onProgress?.(`tokenising: ${i} of ${records.length} records`);
      await new Promise((resolve) => setTimeout(resolve)); // lets Ctrl-C be heard
    }
    try {
      rows.push(buildRows(record, source, whole, rowKind?.(formats[record.format].kind)));
    } catch (error) {
      if (!(error instanceof RequestError)) throw error;
      rows.push(undefined);
    }
  }
  return rows;
}

function once<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined;
  return () => (made ??= make());
}
