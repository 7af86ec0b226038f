/** The metadata of a GGUF file as the config.json of its architecture, and back. */
import { RequestError, nearest } from "../../errors.ts";
import { type GgufValue, type MetadataReader, f32, string, u32 } from "../../formats/gguf-metadata.ts";
import {
  type Config,
  type Contents,
  type GgufArchitecture,
  type Values,
  ggufArchitectures,
  headCounts,
  numberOf,
} from "./architectures.ts";
import { type Divisors, ropeToConfig } from "./rope.ts";
import { cannotSay, ropeToGguf } from "./rope-write.ts";
import type { HeadCounts } from "./transforms.ts";

/** The model_type of a file. Mistral's files call themselves "llama"; the window gives them away. */
export function modelTypeOf(read: MetadataReader): string {
  const name = read.text("general.architecture");
  if (name === "llama" && read.optionalNumber("llama.attention.sliding_window")) return "mistral";
  const found = Object.entries(ggufArchitectures).find(([, a]) => a.name === name);
  if (found) return found[0];
  const known = [...new Set(Object.values(ggufArchitectures).map((a) => a.name))];
  const guess = nearest(name, known);
  throw new RequestError({
    code: "unknown-architecture",
    what: `architecture "${name}" is not supported`,
    where: read.path,
    why: `of GGUF files prefopt knows: ${known.join(", ")}`,
    fix: guess ? `Did you mean ${guess}?` : "Use a model of one of these architectures",
  });
}

/** The config.json of a file, without token ids. */
export function configFromGguf(
  read: MetadataReader,
  contents: Contents,
  divisors: Divisors,
  tied: boolean,
): Config {
  const modelType = modelTypeOf(read);
  const { name: prefix, className, keys, activation, rotary, toConfig } = ggufArchitectures[modelType];
  if (read.number(`${prefix}.expert_count`, 0) > 0)
    throw read.invalid(`${prefix}.expert_count`, "mixtures of experts are not supported");
  const [activationKey, activationName] = activation;
  const config: Values = {
    architectures: [className],
    model_type: modelType,
    [activationKey]: activationName,
    tie_word_embeddings: tied,
  };
  for (const { config: key, gguf, float, absent } of keys) {
    const fallback = absent?.(config);
    config[key] = (float ? read.number : read.count)(`${prefix}.${gguf}`, fallback);
  }
  const { headDim } = headCounts(config);
  const valueLength = read.number(`${prefix}.attention.value_length`, headDim);
  if (valueLength !== headDim)
    throw read.invalid(
      `${prefix}.attention.value_length`,
      `keys of ${headDim} and values of ${valueLength} differ`,
    );
  const context = numberOf(config.max_position_embeddings) ?? 0;
  const rope = rotary ? ropeToConfig(read, prefix, { headDim, context }, divisors) : {};
  if (modelType === "gpt_neox") {
    delete rope.rope_theta;
    delete rope.partial_rotary_factor;
  }
  return { ...config, ...rope, ...toConfig?.({ read, prefix, contents, config }) };
}

export interface WrittenConfig {
  readonly architecture: GgufArchitecture;
  readonly heads: HeadCounts;
  readonly metadata: ReadonlyMap<string, GgufValue>;
  readonly divisors: Divisors;
  /** What readers of the file will not know or heed. */
  readonly warnings: readonly string[];
}

/** Metadata for a config.json; a key that it lacks has its class default. Throws for what GGUF cannot say. */
export function configToGguf(config: Config, where: string): WrittenConfig {
  const type = String(config.model_type);
  if (!Object.hasOwn(ggufArchitectures, type))
    throw cannotSay(`architecture "${type}" has no form in GGUF that is known here`, where);
  const architecture = ggufArchitectures[type];
  const { name: prefix, keys, activation, rotary, toGguf } = architecture;
  const refuse = (why: string) => cannotSay(why, where);
  const metadata = new Map<string, GgufValue>([["general.architecture", string(prefix)]]);
  const warnings: string[] = [];
  const full: Values = { ...config };
  for (const { config: key, gguf, float, usual } of keys) {
    const value = numberOf(config[key]) ?? usual?.(config);
    if (value === undefined) throw refuse(`its configuration lacks "${key}"`);
    full[key] = value;
    metadata.set(`${prefix}.${gguf}`, float ? f32(value) : u32(value));
  }
  const [, ...known] = activation;
  const given = config.hidden_activation ?? config.hidden_act ?? config.activation_function ?? known[0];
  if (typeof given !== "string" || !known.includes(given))
    throw refuse(`its activation is ${JSON.stringify(given)}, and the architecture means ${known[0]}`);
  const heads = headCounts(full);
  if (keys.some((k) => k.gguf === "attention.key_length"))
    metadata.set(`${prefix}.attention.value_length`, u32(heads.headDim));
  const context = numberOf(full.max_position_embeddings) ?? 0;
  const rope = rotary ? ropeToGguf(full, prefix, { headDim: heads.headDim, context }, where) : undefined;
  for (const [key, value] of rope?.metadata ?? []) metadata.set(key, value);
  toGguf?.({
    config: full,
    set: (key, value) => metadata.set(`${prefix}.${key}`, value),
    warn: (text) => warnings.push(text),
    refuse,
  });
  const vocabularySize = numberOf(config.vocab_size);
  if (vocabularySize !== undefined) metadata.set(`${prefix}.vocab_size`, u32(vocabularySize));
  return {
    architecture,
    heads,
    metadata,
    divisors: rope?.divisors ?? {},
    warnings: [...warnings, ...(rope?.warnings ?? [])],
  };
}
