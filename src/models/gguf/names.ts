/**
 * The names of tensors in checkpoints and in GGUF files, for each architecture, with what has to be done to their values.
 * A line says all: `{i}` stands for the layer, and ".weight" or ".bias" follows on both sides.
 */
import { type Transform, groupedByHead, keyRows, plusOne, queryRows, transposed } from "./transforms.ts";

export interface Link {
  readonly checkpoint: string;
  readonly gguf: string;
  readonly transform?: Transform;
}

type Line = readonly [checkpoint: string, gguf: string, transform?: Transform];

const table = (...lines: Line[]): readonly Link[] =>
  lines.map(([checkpoint, gguf, transform]) => ({ checkpoint, gguf, transform }));

const ends = (norm?: Transform): Line[] => [
  ["model.embed_tokens", "token_embd"],
  ["model.norm", "output_norm", norm],
  ["lm_head", "output"],
];
const attention = (query?: Transform, key?: Transform): Line[] => [
  ["model.layers.{i}.self_attn.q_proj", "blk.{i}.attn_q", query],
  ["model.layers.{i}.self_attn.k_proj", "blk.{i}.attn_k", key],
  ["model.layers.{i}.self_attn.v_proj", "blk.{i}.attn_v"],
  ["model.layers.{i}.self_attn.o_proj", "blk.{i}.attn_output"],
];
const gatedMlp: Line[] = [
  ["model.layers.{i}.mlp.gate_proj", "blk.{i}.ffn_gate"],
  ["model.layers.{i}.mlp.up_proj", "blk.{i}.ffn_up"],
  ["model.layers.{i}.mlp.down_proj", "blk.{i}.ffn_down"],
];
const twoNorms = (norm?: Transform): Line[] => [
  ["model.layers.{i}.input_layernorm", "blk.{i}.attn_norm", norm],
  ["model.layers.{i}.post_attention_layernorm", "blk.{i}.ffn_norm", norm],
];

export const llamaNames = table(...ends(), ...attention(queryRows, keyRows), ...gatedMlp, ...twoNorms());

export const qwen2Names = table(...ends(), ...attention(), ...gatedMlp, ...twoNorms());

export const qwen3Names = table(
  ...ends(),
  ...attention(),
  ["model.layers.{i}.self_attn.q_norm", "blk.{i}.attn_q_norm"],
  ["model.layers.{i}.self_attn.k_norm", "blk.{i}.attn_k_norm"],
  ...gatedMlp,
  ...twoNorms(),
);

export const gemmaNames = table(...ends(plusOne), ...attention(), ...gatedMlp, ...twoNorms(plusOne));

/** Here the norm after attention is not the one before the MLP. */
export const gemma2Names = table(
  ...ends(plusOne),
  ...attention(),
  ...gatedMlp,
  ["model.layers.{i}.input_layernorm", "blk.{i}.attn_norm", plusOne],
  ["model.layers.{i}.post_attention_layernorm", "blk.{i}.post_attention_norm", plusOne],
  ["model.layers.{i}.pre_feedforward_layernorm", "blk.{i}.ffn_norm", plusOne],
  ["model.layers.{i}.post_feedforward_layernorm", "blk.{i}.post_ffw_norm", plusOne],
);

export const phi3Names = table(
  ...ends(),
  ["model.layers.{i}.self_attn.qkv_proj", "blk.{i}.attn_qkv"],
  ["model.layers.{i}.self_attn.o_proj", "blk.{i}.attn_output"],
  ["model.layers.{i}.mlp.gate_up_proj", "blk.{i}.ffn_up"],
  ["model.layers.{i}.mlp.down_proj", "blk.{i}.ffn_down"],
  ...twoNorms(),
);

export const gpt2Names = table(
  ["transformer.wte", "token_embd"],
  ["transformer.wpe", "position_embd"],
  ["transformer.ln_f", "output_norm"],
  ["lm_head", "output"],
  ["transformer.h.{i}.ln_1", "blk.{i}.attn_norm"],
  ["transformer.h.{i}.attn.c_attn", "blk.{i}.attn_qkv", transposed],
  ["transformer.h.{i}.attn.c_proj", "blk.{i}.attn_output", transposed],
  ["transformer.h.{i}.ln_2", "blk.{i}.ffn_norm"],
  ["transformer.h.{i}.mlp.c_fc", "blk.{i}.ffn_up", transposed],
  ["transformer.h.{i}.mlp.c_proj", "blk.{i}.ffn_down", transposed],
);

export const gptNeoxNames = table(
  ["gpt_neox.embed_in", "token_embd"],
  ["gpt_neox.final_layer_norm", "output_norm"],
  ["embed_out", "output"],
  ["gpt_neox.layers.{i}.input_layernorm", "blk.{i}.attn_norm"],
  ["gpt_neox.layers.{i}.post_attention_layernorm", "blk.{i}.ffn_norm"],
  ["gpt_neox.layers.{i}.attention.query_key_value", "blk.{i}.attn_qkv", groupedByHead],
  ["gpt_neox.layers.{i}.attention.dense", "blk.{i}.attn_output"],
  ["gpt_neox.layers.{i}.mlp.dense_h_to_4h", "blk.{i}.ffn_up"],
  ["gpt_neox.layers.{i}.mlp.dense_4h_to_h", "blk.{i}.ffn_down"],
);

export interface Translated {
  readonly name: string;
  readonly transform?: Transform;
}

/** The checkpoint's name of a GGUF tensor; undefined for one that the architecture does not have. */
export const checkpointName = (links: readonly Link[], gguf: string): Translated | undefined =>
  translate(links, gguf, "gguf", "checkpoint");

/** The GGUF name of a checkpoint's tensor. Files of gpt2 that lack the prefix "transformer." are understood. */
export function ggufName(links: readonly Link[], checkpoint: string): Translated | undefined {
  const find = (name: string) => translate(links, name, "checkpoint", "gguf");
  return find(checkpoint) ?? find(`transformer.${checkpoint}`);
}

type Side = "checkpoint" | "gguf";

function translate(links: readonly Link[], name: string, from: Side, to: Side): Translated | undefined {
  const [, stem, suffix] = /^(.*)\.(weight|bias)$/.exec(name) ?? [];
  if (stem === undefined) return undefined;
  const layer = /\.(\d+)\./.exec(stem)?.[1];
  const pattern = layer === undefined ? stem : stem.replace(`.${layer}.`, ".{i}.");
  const link = links.find((l) => l[from] === pattern);
  if (!link) return undefined;
  return { name: `${link[to].replace("{i}", layer ?? "")}.${suffix}`, transform: link.transform };
}
