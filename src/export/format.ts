/** What a format of the export table is: how a model is written in it, and how what was written is read back to be scored. */
import type { Backend } from "../engine/backends/backend.ts";
import type { LanguageModel } from "../models/language-model.ts";

export type ExportDtype = "F32" | "F16" | "BF16" | "Q8_0" | "Q4_0";

/** Log-probabilities of a model in some form. */
export interface RowScorer {
  /** Of every token but the first, for each row of ids, in order. */
  score(rows: readonly (readonly number[])[]): Promise<number[][]>;
  /** Frees programs and weights. */
  release(): Promise<void>;
}

export interface ExportFormat {
  readonly id: string;
  /** What it is and who reads it, in a line. */
  readonly summary: string;
  /** Types of the weights; the first is the default. */
  readonly dtypes: readonly ExportDtype[];
  /** What stands at the target; a file's name ends so. */
  readonly target: "folder" | { readonly file: string };
  /** Whether an adapter stays beside the model; elsewhere it is merged into the weights first. */
  readonly keepsAdapter?: boolean;
  /** Writes the model at a place that does not exist yet (of a folder: that is empty); returns warnings. */
  write(
    model: LanguageModel,
    place: string,
    options: { readonly dtype: ExportDtype },
  ): Promise<readonly string[]>;
  /** Opens what `write` has written, through the reader that users of the file have where it can be had. */
  open(place: string, backend: Backend): Promise<RowScorer>;
}
