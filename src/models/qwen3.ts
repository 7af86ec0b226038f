/**
 * Qwen3 (arXiv:2505.09388): the common decoder with RMS norms on every head's queries and keys before they are rotated,
 * heads of a width of their own, and no biases unless the configuration says so.
 */
import { activations } from "../nn/activations.ts";
import type { Architecture } from "./causal-lm.ts";
import { commonDecoder, readCommon } from "./common-decoder.ts";
import { qwenWindows } from "./windows.ts";

const defaults = {
  vocab_size: 151936,
  hidden_size: 4096,
  intermediate_size: 22016,
  num_hidden_layers: 32,
  num_attention_heads: 32,
  num_key_value_heads: 32,
  head_dim: 128,
  max_position_embeddings: 32768,
  attention_bias: false,
  use_sliding_window: false,
  sliding_window: 4096,
  max_window_layers: 28,
};

export const qwen3: Architecture = (config, where) => {
  const common = readCommon(config, where, defaults);
  const { read, layers } = common;
  const bias = read.flag("attention_bias");
  const { windows, config: windowKeys } = qwenWindows(read, layers);
  return commonDecoder(common, {
    modelType: "qwen3",
    className: "Qwen3ForCausalLM",
    activation: read.oneOf("hidden_act", Object.keys(activations)),
    bias: { qkv: bias, output: bias },
    headNorms: true,
    windows,
    config: { attention_bias: bias, ...windowKeys },
  });
};
