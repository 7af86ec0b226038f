/** Writes a language model with its tokenizer as one GGUF file. */
import { type GgufValue, string, u32 } from "../formats/gguf-metadata.ts";
import type { WrittenType } from "../formats/gguf-types.ts";
import { tokenizerToGguf } from "../text/gguf/write.ts";
import { readTokenizerFiles } from "../text/tokenizer-files.ts";
import { makeTokenizer } from "../text/tokenizer.ts";
import { ggufArchitectures } from "./gguf/architectures.ts";
import { writeGgufModel } from "./gguf/save.ts";
import type { LanguageModel } from "./language-model.ts";

export interface SaveGgufOptions {
  /** Type of the matrices: F32 (the default), F16, BF16, Q8_0 or Q4_0. */
  readonly dtype?: WrittenType;
  /** `general.name` of the file. */
  readonly name?: string;
  /** Folder or GGUF file whose tokenizer goes along; default: the model's own. */
  readonly tokenizerFrom?: string;
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
  const { dtype, name, tokenizerFrom = model.folder } = options;
  const config = architecture.toConfig();
  const tokenizer = await tokenizerOf(model, tokenizerFrom, config, path);
  const tensors = architecture.parameters.map((p) => ({
    name: p.name,
    shape: p.shape.map((d) => d.size),
    data: weights.forReading().view(p.name),
  }));
  const warnings = await writeGgufModel(path, {
    config,
    tensors,
    dtype,
    name,
    tokenizer: tokenizer.metadata,
  });
  return [...warnings, ...tokenizer.warnings];
}

async function tokenizerOf(
  model: LanguageModel,
  from: string | undefined,
  config: Readonly<Record<string, unknown>>,
  where: string,
) {
  const files = from === undefined ? undefined : await readTokenizerFiles(from);
  if (!files) {
    const none: [string, GgufValue] = ["tokenizer.ggml.model", string("none")];
    return { metadata: new Map([none, ...specialIds(model)]), warnings: [] };
  }
  const { prefixIds, suffixIds } = makeTokenizer(files.tokenizerJson, files.tokenizerConfigJson);
  return tokenizerToGguf(files, {
    // A model_type that GGUF does not know is refused when the model is written.
    architecture: ggufArchitectures[String(config.model_type)]?.name ?? "",
    vocabularySize: model.architecture.vocabularySize,
    endIds: model.endIds,
    addsBegin: prefixIds.length > 0,
    addsEnd: suffixIds.length > 0,
    where,
  });
}

/** Ids that the model itself knows, for files without a tokenizer. */
function specialIds({ endIds, beginId }: LanguageModel): [string, GgufValue][] {
  const names = ["eos", "eot", "eom"];
  const ends = endIds.slice(0, names.length).map((id, i): [string, number] => [names[i], id]);
  const ids = beginId === undefined ? ends : [["bos", beginId] satisfies [string, number], ...ends];
  return ids.map(([name, id]) => [`tokenizer.ggml.${name}_token_id`, u32(id)]);
}
