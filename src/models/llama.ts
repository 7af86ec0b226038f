/**
 * Llama (Touvron et al., arXiv:2302.13971, and its successors up to 3.2; SmolLM2 is one): RMSNorm, rotary positions,
 * grouped-query attention, SwiGLU, optional biases, tied or untied head. Names and values as `transformers` has them.
 */
import { layerBoundary } from "../engine/ordering.ts";
import { add, mul, silu } from "../engine/ops/elementwise.ts";
import { gatherRows } from "../engine/ops/indexing.ts";
import { linear } from "../engine/ops/matmul.ts";
import { rmsNorm } from "../engine/ops/normalization.ts";
import { rotary } from "../engine/ops/rotary.ts";
import { type Shape, type Tensor, dim } from "../engine/tensor.ts";
import { RequestError } from "../errors.ts";
import type { ParameterSpec, Weights } from "../nn/parameters.ts";
import { ropeFromConfig } from "../nn/rotary.ts";
import type { Architecture, CausalLm } from "./causal-lm.ts";
import { configReader } from "./config-reader.ts";

export const llama: Architecture = (config, where): CausalLm => {
  const read = configReader(config, where);
  const hiddenSize = read.count("hidden_size");
  const layers = read.count("num_hidden_layers");
  const heads = read.count("num_attention_heads");
  const kvHeads = read.count("num_key_value_heads", heads);
  const headDim = read.count("head_dim", hiddenSize / heads);
  const inner = read.count("intermediate_size");
  const vocabularySize = read.count("vocab_size");
  const maxPositions = read.count("max_position_embeddings", 2048);
  const epsilon = read.number("rms_norm_eps", 1e-6);
  const std = read.number("initializer_range", 0.02);
  const tied = read.flag("tie_word_embeddings", false);
  const attentionBias = read.flag("attention_bias", false);
  const mlpBias = read.flag("mlp_bias", false);
  read.oneOf("hidden_act", ["silu"], "silu");
  if (heads % kvHeads !== 0) {
    throw new RequestError({
      code: "config-invalid",
      what: `num_attention_heads ${heads} is not a multiple of num_key_value_heads ${kvHeads}`,
      where,
    });
  }
  if (headDim % 2 !== 0) {
    throw new RequestError({
      code: "config-invalid",
      what: `head_dim ${headDim} is odd`,
      where,
      why: "rotary positions turn pairs",
    });
  }
  const rope = ropeFromConfig(config, { headDim, maxPositionEmbeddings: maxPositions });
  if (rope.width !== headDim) {
    throw new RequestError({
      code: "config-invalid",
      what: 'key "partial_rotary_factor" cannot be used',
      where,
      why: "Llama turns whole heads",
      fix: "Leave it out, or use a model of the architecture that it belongs to",
    });
  }

  const hidden = dim("hidden", hiddenSize);
  const vocabulary = dim("vocabulary", vocabularySize);
  const q = dim("queryWidth", heads * headDim);
  const kv = dim("keyWidth", kvHeads * headDim);
  const mlp = dim("inner", inner);

  const matrix = (name: string, shape: Shape): ParameterSpec => ({
    name: `${name}.weight`,
    shape,
    initial: { normal: std },
  });
  const norm = (name: string): ParameterSpec => ({
    name: `${name}.weight`,
    shape: [hidden],
    initial: { constant: 1 },
  });
  const projection = (name: string, shape: Shape, bias: boolean): ParameterSpec[] => [
    matrix(name, shape),
    ...(bias ? [{ name: `${name}.bias`, shape: [shape[0]], initial: { constant: 0 } }] : []),
  ];
  const layerSpecs = (i: number): ParameterSpec[] => {
    const at = `model.layers.${i}`;
    return [
      ...projection(`${at}.self_attn.q_proj`, [q, hidden], attentionBias),
      ...projection(`${at}.self_attn.k_proj`, [kv, hidden], attentionBias),
      ...projection(`${at}.self_attn.v_proj`, [kv, hidden], attentionBias),
      ...projection(`${at}.self_attn.o_proj`, [hidden, q], attentionBias),
      ...projection(`${at}.mlp.gate_proj`, [mlp, hidden], mlpBias),
      ...projection(`${at}.mlp.up_proj`, [mlp, hidden], mlpBias),
      ...projection(`${at}.mlp.down_proj`, [hidden, mlp], mlpBias),
      norm(`${at}.input_layernorm`),
      norm(`${at}.post_attention_layernorm`),
    ];
  };
  const perLayer = Array.from({ length: layers }, (_, i) => layerSpecs(i));
  const parameters = [
    matrix("model.embed_tokens", [vocabulary, hidden]),
    ...perLayer.flat(),
    norm("model.norm"),
    ...(tied ? [] : [matrix("lm_head", [vocabulary, hidden])]),
  ];

  /** x Wᵀ, plus the bias where the configuration has one. */
  const project = (w: Weights, x: Tensor, name: string, bias: boolean): Tensor =>
    linear(x, w(`${name}.weight`), bias ? w(`${name}.bias`) : undefined);

  return {
    modelType: "llama",
    vocabularySize,
    hiddenSize,
    layers,
    context: rope.unlimited ? Infinity : maxPositions,
    attention: { heads, kvHeads, headDim, scale: 1 / Math.sqrt(headDim) },
    rope,
    parameters,
    ignores: (name) => (tied && name === "lm_head.weight") || name.endsWith(".rotary_emb.inv_freq"),
    layerParameters: (i) => perLayer[i].map((s) => s.name),
    head: (w) => w(tied ? "model.embed_tokens.weight" : "lm_head.weight"),
    hidden(w, { ids, cos, sin, order }, attend) {
      let x = gatherRows(w("model.embed_tokens.weight"), ids);
      for (let i = 0; i < layers; i++) {
        const at = `model.layers.${i}`;
        x = layerBoundary(x, () => perLayer[i].map((s) => w(s.name)));
        const h = rmsNorm(x, w(`${at}.input_layernorm.weight`), epsilon);
        const part = (name: string) => project(w, h, `${at}.self_attn.${name}`, attentionBias);
        const queries = rotary(part("q_proj"), cos, sin, order, heads);
        const keys = rotary(part("k_proj"), cos, sin, order, kvHeads);
        const mixed = attend(queries, keys, part("v_proj"), i);
        x = add(x, project(w, mixed, `${at}.self_attn.o_proj`, attentionBias));
        const g = rmsNorm(x, w(`${at}.post_attention_layernorm.weight`), epsilon);
        const gate = silu(project(w, g, `${at}.mlp.gate_proj`, mlpBias));
        const up = project(w, g, `${at}.mlp.up_proj`, mlpBias);
        x = add(x, project(w, mul(gate, up), `${at}.mlp.down_proj`, mlpBias));
      }
      return rmsNorm(x, w("model.norm.weight"), epsilon);
    },
    toConfig: () => ({
      ...Object.fromEntries(
        Object.entries(config).filter(([key]) => !["rope_parameters", "dtype"].includes(key)),
      ),
      architectures: ["LlamaForCausalLM"],
      model_type: "llama",
      vocab_size: vocabularySize,
      hidden_size: hiddenSize,
      intermediate_size: inner,
      num_hidden_layers: layers,
      num_attention_heads: heads,
      num_key_value_heads: kvHeads,
      head_dim: headDim,
      hidden_act: "silu",
      max_position_embeddings: maxPositions,
      rms_norm_eps: epsilon,
      initializer_range: std,
      tie_word_embeddings: tied,
      attention_bias: attentionBias,
      mlp_bias: mlpBias,
      ...rope.toConfig(),
    }),
  };
};
