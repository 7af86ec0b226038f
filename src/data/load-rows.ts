/**
 * Rows of data files: taken from the cache where they were made before, else made, in threads where there are many, a batch at a time
 * and in the order of the file. How they come about changes nothing about them.
 */
import { usableCores } from "../engine/backends/cores.ts";
import { RequestError } from "../errors.ts";
import { locateData } from "../formats/locations.ts";
import { type WorkerPool, openWorkerPool, workerFile } from "../formats/worker-pool.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import type { Detected } from "./formats/detect.ts";
import { openData } from "./formats/read-data.ts";
import { type Skipped, type Source, hinted, noRecords, showSource } from "./load-records.ts";
import { unpackRows } from "./packed-rows.ts";
import type { RecordKind } from "./record-kinds.ts";
import type { DataKind } from "./record-formats.ts";
import { type KeptRows, keepRows, loadKeptRows, rowCachePath } from "./row-cache.ts";
import { type MadeRows, type RawLine, type RowJob, builderOf, makeRows } from "./row-job.ts";
import type { PackedBatch, RowWorkerSetting } from "./row-worker.ts";
import type { TokenRow } from "./token-row.ts";

export interface LoadRowsOptions {
  readonly job: RowJob;
  readonly invalid: "error" | "skip";
  /** The format of files; default: told from their rows. */
  readonly format?: string;
  readonly tokenizer?: Tokenizer;
  /** Where the tokenizer came from; without it threads could not load it, nor caches name it. */
  readonly tokenizerFrom?: { readonly path: string; readonly fingerprint: string };
  /** More to say about a record that cannot be used: what it would do for. */
  readonly hint?: (value: unknown, line: number) => string | undefined;
  readonly signal?: AbortSignal;
  readonly onProgress?: (text: string, done: number) => void;
  /** Threads; default: a core each where there is much to do. 0: none. */
  readonly workers?: number;
  /** Rows from which threads and the cache are worth their while. */
  readonly many?: number;
  /** Whether rows are kept and looked up; default: where there are many. */
  readonly cache?: boolean;
}

export interface LoadedRows {
  readonly rows: readonly TokenRow[];
  readonly skipped: readonly Skipped[];
  /** Of the first record. */
  readonly kind: DataKind;
  readonly format: Detected;
  readonly unread: ReadonlyMap<string, number>;
  readonly cached: boolean;
  readonly warnings: readonly string[];
}

/** Rows of a batch: few enough for progress and Ctrl-C, many enough for a thread to be worth a message. */
const batchSize = 128;

/** Loads the rows of files, or makes those of values that are there already. */
export async function loadRows(
  from: string | readonly unknown[],
  options: LoadRowsOptions,
): Promise<LoadedRows> {
  const { job, invalid, format, tokenizer, tokenizerFrom, cache = true } = options;
  const files = typeof from === "string" ? (await locateData(from)).files : [];
  const names = files.map((file) => file.name);
  const canKeep =
    cache && typeof from === "string" && (tokenizerFrom !== undefined || tokenizer === undefined);
  const path = canKeep
    ? await rowCachePath({
        paths: files.map((f) => f.path),
        format,
        invalid,
        job,
        tokenizer: tokenizerFrom?.fingerprint,
      })
    : undefined;
  const kept = path === undefined ? undefined : await loadKeptRows(path, names);
  if (kept !== undefined && kept !== "damaged") return { ...kept, cached: true, warnings: [] };
  const made = await madeRows(from, names, options);
  const warnings = kept === "damaged" ? [`${path}: the kept rows were damaged, and were made anew`] : [];
  if (path !== undefined && made.rows.length >= (options.many ?? many)) {
    // A cache that cannot be written is no reason to stop.
    await keepRows(path, made, names).catch((error: Error) =>
      warnings.push(`rows are not kept: ${error.message}`),
    );
  }
  return { ...made, cached: false, warnings };
}

const many = 2000;

