/**
 * Writes a model as a GGUF file that llama.cpp and its relatives run: matrices in the wanted type, vectors and position
 * embeddings as float32. Where readers of the file will not heed what the model has, that is returned in words; what a file
 * cannot say at all is refused.
 */
import { type GgufValue, string, u32 } from "../../formats/gguf-metadata.ts";
import { type WrittenType, fileTypes } from "../../formats/gguf-types.ts";
import { type GgufTensorData, fits, writeGguf } from "../../formats/gguf-write.ts";
import type { TensorData } from "../../formats/safetensors.ts";
import type { Config } from "./architectures.ts";
import { configToGguf } from "./config.ts";
import { ggufName } from "./names.ts";
import { cannotSay } from "./rope-write.ts";
import { divisorTensors } from "./rope.ts";
import { otherShape, toGguf } from "./transforms.ts";

export interface GgufModel {
  /** config.json */
  readonly config: Config;
  /** By the names of a Hugging Face checkpoint; a tied head is left out. */
  readonly tensors: readonly Pick<TensorData, "name" | "shape" | "data">[];
  /** Type of the matrices; default F32. A matrix whose rows are not whole blocks of it is written as F16. */
  readonly dtype?: WrittenType;
  /** `tokenizer.*`; a file without a tokenizer has none. */
  readonly tokenizer?: ReadonlyMap<string, GgufValue>;
  readonly name?: string;
}

/** Writes the file, whole or not at all, and returns warnings. Throws a RequestError for what GGUF cannot say. */
export async function writeGgufModel(path: string, model: GgufModel): Promise<readonly string[]> {
  const { config, dtype = "F32", name, tokenizer = noTokenizer } = model;
  const { architecture, heads, metadata, divisors, warnings } = configToGguf(config, path);
  const isQuantised = dtype.startsWith("Q");
  const general: [string, GgufValue][] = [
    ["general.type", string("model")],
    ...(name === undefined ? [] : ([["general.name", string(name)]] satisfies [string, GgufValue][])),
    ["general.file_type", u32(fileTypes[dtype])],
    ...(isQuantised ? ([["general.quantization_version", u32(2)]] satisfies [string, GgufValue][]) : []),
  ];
  const tensors: GgufTensorData[] = [];
  const add = (stored: string, shape: readonly number[], data: () => Float32Array) => {
    const row = shape[shape.length - 1];
    const plain = shape.length < 2 || stored.startsWith("position_embd.");
    const type = plain ? "F32" : fits(dtype, row) ? dtype : "F16";
    tensors.push({ name: stored, shape, type, data });
  };
  for (const [kind, stored] of Object.entries(divisorTensors)) {
    const values = divisors[kind as keyof typeof divisorTensors];
    if (values) add(stored, [values.length], () => values);
  }
  for (const { name: own, shape, data } of model.tensors) {
    const known = ggufName(architecture.links, own);
    if (!known) throw cannotSay(`tensor ${own} has no name there`, path);
    const { transform } = known;
    const made = () => {
      if (!transform) return data;
      const out = new Float32Array(data.length);
      toGguf(transform, data, out, shape, heads);
      return out;
    };
    add(known.name, otherShape(transform, shape), made);
    // Readers of gpt2 want the head, though it is the embedding.
    const isTied = config.tie_word_embeddings ?? architecture.tied;
    if (architecture.name === "gpt2" && isTied && known.name === "token_embd.weight")
      add("output.weight", shape, made);
  }
  await writeGguf(path, new Map([...metadata, ...general, ...tokenizer]), tensors);
  return warnings;
}

const noTokenizer: ReadonlyMap<string, GgufValue> = new Map([["tokenizer.ggml.model", string("none")]]);
