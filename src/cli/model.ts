/** A model named on the command line, ready to use. */
import { openBackend } from "../engine/backends/open.ts";
import { exists, packageFolder, resolvePath } from "../formats/files.ts";
import { type LanguageModel, loadLanguageModel } from "../models/language-model.ts";
import { type Tokenizer, hasTokenizer, loadTokenizer } from "../text/tokenizer.ts";
import type { RowBuilder } from "../data/rows.ts";

export interface OpenedModel {
  readonly model: LanguageModel;
  /** Undefined where the folder has no tokenizer files. */
  readonly tokenizer?: Tokenizer;
}

/** The folder or GGUF file that a path means: as it is, a run's `model`, or one of prefopt's own. */
export async function modelFolder(path: string): Promise<string> {
  if (await exists(resolvePath(path, "config.json"))) return path;
  const ofRun = resolvePath(path, "model");
  if (await exists(resolvePath(ofRun, "config.json"))) return ofRun;
  const own = resolvePath(packageFolder(), path);
  return !(await exists(path)) && (await exists(own)) ? own : path;
}

export async function openModel(path: string): Promise<OpenedModel> {
  const folder = await modelFolder(path);
  const model = await loadLanguageModel(folder, await openBackend());
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
