/**
 * The decoder that Llama, Mistral, Qwen and Gemma are variations of: RMS norms, rotary positions, grouped-query attention, a gated
 * MLP. An architecture gives its class defaults and what is different about it; names and values are those of `transformers`.
 */
import { add, mul } from "../engine/ops/elementwise.ts";
import { reshape } from "../engine/ops/shape.ts";
import { type Dim, type Tensor, dim } from "../engine/tensor.ts";
import { RequestError } from "../errors.ts";
import { activations, gated } from "../nn/activations.ts";
import { type Layer, embeddingLayer, linearLayer, rmsNormLayer } from "../nn/layers.ts";
import type { ParameterSpec, Weights } from "../nn/parameters.ts";
import { type Rope, type RopeOptions, ropeFromConfig } from "../nn/rotary.ts";
import { type DecoderLayer, type LayerTools, assemble, savedConfig } from "./assemble.ts";
import type { CausalLm } from "./causal-lm.ts";
import { type ConfigReader, configReader } from "./config-reader.ts";

type Values = Readonly<Record<string, unknown>>;

/** What a configuration says of the sizes and of everything that these models have in common. */
export interface Common {
  readonly read: ConfigReader;
  readonly vocabulary: Dim;
  readonly hidden: Dim;
  /** Width of the MLP. */
  readonly inner: Dim;
  readonly queryWidth: Dim;
  readonly keyWidth: Dim;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly maxPositions: number;
  readonly epsilon: number;
  /** Standard deviation of fresh matrices. */
  readonly std: number;
  readonly tied: boolean;
  readonly rope: Rope;
}

export interface RopeRules extends Pick<RopeOptions, "olderNames"> {
  /** Whether only a part of a head may turn. */
  readonly partial?: boolean;
}

/** Reads what is common. `defaults` are those of the architecture's class in `transformers`. */
export function readCommon(config: Values, where: string, defaults: Values, rules: RopeRules = {}): Common {
  const read = configReader(config, where, { ...commonDefaults, ...defaults });
  const hiddenSize = read.count("hidden_size");
  const heads = read.count("num_attention_heads");
  const kvHeads = read.count("num_key_value_heads", heads);
  const headDim = read.count("head_dim", hiddenSize / heads);
  const maxPositions = read.count("max_position_embeddings");
  if (heads % kvHeads !== 0) {
    throw new RequestError({
      code: "config-invalid",
      what: `num_attention_heads ${heads} is not a multiple of num_key_value_heads ${kvHeads}`,
      where,
    });
  }
  const rope = ropeFromConfig(read.values, {
    headDim,
    maxPositionEmbeddings: maxPositions,
    olderNames: rules.olderNames,
  });
  if (rope.width !== headDim && !rules.partial)
    throw read.invalid(
      "partial_rotary_factor",
      `a model of type ${String(config.model_type)} turns whole heads`,
    );
  return {
    read,
    vocabulary: dim("vocabulary", read.count("vocab_size")),
    hidden: dim("hidden", hiddenSize),
    inner: dim("inner", read.count("intermediate_size")),
    queryWidth: dim("queryWidth", heads * headDim),
    keyWidth: dim("keyWidth", kvHeads * headDim),
    layers: read.layers("num_hidden_layers"),
    heads,
    kvHeads,
    headDim,
    maxPositions,
    epsilon: read.number("rms_norm_eps"),
    std: read.number("initializer_range"),
    tied: read.flag("tie_word_embeddings"),
    rope,
  };
}

/** Defaults that every class of this family shares. */
const commonDefaults: Values = {
  num_key_value_heads: null,
  head_dim: null,
  rms_norm_eps: 1e-6,
  initializer_range: 0.02,
  tie_word_embeddings: false,
  hidden_act: "silu",
};

/** How a layer makes queries, keys and values. */
export interface Projections {
  readonly parameters: readonly ParameterSpec[];
  apply(w: Weights, h: Tensor): { q: Tensor; k: Tensor; v: Tensor };
}

/** The parts of one layer, for those who connect them. */
export interface LayerParts {
  readonly attention: {
    readonly parameters: readonly ParameterSpec[];
    apply(w: Weights, h: Tensor, tools: LayerTools): Tensor;
  };
  readonly mlp: Layer;
  /** A norm of this layer, by its name. */
  norm(name: string): Layer;
}

export interface Differences {
  readonly modelType: string;
  /** Its class in `transformers`. */
  readonly className: string;
  readonly activation: string;
  /** Which projections have biases. */
  readonly bias?: { readonly qkv?: boolean; readonly output?: boolean; readonly mlp?: boolean };
  /** Queries and keys are normed, head by head, before they are rotated. */
  readonly headNorms?: boolean;
  /** Norms multiply by 1 + weight. */
  readonly onePlus?: boolean;
  /** Factor of the embedding. */
  readonly embeddingScale?: number;
  /** Factor of the scores; absent: 1/√headDim. */
  readonly scoreScale?: number;
  readonly softcap?: number;
  readonly finalSoftcap?: number;
  /** The window of each layer; absent: none has one. */
  readonly windows?: readonly (number | undefined)[];
  readonly projections?: (at: string) => Projections;
  readonly mlp?: (at: string) => Layer;
  readonly connect?: (parts: LayerParts) => DecoderLayer;
  /** Keys of config.json beside the common ones. */
  readonly config: Values;
}

