/**
 * GPT-2 (Radford et al., 2019): learned positions, layer norms with bias, one matrix for queries, keys and values, an MLP without
 * gate, a tied head. Matrices are stored [in, out].
 */
import { add } from "../engine/ops/elementwise.ts";
import { slice } from "../engine/ops/shape.ts";
import { type Dim, dim } from "../engine/tensor.ts";
import { activations, activated } from "../nn/activations.ts";
import { embeddingLayer, layerNormLayer, linearLayer } from "../nn/layers.ts";
import { noRope } from "../nn/rotary.ts";
import { type DecoderLayer, assemble, savedConfig } from "./assemble.ts";
import type { Architecture } from "./causal-lm.ts";
import { configReader } from "./config-reader.ts";

const defaults = {
  vocab_size: 50257,
  n_embd: 768,
  n_layer: 12,
  n_head: 12,
  n_inner: null,
  activation_function: "gelu_new",
  layer_norm_epsilon: 1e-5,
  initializer_range: 0.02,
  scale_attn_weights: true,
  scale_attn_by_inverse_layer_idx: false,
  tie_word_embeddings: true,
};

interface Sizes {
  readonly hidden: Dim;
  readonly inner: Dim;
  readonly layers: number;
  readonly epsilon: number;
  readonly std: number;
  readonly activation: string;
}

export const gpt2: Architecture = (config, where) => {
  // Some files count positions as n_ctx alone.
  const positionDefault = { n_positions: config.n_ctx ?? 1024 };
  const read = configReader(config, where, { ...defaults, ...positionDefault });
  if (read.values.add_cross_attention) throw read.invalid("add_cross_attention", "only decoders are built");
  const [hiddenSize, layers, heads] = [read.count("n_embd"), read.layers("n_layer"), read.count("n_head")];
  if (hiddenSize % heads !== 0) throw read.invalid("n_head", `n_embd ${hiddenSize} is not a multiple of it`);
  const context = read.count("n_positions");
  const hidden = dim("hidden", hiddenSize);
  const vocabulary = dim("vocabulary", read.count("vocab_size"));
  const scaled = read.flag("scale_attn_weights");
  const byLayer = read.flag("scale_attn_by_inverse_layer_idx");
  const sizes: Sizes = {
    hidden,
    inner: dim("inner", read.count("n_inner", 4 * hiddenSize)),
    layers,
    epsilon: read.number("layer_norm_epsilon"),
    std: read.number("initializer_range"),
    activation: read.oneOf("activation_function", Object.keys(activations)),
  };
  const { std } = sizes;
  const tied = read.flag("tie_word_embeddings");
  const words = embeddingLayer("transformer.wte", vocabulary, hidden, std);
  const places = embeddingLayer("transformer.wpe", dim("positions", context), hidden, std);
  const scale = scaled ? 1 / Math.sqrt(hiddenSize / heads) : 1;
  return assemble({
    modelType: "gpt2",
    vocabulary,
    hidden,
    context,
    attention: {
      heads,
      kvHeads: heads,
      headDim: hiddenSize / heads,
      layers: Array.from({ length: layers }, (_, i) => ({ scale: byLayer ? scale / (i + 1) : scale })),
    },
    rope: noRope,
    embedding: {
      parameters: [...words.parameters, ...places.parameters],
      apply: (w, { ids, positions }) => add(words.apply(w, ids), places.apply(w, positions)),
    },
    layers: Array.from({ length: layers }, (_, i) => layer(`transformer.h.${i}`, sizes)),
    norm: layerNormLayer("transformer.ln_f", hidden, sizes.epsilon),
    names: { embedding: "transformer.wte", head: "lm_head" },
    tied,
    std,
    buffers: /(^|\.)attn\.(masked_)?bias$/,
    // Files of the bare model lack the prefix.
    otherName: (name) => (name.startsWith("transformer.") ? name.slice("transformer.".length) : undefined),
    toConfig: () => ({ ...savedConfig(read.values, "gpt2", "GPT2LMHeadModel"), n_positions: context }),
  });
};

/** x += attention(ln_1 x); x += mlp(ln_2 x). */
function layer(at: string, { hidden, inner, layers, epsilon, std, activation }: Sizes): DecoderLayer {
  const width = hidden.size;
  const inOut = { bias: true, inOut: true, std };
  // What is added to the residual stream starts smaller, by the square root of the number of additions.
  const residual = { ...inOut, std: std / Math.sqrt(2 * layers) };
  const first = layerNormLayer(`${at}.ln_1`, hidden, epsilon);
  const second = layerNormLayer(`${at}.ln_2`, hidden, epsilon);
  const qkv = linearLayer(`${at}.attn.c_attn`, hidden, dim("fused", 3 * width), inOut);
  const output = linearLayer(`${at}.attn.c_proj`, dim("queryWidth", width), hidden, residual);
  const up = linearLayer(`${at}.mlp.c_fc`, hidden, inner, inOut);
  const down = linearLayer(`${at}.mlp.c_proj`, inner, hidden, residual);
  const act = activations[activation];
  return {
    parameters: [qkv, output, up, down, first, second].flatMap((p) => p.parameters),
    apply(w, x, { attend, wanted }) {
      const all = qkv.apply(w, first.apply(w, x));
      const part = (k: number, as: string) => slice(all, "fused", k * width, (k + 1) * width, as);
      const mixed = attend(part(0, "queryWidth"), part(1, "keyWidth"), part(2, "keyWidth"));
      const y = add(wanted(x), output.apply(w, mixed));
      return add(y, down.apply(w, activated(act, up.apply(w, second.apply(w, y)))));
    },
  };
}
