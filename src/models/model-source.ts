/** Where a model comes from: a Hugging Face folder or a GGUF file, as a configuration and tensors with the folder's names. */
import { joinPath } from "../formats/files.ts";
import { isGgufPath } from "../formats/gguf.ts";
import { readModelFolder } from "../formats/hugging-face-config.ts";
import { type WeightsSource, openWeights } from "../formats/weights.ts";
import { openGgufModel } from "./gguf/source.ts";

export interface ModelSource {
  /** What errors about the configuration name. */
  readonly configPath: string;
  /** config.json */
  readonly config: Readonly<Record<string, unknown>>;
  /** generation_config.json, where there is one. */
  readonly generationConfig?: Readonly<Record<string, unknown>>;
  openWeights(): Promise<WeightsSource>;
}

/** Opens a folder or a `.gguf` file. Throws where it is neither, or its configuration cannot be read. */
export async function openModelSource(path: string): Promise<ModelSource> {
  if (isGgufPath(path)) return openGgufModel(path);
  return {
    ...(await readModelFolder(path)),
    configPath: joinPath(path, "config.json"),
    openWeights: () => openWeights(path),
  };
}
