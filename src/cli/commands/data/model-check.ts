/** What a check of data that needs a model is to `prefopt data check`: its options, how it is made ready, and what follows from it. */
import type { Check } from "../../../data/checks/check.ts";
import type { DataReport } from "../../../data/checks/run-checks.ts";
import type { DataSource } from "../../data-source.ts";

export interface ModelCheck<Options> {
  /** Flag, help, and how a value is read. */
  readonly options: readonly {
    readonly flag: string;
    readonly says: string;
    readonly parse?: (value: string) => unknown;
  }[];
  /** Makes it ready, or says that it is not wanted. Throws a RequestError for wrong options before anything is computed. */
  prepare(source: DataSource, options: Options): Promise<PreparedCheck | undefined>;
}

export interface PreparedCheck {
  readonly check: Check;
  /** What is done with what was found. */
  finish(report: DataReport, signal: AbortSignal): Promise<Followed | undefined>;
}

export interface Followed {
  /** For the terminal. */
  readonly lines: readonly string[];
  /** Keys beside those of the report. */
  readonly json: Readonly<Record<string, unknown>>;
}
