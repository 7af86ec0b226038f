/**
 * Data from one format into another, row by row. What the target cannot carry is an error that names field and line; with `lossy` it is
 * left out, counted and listed. A hosted service's limits are checked before the file appears.
 */
import { RequestError, nearest } from "../../errors.ts";
import { exists } from "../../formats/files.ts";
import { type Row, rowFormatOf, writeRows } from "../../formats/rows.ts";
import { type Skipped, type Source, invalidRecord, noRecords, showSource } from "../load-records.ts";
import type { DataRecord } from "../record-formats.ts";
import type { Detected } from "./detect.ts";
import { FieldProblem, Fields } from "./fields.ts";
import { CannotWrite, type DataFormat, type FileFacts, type Limit } from "./format.ts";
import { type Note, Notes } from "./notes.ts";
import { type PairPolicy, pairPolicies } from "./pairs.ts";
import { portable } from "./portable.ts";
import { type ReadRow, openData, readData } from "./read-data.ts";
import { type DataFormatName, dataFormatNamed, dataFormats } from "./table.ts";

export interface ConvertOptions {
  /** The target's name. */
  readonly to: string;
  /** The source's name; default: told from its rows. */
  readonly from?: string;
  /** Leaves out what the target cannot carry, counted and listed. */
  readonly lossy?: boolean;
  /** How lists become pairs: a name of pairPolicies. */
  readonly pairs?: string;
  /** Pairs become two single completions each. */
  readonly unpaired?: boolean;
  /** What to do with records that cannot be used. */
  readonly invalid?: "error" | "skip";
  /** What to do about limits of the service that are broken. */
  readonly limits?: "error" | "warn";
  /** Of what a policy draws. */
  readonly seed?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (rows: number) => void;
}

export interface Conversion {
  readonly from: Detected;
  readonly to: DataFormatName;
  /** Rows that were read and written. */
  readonly read: number;
  readonly written: number;
  readonly bytes?: number;
  readonly skipped: readonly Skipped[];
  readonly changed: readonly Note[];
  readonly lost: readonly Note[];
  readonly leftOut: readonly Note[];
  /** Limits of the service that are broken or, as advice, not met. */
  readonly warnings: readonly string[];
}

/** Converts a file into another; the kind of file is told from its name. The target appears whole or not at all. */
export async function convertFile(
  path: string,
  out: string,
  options: ConvertOptions & { readonly force?: boolean },
): Promise<Conversion> {
  rowFormatOf(out);
  if (!options.force && (await exists(out))) {
    throw new RequestError({
      code: "file-exists",
      what: "the file is there already",
      where: out,
      why: "nothing is overwritten",
      fix: "Choose another name for --out, or give --force",
    });
  }
  const conversion = new Converter(path, options);
  let bytes = 0;
  await writeRows(
    out,
    () => conversion.rows(),
    (n) => {
      bytes = n;
      conversion.checkFile({ path: out, bytes: n });
    },
  );
  return { ...conversion.result(), bytes };
}

/** The rows of a file in another format, as a stream; what was done to them is known at its end. */
export class Converter {
  readonly #path: string;
  readonly #options: ConvertOptions;
  readonly #to: DataFormatName;
  readonly #format: DataFormat;
  readonly #pairs: PairPolicy | undefined;
  #state = emptyState();

  constructor(path: string, options: ConvertOptions) {
    this.#path = path;
    this.#options = options;
    this.#to = dataFormatNamed(options.to, "--to");
    this.#format = dataFormats[this.#to];
    this.#pairs = options.pairs === undefined ? undefined : policyNamed(options.pairs);
  }