export function commonDecoder(c: Common, d: Differences): CausalLm {
  const projections = d.projections ?? ((at: string) => separateProjections(at, c, d.bias?.qkv));
  const mlp = d.mlp ?? ((at: string) => gatedMlp(at, c, d.activation, d.bias?.mlp));
  const connect = d.connect ?? preNorm;
  const norm = (name: string, width = c.hidden) => rmsNormLayer(name, width, c.epsilon, d.onePlus);
  const layers = Array.from({ length: c.layers }, (_, i) => {
    const at = `model.layers.${i}`;
    return connect({
      attention: attentionPart(`${at}.self_attn`, projections(`${at}.self_attn`), c, d, norm),
      mlp: mlp(`${at}.mlp`),
      norm: (name) => norm(`${at}.${name}`),
    });
  });
  const table = embeddingLayer("model.embed_tokens", c.vocabulary, c.hidden, c.std);
  return assemble({
    modelType: d.modelType,
    vocabulary: c.vocabulary,
    hidden: c.hidden,
    context: c.rope.unlimited ? Infinity : c.maxPositions,
    attention: {
      heads: c.heads,
      kvHeads: c.kvHeads,
      headDim: c.headDim,
      softcap: d.softcap,
      layers: layers.map((_, i) => ({
        scale: d.scoreScale ?? 1 / Math.sqrt(c.headDim),
        window: d.windows?.[i],
      })),
    },
    rope: c.rope,
    embedding: {
      parameters: table.parameters,
      apply(w, { ids }) {
        const x = table.apply(w, ids);
        return d.embeddingScale === undefined ? x : mul(x, d.embeddingScale);
      },
    },
    layers,
    norm: norm("model.norm"),
    names: { embedding: "model.embed_tokens", head: "lm_head" },
    tied: c.tied,
    std: c.std,
    finalSoftcap: d.finalSoftcap,
    buffers: /\.rotary_emb\.inv_freq$/,
    toConfig: () => configOf(c, d),
  });
}

/** x += attention(norm x); x += mlp(norm x). */
function preNorm({ attention, mlp, norm }: LayerParts): DecoderLayer {
  const [first, second] = [norm("input_layernorm"), norm("post_attention_layernorm")];
  return {
    parameters: [attention, mlp, first, second].flatMap((p) => p.parameters),
    apply(w, x, tools) {
      const mixed = add(tools.wanted(x), attention.apply(w, first.apply(w, x), tools));
      return add(mixed, mlp.apply(w, second.apply(w, mixed)));
    },
  };
}

function attentionPart(
  at: string,
  projections: Projections,
  c: Common,
  d: Differences,
  norm: (name: string, width: Dim) => Layer,
): LayerParts["attention"] {
  const output = linearLayer(`${at}.o_proj`, c.queryWidth, c.hidden, { bias: d.bias?.output, std: c.std });
  const width = dim("headDim", c.headDim);
  const norms = d.headNorms ? [norm(`${at}.q_norm`, width), norm(`${at}.k_norm`, width)] : undefined;
  /** The norm of every head's own values: [tokens, heads·headDim] → the same. */
  const normed = (w: Weights, x: Tensor, heads: number, n: Layer) =>
    reshape(n.apply(w, reshape(x, [x.shape[0], dim("heads", heads), width])), x.shape);
  return {
    parameters: [projections, output, ...(norms ?? [])].flatMap((p) => p.parameters),
    apply(w, h, { turn, attend }) {
      const { q, k, v } = projections.apply(w, h);
      const queries = norms ? normed(w, q, c.heads, norms[0]) : q;
      const keys = norms ? normed(w, k, c.kvHeads, norms[1]) : k;
      return output.apply(w, attend(turn(queries, c.heads), turn(keys, c.kvHeads), v));
    },
  };
}

/** One matrix each for queries, keys and values. */
function separateProjections(at: string, c: Common, bias = false): Projections {
  const [q, k, v] = (
    [
      ["q_proj", c.queryWidth],
      ["k_proj", c.keyWidth],
      ["v_proj", c.keyWidth],
    ] as const
  ).map(([name, width]) => linearLayer(`${at}.${name}`, c.hidden, width, { bias, std: c.std }));
  return {
    parameters: [q, k, v].flatMap((p) => p.parameters),
    apply: (w, h) => ({ q: q.apply(w, h), k: k.apply(w, h), v: v.apply(w, h) }),
  };
}

/** down(act(gate x) · up x) */
function gatedMlp(at: string, c: Common, activation: string, bias = false): Layer {
  const act = activations[activation];
  const options = { bias, std: c.std };
  const gate = linearLayer(`${at}.gate_proj`, c.hidden, c.inner, options);
  const up = linearLayer(`${at}.up_proj`, c.hidden, c.inner, options);
  const down = linearLayer(`${at}.down_proj`, c.inner, c.hidden, options);
  return {
    parameters: [gate, up, down].flatMap((p) => p.parameters),
    apply: (w, x) => down.apply(w, gated(act, gate.apply(w, x), up.apply(w, x))),
  };
}

/** The configuration as it was given, in the old style, with everything that was read spelled out. */
function configOf(c: Common, d: Differences): Record<string, unknown> {
  return {
    ...savedConfig(c.read.values, d.modelType, d.className),
    vocab_size: c.vocabulary.size,
    hidden_size: c.hidden.size,
    intermediate_size: c.inner.size,
    num_hidden_layers: c.layers,
    num_attention_heads: c.heads,
    num_key_value_heads: c.kvHeads,
    head_dim: c.headDim,
    hidden_act: d.activation,
    max_position_embeddings: c.maxPositions,
    rms_norm_eps: c.epsilon,
    initializer_range: c.std,
    tie_word_embeddings: c.tied,
    ...c.rope.toConfig(),
    ...d.config,
  };
}
