/**
 * Qwen2 and Qwen2.5 (arXiv:2407.10671, arXiv:2412.15115): the common decoder with biases on queries, keys and values;
 * where windows are switched on, the layers from `max_window_layers` on have them.
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
  max_position_embeddings: 32768,
  use_sliding_window: false,
  sliding_window: 4096,
  max_window_layers: 28,
};

export const qwen2: Architecture = (config, where) => {
  const common = readCommon(config, where, defaults);
  const { read, layers } = common;
  return commonDecoder(common, {
    modelType: "qwen2",
    className: "Qwen2ForCausalLM",
    activation: read.oneOf("hidden_act", Object.keys(activations)),
    bias: { qkv: true },
    ...qwenWindows(read, layers),
  });
};
