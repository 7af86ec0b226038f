/**
 * Llama (Touvron et al., arXiv:2302.13971, and its successors up to 3.2; SmolLM2 is one): the common decoder itself,
 * with optional biases.
 */
import { activations } from "../nn/activations.ts";
import type { Architecture } from "./causal-lm.ts";
import { commonDecoder, readCommon } from "./common-decoder.ts";

const defaults = {
  vocab_size: 32000,
  hidden_size: 4096,
  intermediate_size: 11008,
  num_hidden_layers: 32,
  num_attention_heads: 32,
  max_position_embeddings: 2048,
  attention_bias: false,
  mlp_bias: false,
};

export const llama: Architecture = (config, where) => {
  const common = readCommon(config, where, defaults);
  const { read } = common;
  const [attentionBias, mlpBias] = [read.flag("attention_bias"), read.flag("mlp_bias")];
  return commonDecoder(common, {
    modelType: "llama",
    className: "LlamaForCausalLM",
    activation: read.oneOf("hidden_act", Object.keys(activations)),
    bias: { qkv: attentionBias, output: attentionBias, mlp: mlpBias },
    config: { attention_bias: attentionBias, mlp_bias: mlpBias },
  });
};
