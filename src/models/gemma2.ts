/**
 * Gemma 2 (arXiv:2408.00118): Gemma with a norm before and after attention and MLP, soft caps on scores and logits, scores
 * scaled by a number of their own, and windows on every other layer, the first included.
 */
import { add } from "../engine/ops/elementwise.ts";
import { activations } from "../nn/activations.ts";
import type { DecoderLayer } from "./assemble.ts";
import type { Architecture } from "./causal-lm.ts";
import { type LayerParts, commonDecoder, readCommon } from "./common-decoder.ts";
import { refuseBidirectional } from "./gemma.ts";
import { layerWindows } from "./windows.ts";

const defaults = {
  vocab_size: 256000,
  hidden_size: 2304,
  intermediate_size: 9216,
  num_hidden_layers: 26,
  num_attention_heads: 8,
  num_key_value_heads: 4,
  head_dim: 256,
  max_position_embeddings: 8192,
  tie_word_embeddings: true,
  hidden_activation: "gelu_pytorch_tanh",
  attention_bias: false,
  query_pre_attn_scalar: 256,
  sliding_window: 4096,
  attn_logit_softcapping: 50,
  final_logit_softcapping: 30,
};

export const gemma2: Architecture = (config, where) => {
  const common = readCommon(config, where, defaults);
  const { read, hidden, layers } = common;
  refuseBidirectional(read);
  const bias = read.flag("attention_bias");
  const activation = read.oneOf("hidden_activation", Object.keys(activations), "gelu_pytorch_tanh");
  const scalar = read.optionalPositive("query_pre_attn_scalar");
  if (scalar === undefined) throw read.invalid("query_pre_attn_scalar", "it is null");
  const softcap = read.optionalPositive("attn_logit_softcapping");
  const finalSoftcap = read.optionalPositive("final_logit_softcapping");
  return commonDecoder(common, {
    modelType: "gemma2",
    className: "Gemma2ForCausalLM",
    activation,
    bias: { qkv: bias, output: bias },
    onePlus: true,
    embeddingScale: Math.fround(Math.sqrt(hidden.size)),
    scoreScale: 1 / Math.sqrt(scalar),
    softcap,
    finalSoftcap,
    windows: layerWindows(read, layers, (i) => i % 2 === 0),
    connect: fourNorms,
    config: {
      hidden_activation: activation,
      attention_bias: bias,
      query_pre_attn_scalar: scalar,
      sliding_window: read.optionalCount("sliding_window") ?? null,
      attn_logit_softcapping: softcap ?? null,
      final_logit_softcapping: finalSoftcap ?? null,
    },
  });
};

/** x += norm(attention(norm x)); x += norm(mlp(norm x)). `post_attention_layernorm` is not the norm before the MLP here. */
function fourNorms({ attention, mlp, norm }: LayerParts): DecoderLayer {
  const [before, after] = [norm("input_layernorm"), norm("post_attention_layernorm")];
  const [beforeMlp, afterMlp] = [norm("pre_feedforward_layernorm"), norm("post_feedforward_layernorm")];
  return {
    parameters: [attention, mlp, before, after, beforeMlp, afterMlp].flatMap((p) => p.parameters),
    apply(w, x, tools) {
      const mixed = add(tools.wanted(x), after.apply(w, attention.apply(w, before.apply(w, x), tools)));
      return add(mixed, afterMlp.apply(w, mlp.apply(w, beforeMlp.apply(w, mixed))));
    },
  };
}
