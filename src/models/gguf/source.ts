/**
 * A GGUF file as a source of a model: the config.json it amounts to, and its tensors by the names and with the values that
 * a Hugging Face checkpoint of the same model has.
 */
import { RequestError } from "../../errors.ts";
import { type MetadataReader, metadataReader } from "../../formats/gguf-metadata.ts";
import { type GgufFile, openGguf } from "../../formats/gguf.ts";
import type { WeightsSource } from "../../formats/weights.ts";
import type { ModelSource } from "../model-source.ts";
import { ggufArchitectures, headCounts } from "./architectures.ts";
import { configFromGguf, modelTypeOf } from "./config.ts";
import { checkpointName } from "./names.ts";
import { type Divisors, divisorTensors } from "./rope.ts";
import { type Transform, otherShape, toCheckpoint } from "./transforms.ts";

/** Opens a file. Throws a RequestError for an architecture that is not known here, and for files that are no whole model. */
export async function openGgufModel(path: string): Promise<ModelSource> {
  const file = await openGguf(path);
  const read = metadataReader(file.metadata, path);
  refuseParts(read);
  const divisors: Partial<Record<keyof Divisors, Float32Array>> = {};
  for (const [kind, name] of Object.entries(divisorTensors) as [keyof Divisors, string][])
    if (file.tensors.has(name)) divisors[kind] = await file.readFloat32(name);
  const modelType = modelTypeOf(read);
  const tied = await isTied(file, modelType);
  const ids = tokenIds(read);
  const config = {
    ...configFromGguf(read, file.tensors, divisors, tied),
    vocab_size: vocabularySize(file, read),
    ...ids,
  };
  const weights = weightsOf(file, config, tied);
  return {
    configPath: path,
    config,
    generationConfig: { ...ids, eos_token_id: endIds(read) },
    openWeights: () => Promise.resolve(weights),
  };
}

function refuseParts(read: MetadataReader): void {
  const refuse = (what: string, fix: string) =>
    new RequestError({ code: "gguf-not-a-model", what, where: read.path, fix });
  const type = read.text("general.type", "model");
  if (type !== "model") throw refuse(`it holds no model but: ${type}`, "Name the file of the model");
  const parts = read.number("split.count", 1);
  if (parts > 1)
    throw refuse(
      `it is one of ${parts} parts of a model`,
      "Join the parts first, with llama-gguf-split --merge",
    );
}

/** GPT-2's files hold the head as a copy of the embedding. Where they quantise the two differently it is the same matrix still. */
async function isTied(file: GgufFile, modelType: string): Promise<boolean> {
  const [head, embedding] = ["output.weight", "token_embd.weight"].map((name) => file.tensors.get(name));
  if (!head || !embedding) return true;
  if (modelType !== "gpt2") return false;
  return head.type !== embedding.type || file.sameBytes("output.weight", "token_embd.weight");
}

function vocabularySize(file: GgufFile, read: MetadataReader): number {
  const embedding = file.tensors.get("token_embd.weight");
  if (embedding) return embedding.shape[0];
  throw new RequestError({
    code: "gguf-not-a-model",
    what: 'there is no tensor "token_embd.weight"',
    where: read.path,
    why: "the file holds no weights",
    fix: "Name the file of a model",
  });
}

/** Ids of config.json. */
function tokenIds(read: MetadataReader): Record<string, number> {
  const keys = {
    bos_token_id: "bos_token_id",
    eos_token_id: "eos_token_id",
    pad_token_id: "padding_token_id",
  };
  return Object.fromEntries(
    Object.entries(keys).flatMap(([key, name]) => {
      const id = read.optionalNumber(`tokenizer.ggml.${name}`);
      return id === undefined ? [] : [[key, id]];
    }),
  );
}

/** Turn markers that end an answer, where a template writes them and the file names another token as the end. */
const turnEnds = ["<|eot_id|>", "<|im_end|>", "<end_of_turn>", "<|end|>"];

/** Every id that ends a completion: end of text, of a turn, of a message. */
function endIds(read: MetadataReader): number[] {
  const named = ["eos", "eot", "eom"].flatMap(
    (n) => read.optionalNumber(`tokenizer.ggml.${n}_token_id`) ?? [],
  );
  const tokens = read.texts("tokenizer.ggml.tokens") ?? [];
  const template = read.optionalText("tokenizer.chat_template") ?? "";
  const written = turnEnds.flatMap((t) => (template.includes(t) ? tokens.indexOf(t) : -1));
  return [...new Set([...named, ...written.filter((id) => id >= 0)])];
}

interface Found {
  readonly shape: readonly number[];
  readonly stored: string;
  readonly transform?: Transform;
}

function weightsOf(file: GgufFile, config: Readonly<Record<string, unknown>>, tied: boolean): WeightsSource {
  const { links } = ggufArchitectures[String(config.model_type)];
  const heads = headCounts(config);
  const tensors = new Map<string, Found>();
  const used: readonly string[] = Object.values(divisorTensors);
  for (const [stored, { shape }] of file.tensors) {
    if (used.includes(stored) || stored.endsWith(".attn_rot_embd.weight")) continue;
    if (tied && stored === "output.weight") continue;
    const known = checkpointName(links, stored);
    // What the architecture does not have keeps its name, for whoever compares the names with what is needed.
    tensors.set(known?.name ?? stored, {
      stored,
      shape: otherShape(known?.transform, shape),
      transform: known?.transform,
    });
  }
  return {
    tensors,
    async readFloat32(name, into) {
      const { stored = name, transform } = tensors.get(name) ?? {};
      if (!transform) return file.readFloat32(stored, into);
      const values = await file.readFloat32(stored);
      const out = into ?? new Float32Array(values.length);
      toCheckpoint(transform, values, out, file.tensors.get(stored)?.shape ?? [], heads);
      return out;
    },
  };
}