  /** Begins anew at each call, counts included. */
  async *rows(): AsyncGenerator<Row> {
    const { from, invalid = "error", signal, onProgress } = this.#options;
    const state = (this.#state = emptyState());
    const opened = await openData(this.#path, { format: from });
    state.from = opened.format;
    for await (const row of readData(opened)) {
      signal?.throwIfAborted();
      state.read++;
      for (const parsed of row.parsed) {
        if ("problem" in parsed) {
          if (invalid === "error") throw invalidRecord(row.source, parsed.problem);
          state.skipped.push({ source: row.source, ...parsed.problem });
          continue;
        }
        for (const written of this.#written(parsed.record, row)) {
          this.#checkRow(written, row.source);
          state.written++;
          yield written;
        }
      }
      onProgress?.(state.read);
    }
    if (state.written > 0) return;
    const [left] = state.notes.leftOut;
    if (!left) throw noRecords(this.#path, state.skipped);
    throw new RequestError({
      code: "no-records",
      what: `none of its records can be written as ${this.#format.title}`,
      where: this.#path,
      why: left.what,
    });
  }

  result(): Conversion {
    const { from, read, written, skipped, notes, warnings } = this.#state;
    const { changed, lost, leftOut } = notes;
    return { from, to: this.#to, read, written, skipped, changed, lost, leftOut, warnings: [...warnings] };
  }

  /** Checks limits of the whole file. */
  checkFile(facts: Omit<FileFacts, "records">): void {
    for (const limit of this.#format.limits ?? []) {
      const broken = limit.file?.({ ...facts, records: this.#state.written });
      if (broken !== undefined) this.#broken(limit, broken, facts.path);
    }
  }

  #checkRow(row: Row, source: Source): void {
    for (const limit of this.#format.limits ?? []) {
      const broken = limit.row?.(row);
      if (broken !== undefined) this.#broken(limit, broken, showSource(source));
    }
  }

  #broken(limit: Limit, why: string, where: string): void {
    const { title } = this.#format;
    if (limit.advice || this.#options.limits === "warn") {
      if (this.#state.warnings.size < mostWarnings)
        this.#state.warnings.add(
          `${where}: ${title} ${limit.advice ? "recommends" : "takes"}: ${limit.what}; ${why} (${limit.source})`,
        );
      return;
    }
    throw new RequestError({
      code: "limit-broken",
      what: `${title} takes: ${limit.what}`,
      where,
      why: `${why} (${limit.source})`,
      fix: "Change the data, or give --limits warn",
    });
  }

  *#written(record: DataRecord, { source, rest, unread }: ReadRow): Generator<Row> {
    const { notes } = this.#state;
    const { lossy = false, unpaired, seed } = this.#options;
    const { writer } = this.#format;
    notes.at(source);
    try {
      const records = portable(record, notes, {
        writer,
        pairs: this.#pairs,
        unpaired,
        line: source.line,
        seed,
      });
      for (const values of records) {
        notes.at(source);
        const fields = new Fields(values);
        const row = writer.write(fields, notes);
        for (const name of [...Object.keys(fields.rest()), ...fields.unreadInside(), ...unread])
          notes.lose(name);
        const whole = this.#withRest(row, rest, notes);
        const [lost] = notes.lostNow;
        if (lost !== undefined && !lossy) throw this.#cannotCarry(lost, source);
        yield whole;
      }
    } catch (error) {
      const { field, why } = reasonOf(error);
      if (!lossy) throw this.#cannotWrite(field, why, source);
      notes.leaveOut(`${field}: ${why}`);
    }
  }

  /** A row with the columns that no record has a place for, where the target allows others and reads the same with them. */
  #withRest(row: Row, rest: Row, notes: Notes): Row {
    const names = Object.keys(rest);
    if (names.length === 0) return row;
    const whole = { ...rest, ...row };
    const clash = names.some((name) => Object.hasOwn(row, name));
    const reads = (value: Row) => JSON.stringify(this.#format.read(new Fields(value)));
    if (this.#format.writer.open && !clash && reads(whole) === reads(row)) return { ...row, ...rest };
    for (const name of names) notes.lose(name);
    return row;
  }

  #cannotCarry(field: string, source: Source): RequestError {
    return new RequestError({
      code: "cannot-carry",
      what: `field "${field}" has no place in ${this.#format.title}`,
      where: showSource(source),
      fix: "Give --lossy to leave such fields out; they are counted and listed",
    });
  }

  #cannotWrite(field: string, why: string, source: Source): RequestError {
    return new RequestError({
      code: "cannot-write-record",
      what: `the record cannot be written as ${this.#format.title}`,
      where: showSource(source),
      why: `${field}: ${why}`,
      fix: "Give --lossy to leave such records out; they are counted and listed",
    });
  }
}

/** Warnings that are kept, of any number. */
const mostWarnings = 100;

function emptyState() {
  return {
    from: { name: "prefopt", reason: "" } as Detected,
    read: 0,
    written: 0,
    skipped: [] as Skipped[],
    notes: new Notes(),
    warnings: new Set<string>(),
  };
}

/** Why a record has no form in a format; other errors go on. */
function reasonOf(error: unknown): { field: string; why: string } {
  if (error instanceof CannotWrite) return { field: error.field, why: error.message };
  if (error instanceof FieldProblem) return error.problem;
  throw error;
}

function policyNamed(name: string): PairPolicy {
  if (Object.hasOwn(pairPolicies, name)) return pairPolicies[name];
  const guess = nearest(name, Object.keys(pairPolicies));
  throw new RequestError({
    code: "unknown-policy",
    what: `there is no way to make pairs named "${name}"`,
    where: "--pairs",
    fix: guess ? `Did you mean ${guess}?` : `Known are ${Object.keys(pairPolicies).join(", ")}`,
  });
}