async function madeRows(
  from: string | readonly unknown[],
  names: readonly string[],
  options: LoadRowsOptions,
): Promise<KeptRows> {
  const { job, signal, onProgress } = options;
  const opened = await openData(from, options);
  const gathered = new Gathered(options);
  const builder = builderOf(job, options.tokenizer);
  const pending: { lines: readonly RawLine[]; made: Promise<MadeRows> }[] = [];
  let pool: WorkerPool<unknown, PackedBatch> | undefined;
  let begun = 0;
  const began = performance.now();
  const takeFirst = async () => {
    const first = pending.shift();
    if (!first) return;
    gathered.add(await first.made, first.lines);
    signal?.throwIfAborted();
    const rate = Math.round((60_000 * gathered.lines) / (performance.now() - began));
    onProgress?.(`tokenised ${gathered.lines} records, ${rate} a minute`, gathered.lines);
  };
  try {
    for await (const lines of batchesOf(opened.rows)) {
      signal?.throwIfAborted();
      if (!pool && begun >= (options.many ?? many)) pool = await threadsFor(options, names);
      begun += lines.length;
      const batch = { format: opened.format.name, lines };
      const made = pool
        ? pool
            .run(batch)
            .then(({ packed, ...rest }) => ({ ...rest, rows: unpackRows(packed, filesOf(names)) }))
        : Promise.resolve(makeRows(batch, job, builder));
      made.catch(() => undefined); // met where it is awaited
      pending.push({ lines, made });
      while (pending.length > (pool ? 2 * pool.size : 0)) await takeFirst();
    }
    while (pending.length > 0) await takeFirst();
  } finally {
    await pool?.close();
  }
  return gathered.result(typeof from === "string" ? from : "records", opened.format);
}

/** Threads that make rows; undefined where there are none. */
async function threadsFor(
  { job, tokenizer, tokenizerFrom, workers = usableCores() }: LoadRowsOptions,
  names: readonly string[],
): Promise<WorkerPool<unknown, PackedBatch> | undefined> {
  const file = workers > 0 ? workerFile("row-worker") : undefined;
  if (file === undefined || (tokenizer !== undefined && tokenizerFrom === undefined)) return undefined;
  const setting: RowWorkerSetting = { job, tokenizer: tokenizerFrom?.path, files: filesOf(names) };
  // Where threads cannot be had, the work is done at home.
  return openWorkerPool<unknown, PackedBatch>(file, workers, setting).catch(() => undefined);
}

/** Names of sources; values that are passed come from "records". */
const filesOf = (names: readonly string[]) => (names.length > 0 ? names : ["records"]);

async function* batchesOf(rows: AsyncIterable<RawLine>): AsyncGenerator<RawLine[]> {
  let batch: RawLine[] = [];
  for await (const row of rows) {
    batch.push(row);
    if (batch.length < batchSize) continue;
    yield batch;
    batch = [];
  }
  if (batch.length > 0) yield batch;
}

/** Batches put together in the order of the file. The first thing that cannot be used is an error, or is listed. */
class Gathered {
  /** Lines of the file that are done. */
  lines = 0;
  readonly #options: LoadRowsOptions;
  readonly #rows: TokenRow[] = [];
  readonly #skipped: Skipped[] = [];
  readonly #unread = new Map<string, number>();
  #first: { data: DataKind; kind?: RecordKind } | undefined;

  constructor(options: LoadRowsOptions) {
    this.#options = options;
  }

  add({ rows, refused, kinds, unread }: MadeRows, lines: readonly RawLine[]): void {
    const { invalid, hint } = this.#options;
    const strange = kinds.find(({ data }) => !this.#isOfOneKind(data));
    for (const { index, problem, report } of refused) {
      const { source, value } = lines[index];
      if (invalid === "error") {
        if (strange && strange.index < index) break; // it comes first
        if (problem) throw hinted(source, problem, hint?.(value, source.line));
        throw new RequestError(
          report ?? { code: "row-invalid", what: "cannot be used", where: showSource(source) },
        );
      }
      const why = problem?.why ?? [report?.what, report?.why].filter(Boolean).join(": ");
      const fix = problem?.fix ?? report?.fix;
      this.#skipped.push({ source, field: problem?.field ?? "", why, ...(fix !== undefined && { fix }) });
    }
    if (strange) throw this.#mixed(strange.data, lines[strange.index].source);
    for (const row of rows) this.#rows.push(row);
    for (const [name, count] of Object.entries(unread))
      this.#unread.set(name, (this.#unread.get(name) ?? 0) + count);
    this.lines += lines.length;
  }

  result(where: string, format: Detected): KeptRows {
    if (!this.#first || this.#rows.length === 0) throw noRecords(where, this.#skipped);
    const { data: kind } = this.#first;
    return { rows: this.#rows, skipped: this.#skipped, kind, format, unread: this.#unread };
  }

  #isOfOneKind(data: DataKind): boolean {
    const kind = this.#options.job.kindFor[data];
    this.#first ??= { data, kind };
    return this.#first.kind === kind;
  }

  #mixed(data: DataKind, source: Source): RequestError {
    return new RequestError({
      code: "mixed-records",
      what: `a ${data} record among ${this.#first?.data ?? "other"} records`,
      where: showSource(source),
      fix: "Keep records of one kind in a run",
    });
  }
}
