/** The JSON files of a Hugging Face model folder, as they are. */
import { RequestError } from "../errors.ts";
import { exists, isFolder, joinPath, listFolder, readJson } from "./files.ts";

export interface ModelFolder {
  /** config.json */
  readonly config: Readonly<Record<string, unknown>>;
  /** generation_config.json, where there is one. */
  readonly generationConfig?: Readonly<Record<string, unknown>>;
}

/** Reads config.json and generation_config.json. Throws where the folder is none. */
export async function readModelFolder(folder: string): Promise<ModelFolder> {
  if (!(await isFolder(folder))) {
    throw new RequestError({
      code: "no-model",
      what: "there is no such model folder",
      where: folder,
      fix: "Name a folder with config.json and model.safetensors",
    });
  }
  const path = joinPath(folder, "config.json");
  if (!(await exists(path))) {
    const gguf = (await listFolder(folder)).find((name) => name.toLowerCase().endsWith(".gguf"));
    throw new RequestError({
      code: "no-config",
      what: "there is no config.json",
      where: folder,
      fix: gguf ? `Name the file in it: ${joinPath(folder, gguf)}` : "Name a Hugging Face model folder",
    });
  }
  const generation = joinPath(folder, "generation_config.json");
  return {
    config: asObject(await readJson(path), path),
    generationConfig: (await exists(generation))
      ? asObject(await readJson(generation), generation)
      : undefined,
  };
}

/** Numbers that `transformers` refuses or warns of when they are written without a point. */
const floats = [
  "attn_logit_softcapping",
  "final_logit_softcapping",
  "rms_norm_eps",
  "layer_norm_eps",
  "layer_norm_epsilon",
  "initializer_range",
  "rope_theta",
  "rotary_emb_base",
  "rotary_pct",
  "partial_rotary_factor",
  "factor",
  "low_freq_factor",
  "high_freq_factor",
  "attention_factor",
  "beta_fast",
  "beta_slow",
];
const wholeFloat = new RegExp(`^(\\s*"(?:${floats.join("|")})": -?\\d+)(?=,?$)`, "gm");

/** The text of a config.json, one key a line; numbers of a kind that is never whole in Python get their ".0". */
export function configText(config: Readonly<Record<string, unknown>>): string {
  return `${JSON.stringify(config, null, 2).replace(wholeFloat, "$1.0")}\n`;
}

function asObject(value: unknown, where: string): Record<string, unknown> {
  if (typeof value === "object" && value !== null && !Array.isArray(value))
    return value as Record<string, unknown>;
  throw new RequestError({ code: "not-an-object", what: "is not a JSON object", where });
}
