/** Mistral (Jiang et al., arXiv:2310.06825): the common decoder where every layer sees a window of the latest positions. */
import { activations } from "../nn/activations.ts";
import type { Architecture } from "./causal-lm.ts";
import { commonDecoder, readCommon } from "./common-decoder.ts";
import { layerWindows } from "./windows.ts";

const defaults = {
  vocab_size: 32000,
  hidden_size: 4096,
  intermediate_size: 14336,
  num_hidden_layers: 32,
  num_attention_heads: 32,
  num_key_value_heads: 8,
  max_position_embeddings: 131072,
  sliding_window: 4096,
};

export const mistral: Architecture = (config, where) => {
  const common = readCommon(config, where, defaults);
  const { read, layers } = common;
  return commonDecoder(common, {
    modelType: "mistral",
    className: "MistralForCausalLM",
    activation: read.oneOf("hidden_act", Object.keys(activations)),
    windows: layerWindows(read, layers, () => true),
    config: { sliding_window: read.optionalCount("sliding_window") ?? null },
  });
};
