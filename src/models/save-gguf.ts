/** Writes a language model with its tokenizer as one GGUF file. */
import { type GgufValue, string, u32 } from "../formats/gguf-metadata.ts";
import type { WrittenType } from "../formats/gguf-types.ts";
import { writeGgufModel } from "./gguf/save.ts";
import type { LanguageModel } from "./language-model.ts";

export interface SaveGgufOptions {
  /** Type of the matrices: F32 (the default), F16, BF16, Q8_0 or Q4_0. */
  readonly dtype?: WrittenType;
  /** `general.name` of the file. */
  readonly name?: string;
}

/**
 * Writes the file, whole or not at all. Returns warnings about what readers of it will not heed; throws a RequestError for
 * what a GGUF file cannot say.
 */
export async function saveGguf(
  model: LanguageModel,
  path: string,
  options: SaveGgufOptions = {},
): Promise<readonly string[]> {
  const { architecture, weights } = model;
  const tensors = architecture.parameters.map((p) => ({
    name: p.name,
    shape: p.shape.map((d) => d.size),
    data: weights.view(p.name),
  }));
  return writeGgufModel(path, {
    ...options,
    config: architecture.toConfig(),
    tensors,
    tokenizer: new Map([["tokenizer.ggml.model", string("none")], ...specialIds(model)]),
  });
}

/** Ids that the model itself knows, for files without a tokenizer. */
function specialIds({ endIds, beginId }: LanguageModel): [string, GgufValue][] {
  const names = ["eos", "eot", "eom"];
  const ends = endIds.slice(0, names.length).map((id, i): [string, number] => [names[i], id]);
  const ids = beginId === undefined ? ends : [["bos", beginId] satisfies [string, number], ...ends];
  return ids.map(([name, id]) => [`tokenizer.ggml.${name}_token_id`, u32(id)]);
}
