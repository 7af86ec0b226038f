/** What a benchmark is: options, and a result that is printed as JSON or as a table. */
import type { Command } from "commander";

export interface Bench<Options = object> {
  readonly describe: string;
  /** A line that can be typed as it is. */
  readonly example: string;
  configure(command: Command): void;
  run(options: Options): Promise<BenchResult>;
}

export interface BenchResult {
  /** What `--json` prints, without machine and versions, which every result carries. */
  readonly json: object;
  /** What people see: a name and a value a line. */
  readonly rows: readonly (readonly string[])[];
}
