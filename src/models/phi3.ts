/**
 * Phi-3 (arXiv:2404.14219): the common decoder with queries, keys and values in one matrix, gate and up in another, heads that may
 * turn in part, LongRoPE, and a window.
 */
import { slice } from "../engine/ops/shape.ts";
import { dim } from "../engine/tensor.ts";
import { activations, gated } from "../nn/activations.ts";
import { type Layer, linearLayer } from "../nn/layers.ts";
import type { Rope } from "../nn/rotary.ts";
import type { Architecture } from "./causal-lm.ts";
import { type Common, type Projections, commonDecoder, readCommon } from "./common-decoder.ts";
import { layerWindows } from "./windows.ts";

const defaults = {
  vocab_size: 32064,
  hidden_size: 3072,
  intermediate_size: 8192,
  num_hidden_layers: 32,
  num_attention_heads: 32,
  max_position_embeddings: 4096,
  original_max_position_embeddings: 4096,
  rms_norm_eps: 1e-5,
  sliding_window: null,
};

export const phi3: Architecture = (config, where) => {
  // LongRoPE has had three names in files of this architecture.
  const rules = { partial: true, olderNames: { su: "longrope", yarn: "longrope" } };
  const common = readCommon(config, where, defaults, rules);
  const { read, layers } = common;
  const activation = read.oneOf("hidden_act", Object.keys(activations));
  return commonDecoder(common, {
    modelType: "phi3",
    className: "Phi3ForCausalLM",
    activation,
    windows: layerWindows(read, layers, () => true),
    projections: (at) => fusedProjections(at, common),
    mlp: (at) => fusedMlp(at, common, activation),
    config: {
      sliding_window: read.optionalCount("sliding_window") ?? null,
      original_max_position_embeddings: read.count("original_max_position_embeddings"),
      ...scalingKeys(common.rope),
    },
  });
};

/** `qkv_proj`: rows of all queries, then keys, then values. */
function fusedProjections(at: string, c: Common): Projections {
  const [queries, keys] = [c.queryWidth.size, c.keyWidth.size];
  const fused = linearLayer(`${at}.qkv_proj`, c.hidden, dim("fused", queries + 2 * keys), { std: c.std });
  return {
    parameters: fused.parameters,
    apply(w, h) {
      const all = fused.apply(w, h);
      return {
        q: slice(all, "fused", 0, queries, "queryWidth"),
        k: slice(all, "fused", queries, queries + keys, "keyWidth"),
        v: slice(all, "fused", queries + keys, queries + 2 * keys, "keyWidth"),
      };
    },
  };
}

/** `gate_up_proj`: rows of the gate, then of up. */
function fusedMlp(at: string, c: Common, activation: string): Layer {
  const inner = c.inner.size;
  const fused = linearLayer(`${at}.gate_up_proj`, c.hidden, dim("fused", 2 * inner), { std: c.std });
  const down = linearLayer(`${at}.down_proj`, c.inner, c.hidden, { std: c.std });
  const act = activations[activation];
  return {
    parameters: [...fused.parameters, ...down.parameters],
    apply(w, x) {
      const both = fused.apply(w, x);
      const gate = slice(both, "fused", 0, inner, "inner");
      return down.apply(w, gated(act, gate, slice(both, "fused", inner, 2 * inner, "inner")));
    },
  };
}

/** Older versions of `transformers` want exactly `type` and the two lists in this architecture's `rope_scaling`. */
function scalingKeys(rope: Rope): Record<string, unknown> {
  const { rope_scaling: scaling } = rope.toConfig();
  if (typeof scaling !== "object" || scaling === null) return {};
  const rest = Object.entries(scaling).filter(
    ([key]) => !["rope_type", "original_max_position_embeddings"].includes(key),
  );
  return {
    rope_scaling: { type: (scaling as { rope_type: string }).rope_type, ...Object.fromEntries(rest) },
  };
}
