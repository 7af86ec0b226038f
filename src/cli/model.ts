/** A model named on the command line, ready to use. */
import type { Command } from "commander";
import { devices } from "../engine/backends/backend.ts";
import { openBackend } from "../engine/backends/open.ts";
import { progressText } from "../formats/hub-cache.ts";
import type { ModelPart } from "../formats/hub.ts";
import { locateModel } from "../formats/locations.ts";
import { type LanguageModel, loadLanguageModel } from "../models/language-model.ts";
import { type Tokenizer, hasTokenizer, loadTokenizer } from "../text/tokenizer.ts";
import type { RowBuilder } from "../data/rows.ts";
import { ProgressLine } from "./progress.ts";

export interface OpenedModel {
  readonly model: LanguageModel;
  /** Undefined where the folder has no tokenizer files. */
  readonly tokenizer?: Tokenizer;
}

/** The folder or GGUF file that a name means, with what is wanted of it; a download is shown on stderr. */
export async function modelPath(name: string, part: ModelPart = "all"): Promise<string> {
  const progress = new ProgressLine();
  const { path } = await locateModel(name, { part, onProgress: (p) => progress.update(progressText(p)) });
  progress.clear();
  return path;
}

/** Options of every command that computes with a model. */
export interface ModelOptions {
  readonly device?: string;
}

/** Declares them. */
export function modelOptions(command: Command): Command {
  return command.option("--device <name>", `where to compute: ${devices.join(", ")}`, "cpu");
}

/** Opens a folder, a GGUF file, a run's model, one of prefopt's own, or a model on the hub. */
export async function openModel(name: string, { device }: ModelOptions = {}): Promise<OpenedModel> {
  const backend = await openBackend({ device });
  const folder = await modelPath(name);
  const model = await loadLanguageModel(folder, backend);
  const tokenizer = (await hasTokenizer(folder)) ? await loadTokenizer(folder) : undefined;
  if (tokenizer) warnOf(tokenizer);
  return { model, tokenizer };
}

/** Says on standard error what of a tokenizer could not be read exactly. */
export function warnOf({ warnings }: Tokenizer): void {
  for (const text of warnings) process.stderr.write(`prefopt: warning: ${text}\n`);
}

/** The row builder of a model: whole context, nothing cut. */
export function rowBuilder({ model, tokenizer }: OpenedModel): RowBuilder {
  return {
    tokenizer,
    vocabularySize: model.architecture.vocabularySize,
    endIds: model.endIds.length > 0 ? model.endIds : [tokenizer?.endId].filter((id) => id !== undefined),
    limits: { maxLength: model.architecture.context, truncation: "error" },
  };
}
