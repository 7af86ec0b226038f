/** The rows that a run trains or is evaluated on: loaded, of one kind, with everything that its objectives touch. */
import { interpret } from "../data/formats/interpret.ts";
import { openData } from "../data/formats/read-data.ts";
import { dataFormats } from "../data/formats/table.ts";
import { type Skipped, type Source, noRecords, showSource } from "../data/load-records.ts";
import { type LoadRowsOptions, type LoadedRows, loadRows } from "../data/load-rows.ts";
import type { RecordKind } from "../data/record-kinds.ts";
import type { DataRecord } from "../data/record-formats.ts";
import { parseRecord } from "../data/records.ts";
import type { RowBuilder } from "../data/rows.ts";
import type { TokenRow } from "../data/token-row.ts";
import { unreadLines } from "../data/unread.ts";
import { RequestError } from "../errors.ts";
import { locateModel } from "../formats/locations.ts";
import type { Term } from "../objectives/combined.ts";
import { touchedBy } from "../objectives/touched.ts";
import { tokenizerFingerprint } from "../text/tokenizer-files.ts";
import { checkRow, dataKindsOf, objectivesFor, rowKindFor, usefulFor } from "./requirements.ts";

export interface ReadingOptions extends Pick<
  LoadRowsOptions,
  "invalid" | "format" | "tokenizerFrom" | "signal" | "onProgress" | "workers" | "many" | "cache"
> {
  readonly terms: readonly Term[];
  readonly builder: RowBuilder;
}

export interface TrainingRows {
  readonly rows: readonly TokenRow[];
  readonly kind: RecordKind;
  readonly skipped: readonly Skipped[];
  readonly warnings: readonly string[];
  /** What is worth knowing of how the data were read. */
  readonly reading: readonly string[];
}

/** Loads rows of files or of values. `wanted`: the kind that they must be of. */
export async function trainingRows(
  from: string | readonly unknown[],
  options: ReadingOptions,
  wanted?: RecordKind,
): Promise<TrainingRows> {
  const { terms, builder, invalid } = options;
  const { tokenizer, limits, endIds, vocabularySize, settings = {} } = builder;
  const kindFor = Object.fromEntries(dataKindsOf(terms).map((data) => [data, rowKindFor(terms, data)]));
  const loaded = await loadRows(from, {
    ...options,
    tokenizer,
    job: { kindFor, vocabularySize, endIds, limits, settings },
    hint: (value, line) => hintFor(value, line, builder),
  });
  const kind = rowKindFor(terms, loaded.kind);
  if (kind === undefined) throw new TypeError(`no rows can be made of ${loaded.kind} records`);
  if (wanted !== undefined && kind !== wanted) {
    throw new RequestError({
      code: "mixed-records",
      what: `${kind} records to evaluate on, ${wanted} records to train on`,
      where: showSource(loaded.rows[0].source),
      fix: "Keep records of one kind in a run",
    });
  }
  // What must be there depends on what some record has.
  const fields = new Set(loaded.rows.flatMap((row) => Object.keys(row.fields)));
  const touched = touchedBy(terms, kind, { fields });
  const rows: TokenRow[] = [];
  const skipped = [...loaded.skipped];
  for (const row of loaded.rows) {
    try {
      checkRow(row, touched, terms, () => []);
      rows.push(row);
    } catch (error) {
      if (!(error instanceof RequestError)) throw error;
      if (invalid === "error") {
        const useful = await usefulRecord(from, row.source, options);
        checkRow(row, touched, terms, () => useful);
        throw error;
      }
      const why = [error.report.what, error.report.why].filter(Boolean).join(": ");
      skipped.push({ source: row.source, field: "", why, fix: error.report.fix });
    }
  }
  if (rows.length === 0) throw noRecords(skipped[0].source.file, skipped);
  const { reading, warnings } = readingOf(from, loaded);
  return { rows, kind, skipped, warnings: [...loaded.warnings, ...warnings], reading };
}

/** What names a model's tokenizer for threads and caches. */
export async function tokenizerOf(model: string): Promise<{ path: string; fingerprint: string }> {
  const { path } = await locateModel(model);
  return { path, fingerprint: await tokenizerFingerprint(path) };
}

function readingOf(
  from: string | readonly unknown[],
  { format, unread, cached, rows }: LoadedRows,
): Pick<TrainingRows, "reading" | "warnings"> {
  const name = typeof from === "string" ? from : "the records";
  const { warnings, notes } = unreadLines(name, unread, format.name);
  const reading: string[] = [];
  if (format.name !== "prefopt")
    reading.push(`${name}: read as ${dataFormats[format.name].title} (${format.reason})`);
  reading.push(...notes);
  if (cached) reading.push(`${name}: ${rows.length} tokenised rows taken from the cache`);
  return { reading, warnings };
}

/** For whom a record would do that this run cannot use. */
function hintFor(value: unknown, line: number, builder: RowBuilder): string | undefined {
  const parsed = parseRecord(value);
  if ("problem" in parsed) return undefined;
  return usefulFor(objectivesFor(parsed.record, { file: "this record", line }, builder));
}

/** The objectives that could use the record of a row: it is read once more, since rows do not keep it. */
async function usefulRecord(
  from: string | readonly unknown[],
  source: Source,
  { format, builder }: ReadingOptions,
): Promise<string[]> {
  const record = await recordAt(from, source, format);
  return record ? objectivesFor(record, source, builder) : [];
}

async function recordAt(
  from: string | readonly unknown[],
  { file, line }: Source,
  format?: string,
): Promise<DataRecord | undefined> {
  const opened = await openData(from, { format });
  for await (const { source, value, cells } of opened.rows) {
    if (source.file !== file || source.line !== line) continue;
    const [parsed] = interpret(value, { format: opened.format.name, cells }).parsed;
    return parsed && "record" in parsed ? parsed.record : undefined;
  }
  return undefined;
}
