/** Writes a run's report.html. */
import type { Sample } from "../../evaluation/samples.ts";
import type { Evaluation } from "../evaluation.ts";
import type { Prepared } from "../prepare.ts";
import type { RunResult } from "../result.ts";
import type { RunFolder } from "../run-folder.ts";

export interface ReportSource {
  readonly prepared: Prepared;
  readonly result: RunResult;
  readonly evaluations: readonly Evaluation[];
  readonly samples: { readonly before?: readonly Sample[]; readonly after?: readonly Sample[] };
}

export async function writeReport(folder: RunFolder, source: ReportSource): Promise<void> {
  void folder;
  void source;
}
