/**
 * GPT-NeoX (Black et al., arXiv:2204.06745; Pythia is one): layer norms with bias, attention and MLP side by side on the same
 * input, rotation of a part of each head, queries, keys and values in one matrix head by head.
 */
import { add } from "../engine/ops/elementwise.ts";
import { reshape, slice } from "../engine/ops/shape.ts";
import { type Dim, type Tensor, dim } from "../engine/tensor.ts";
import { activations, activated } from "../nn/activations.ts";
import { embeddingLayer, layerNormLayer, linearLayer } from "../nn/layers.ts";
import { ropeFromConfig } from "../nn/rotary.ts";
import { type DecoderLayer, type LayerTools, assemble, savedConfig } from "./assemble.ts";
import type { Weights } from "../nn/parameters.ts";
import type { Architecture } from "./causal-lm.ts";
import { configReader } from "./config-reader.ts";

const defaults = {
  vocab_size: 50432,
  hidden_size: 6144,
  num_hidden_layers: 44,
  num_attention_heads: 64,
  intermediate_size: 24576,
  hidden_act: "gelu",
  max_position_embeddings: 2048,
  initializer_range: 0.02,
  layer_norm_eps: 1e-5,
  tie_word_embeddings: false,
  use_parallel_residual: true,
  attention_bias: true,
};

interface Sizes {
  readonly hidden: Dim;
  readonly inner: Dim;
  readonly heads: number;
  readonly epsilon: number;
  readonly std: number;
  readonly activation: string;
  readonly attentionBias: boolean;
  readonly parallel: boolean;
}

export const gptNeox: Architecture = (config, where) => {
  const read = configReader(config, where, defaults);
  const [hiddenSize, heads] = [read.count("hidden_size"), read.count("num_attention_heads")];
  if (hiddenSize % heads !== 0)
    throw read.invalid("num_attention_heads", `hidden_size ${hiddenSize} is not a multiple of it`);
  const headDim = hiddenSize / heads;
  const maxPositions = read.count("max_position_embeddings");
  const rope = ropeFromConfig(read.values, {
    headDim,
    maxPositionEmbeddings: maxPositions,
    keys: { base: "rotary_emb_base", partial: "rotary_pct" },
    partial: 0.25,
  });
  const layers = read.layers("num_hidden_layers");
  const hidden = dim("hidden", hiddenSize);
  const vocabulary = dim("vocabulary", read.count("vocab_size"));
  const tied = read.flag("tie_word_embeddings");
  const sizes: Sizes = {
    hidden,
    inner: dim("inner", read.count("intermediate_size")),
    heads,
    epsilon: read.number("layer_norm_eps"),
    std: read.number("initializer_range"),
    activation: read.oneOf("hidden_act", Object.keys(activations)),
    attentionBias: read.flag("attention_bias"),
    parallel: read.flag("use_parallel_residual"),
  };
  const table = embeddingLayer("gpt_neox.embed_in", vocabulary, hidden, sizes.std);
  return assemble({
    modelType: "gpt_neox",
    vocabulary,
    hidden,
    context: rope.unlimited ? Infinity : maxPositions,
    attention: {
      heads,
      kvHeads: heads,
      headDim,
      layers: Array.from({ length: layers }, () => ({ scale: 1 / Math.sqrt(headDim) })),
    },
    rope,
    embedding: { parameters: table.parameters, apply: (w, { ids }) => table.apply(w, ids) },
    layers: Array.from({ length: layers }, (_, i) => layer(`gpt_neox.layers.${i}`, sizes)),
    norm: layerNormLayer("gpt_neox.final_layer_norm", hidden, sizes.epsilon),
    names: { embedding: "gpt_neox.embed_in", head: "embed_out" },
    tied,
    std: sizes.std,
    buffers: /\.attention\.(bias|masked_bias|rotary_emb\.inv_freq)$/,
    // So transformers 5 calls the head in memory.
    otherName: (name) => (name === "embed_out.weight" ? "lm_head.weight" : undefined),
    toConfig: () => ({
      ...savedConfig(read.values, "gpt_neox", "GPTNeoXForCausalLM"),
      ...rope.toConfig(),
    }),
  });
};

/** x + attention(ln x) + mlp(ln' x) with both of the same x; or, without `use_parallel_residual`, one after the other. */
function layer(at: string, s: Sizes): DecoderLayer {
  const { hidden, inner, std } = s;
  const first = layerNormLayer(`${at}.input_layernorm`, hidden, s.epsilon);
  const second = layerNormLayer(`${at}.post_attention_layernorm`, hidden, s.epsilon);
  const width = dim("queryWidth", hidden.size);
  const options = { bias: s.attentionBias, std };
  const qkv = linearLayer(`${at}.attention.query_key_value`, hidden, dim("fused", 3 * hidden.size), options);
  const dense = linearLayer(`${at}.attention.dense`, width, hidden, options);
  const up = linearLayer(`${at}.mlp.dense_h_to_4h`, hidden, inner, { bias: true, std });
  const down = linearLayer(`${at}.mlp.dense_4h_to_h`, inner, hidden, { bias: true, std });
  const act = activations[s.activation];
  const [heads, headDim] = [dim("heads", s.heads), dim("headDim", hidden.size / s.heads)];

  /** Each head's rows are its queries, then its keys, then its values. */
  const attention = (w: Weights, h: Tensor, { turn, attend }: LayerTools) => {
    const all = qkv.apply(w, h);
    const byHead = reshape(all, [all.shape[0], heads, dim("part", 3), headDim]);
    const part = (k: number, as: string) =>
      reshape(slice(byHead, "part", k, k + 1), [all.shape[0], dim(as, hidden.size)]);
    const q = turn(part(0, "queryWidth"), s.heads);
    return dense.apply(w, attend(q, turn(part(1, "keyWidth"), s.heads), part(2, "keyWidth")));
  };
  const mlp = (w: Weights, h: Tensor) => down.apply(w, activated(act, up.apply(w, h)));
  return {
    parameters: [qkv, dense, up, down, first, second].flatMap((p) => p.parameters),
    apply(w, x, tools) {
      const kept = tools.wanted(x);
      const mixed = add(kept, attention(w, first.apply(w, x), tools));
      return add(mixed, mlp(w, second.apply(w, s.parallel ? kept : mixed)));
    },
  };
}
