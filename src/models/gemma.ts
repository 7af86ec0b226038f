/**
 * Gemma (arXiv:2403.08295): the common decoder with the embedding times √hidden, norms that multiply by 1 + weight, GELU in the
 * gate, and a tied head.
 */
import { activations } from "../nn/activations.ts";
import type { Architecture } from "./causal-lm.ts";
import { commonDecoder, readCommon } from "./common-decoder.ts";
import type { ConfigReader } from "./config-reader.ts";

const defaults = {
  vocab_size: 256000,
  hidden_size: 3072,
  intermediate_size: 24576,
  num_hidden_layers: 28,
  num_attention_heads: 16,
  num_key_value_heads: 16,
  head_dim: 256,
  max_position_embeddings: 8192,
  tie_word_embeddings: true,
  hidden_act: null,
  attention_bias: false,
};

export const gemma: Architecture = (config, where) => {
  const common = readCommon(config, where, defaults);
  const { read, hidden } = common;
  refuseBidirectional(read);
  const bias = read.flag("attention_bias");
  const activation = activationOf(read);
  return commonDecoder(common, {
    modelType: "gemma",
    className: "GemmaForCausalLM",
    activation,
    bias: { qkv: bias, output: bias },
    onePlus: true,
    embeddingScale: Math.fround(Math.sqrt(hidden.size)),
    config: { attention_bias: bias, hidden_activation: activation },
  });
};

/** The released files say "gelu" and mean its form with tanh; in older ones `hidden_activation` says so, or is null. */
function activationOf(read: ConfigReader): string {
  const known = Object.keys(activations);
  const older = read.oneOf("hidden_activation", known, "gelu_pytorch_tanh");
  const given = read.oneOf("hidden_act", known, older);
  return given === "gelu" ? "gelu_pytorch_tanh" : given;
}

/** Throws for a model whose tokens see those that follow them. */
export function refuseBidirectional(read: ConfigReader): void {
  const key = "use_bidirectional_attention";
  if (read.values[key]) throw read.invalid(key, "only causal attention is built");
}
