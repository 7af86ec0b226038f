/**
 * What a check of a data set is: one question, a few findings with counts, places and remedies, and numbers. Checks that need a model
 * stand on a floor that has one and are made with it (`() => Check`); the command line puts them beside the table's.
 */
import type { Tokenizer } from "../../text/tokenizer.ts";
import { type Skipped, type Source, showSource } from "../load-records.ts";
import type { DataFormatName } from "../formats/table.ts";
import type { RowBuilder } from "../rows.ts";
import type { TokenRow } from "../token-row.ts";
import type { ProbeResult } from "./probe.ts";
import type { CheckedRecord } from "./records.ts";

/** `error`: a run would fail or learn nothing true; `warning`: look at it; `note`: good to know. */
export type Severity = "error" | "warning" | "note";

export interface Example {
  /** "pairs.jsonl:17" */
  readonly at: string;
  /** What is to be seen there. */
  readonly text?: string;
}

export interface Finding {
  readonly severity: Severity;
  /** "12 of 900 pairs occur more than once" */
  readonly title: string;
  /** How many records it is about, of how many. */
  readonly count: number;
  readonly of: number;
  /** Why it matters. */
  readonly why: string;
  /** What to do about it. */
  readonly remedy: string;
  readonly examples: readonly Example[];
}

export interface CheckResult {
  readonly findings: readonly Finding[];
  readonly numbers: Readonly<Record<string, number>>;
  /** Why the question could not be asked of this data. */
  readonly leftOut?: string;
}

export interface CheckSource {
  readonly records: readonly CheckedRecord[];
  /** Records that cannot be used, with why. */
  readonly refused: readonly Skipped[];
  readonly format: DataFormatName;
  /** Rows of the files; one may hold several records. */
  readonly rowCount: number;
  /** Fields that no record has a place for: the rows that have them, and the first of those. */
  readonly unread: ReadonlyMap<string, { readonly count: number; readonly first: Source }>;
  /** Held-out records. */
  readonly held?: readonly CheckedRecord[];
  readonly tokenizer?: Tokenizer;
  /** How a run would make rows; its limits are those of the run. */
  readonly builder: RowBuilder;
  /** The rows of each record, as long as they are; undefined for what cannot be made. Made at the first call. */
  rows(): Promise<readonly (readonly TokenRow[] | undefined)[]>;
  /** What a simple classifier makes of the comparisons; undefined where there are too few. Made at the first call. */
  probe(): Promise<ProbeResult | undefined>;
  /** Of everything drawn at random. */
  readonly seed: number;
  readonly tell: (text: string) => void;
  readonly signal?: AbortSignal;
}

export interface Check {
  readonly id: string;
  readonly title: string;
  /** What it looks for, in a sentence. */
  readonly says: string;
  run(source: CheckSource): Promise<CheckResult> | CheckResult;
}

/** Examples that a finding shows. */
const mostExamples = 5;

export const example = (source: Source, text?: string): Example => ({
  at: showSource(source),
  ...(text !== undefined && { text: shortened(text) }),
});

export const firstExamples = <T>(items: readonly T[], make: (item: T) => Example): Example[] =>
  items.slice(0, mostExamples).map(make);

/** "12 of 900 pairs (1.3 %)" */
export function share(count: number, of: number, what: string): string {
  const percent = of > 0 ? ` (${((100 * count) / of).toFixed(count / of < 0.1 ? 1 : 0)} %)` : "";
  return `${count} of ${of} ${what}${percent}`;
}

function shortened(text: string): string {
  const line = text.replaceAll(/\s+/g, " ").trim();
  return line.length > 160 ? `${line.slice(0, 157)}…` : line;
}
