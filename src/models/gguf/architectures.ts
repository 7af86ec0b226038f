/**
 * The architectures that GGUF files and checkpoints share: for each a table of keys that mean the same on both sides, values
 * that are fixed, and a few lines for what is said differently.
 */
import type { RequestError } from "../../errors.ts";
import { type GgufValue, type MetadataReader, bool, f32, u32 } from "../../formats/gguf-metadata.ts";
import {
  type Link,
  gemma2Names,
  gemmaNames,
  gpt2Names,
  gptNeoxNames,
  llamaNames,
  phi3Names,
  qwen2Names,
  qwen3Names,
} from "./names.ts";
import type { HeadCounts } from "./transforms.ts";

export type Config = Readonly<Record<string, unknown>>;
export type Values = Record<string, unknown>;

/** A number that stands in both: config.json's key, and GGUF's behind "{architecture}.". */
interface Key {
  readonly config: string;
  readonly gguf: string;
  readonly float?: boolean;
  /** What a config.json without the key means, given the others. */
  readonly usual?: (config: Config) => number;
  /** What a GGUF file without the key means, given the values read so far; without it the key must be there. */
  readonly absent?: (config: Values) => number;
}

/** What a file holds beside its metadata. */
export interface Contents {
  has(tensor: string): boolean;
}

interface Reading {
  readonly read: MetadataReader;
  readonly prefix: string;
  readonly contents: Contents;
  /** Values read so far. */
  readonly config: Values;
}

interface Writing {
  readonly config: Config;
  set(key: string, value: GgufValue): void;
  warn(text: string): void;
  refuse(why: string): RequestError;
}

export interface GgufArchitecture {
  /** `general.architecture`, and the prefix of its keys. */
  readonly name: string;
  /** `architectures[0]` of config.json. */
  readonly className: string;
  readonly links: readonly Link[];
  readonly keys: readonly Key[];
  /** Activations that the architecture means, as config.json may call them; the first is written there. */
  readonly activation: readonly [key: string, ...names: string[]];
  /** Whether a config.json that does not say so ties the head to the embedding. */
  readonly tied: boolean;
  readonly rotary: boolean;
  readonly toConfig?: (reading: Reading) => Values;
  readonly toGguf?: (writing: Writing) => void;
}

export const numberOf = (value: unknown): number | undefined =>
  typeof value === "number" ? value : undefined;
const count = (config: Config, key: string): number => numberOf(config[key]) ?? NaN;

/** Keys of all decoders like Llama; class defaults of config.json where they differ. */
const decoder = (
  usual: { kvHeads?: number; headDim?: number; epsilon?: number; context?: number } = {},
): Key[] => {
  const { kvHeads, headDim, epsilon = 1e-6, context = 2048 } = usual;
  const widthOfHead = (c: Config) => count(c, "hidden_size") / count(c, "num_attention_heads");
  return [
    { config: "max_position_embeddings", gguf: "context_length", usual: () => context },
    { config: "hidden_size", gguf: "embedding_length" },
    { config: "num_hidden_layers", gguf: "block_count" },
    { config: "intermediate_size", gguf: "feed_forward_length" },
    { config: "num_attention_heads", gguf: "attention.head_count" },
    {
      config: "num_key_value_heads",
      gguf: "attention.head_count_kv",
      // null means as many as heads; only a key that is missing means the class default
      usual: (c) =>
        c.num_key_value_heads === undefined && kvHeads !== undefined
          ? kvHeads
          : count(c, "num_attention_heads"),
      absent: (c) => count(c, "num_attention_heads"),
    },
    {
      config: "head_dim",
      gguf: "attention.key_length",
      usual: (c) => (c.head_dim === undefined ? headDim : undefined) ?? widthOfHead(c),
      absent: widthOfHead,
    },
    { config: "rms_norm_eps", gguf: "attention.layer_norm_rms_epsilon", float: true, usual: () => epsilon },
  ];
};

/** A window of 0 means none. */
function windowOf({ read, prefix }: Reading): number | null {
  return read.optionalNumber(`${prefix}.attention.sliding_window`) || null;
}

const writtenBias = ({ config, warn }: Writing) => {
  if (config.attention_bias === true) warn("llama.cpp has no attention biases for this architecture");
};

/** Qwen's windows: all layers slide, or none. */
const qwen = {
  toConfig: (reading: Reading): Values => {
    const window = windowOf(reading);
    if (window === null) return { sliding_window: null, use_sliding_window: false };
    return { sliding_window: window, use_sliding_window: true, max_window_layers: 0 };
  },
  toGguf: (writing: Writing): void => {
    const { config, set, warn, refuse } = writing;
    const layers = count(config, "num_hidden_layers");
    const window = numberOf(config.sliding_window);
    if (config.use_sliding_window !== true || window === undefined) return;
    const types = config.layer_types as readonly string[] | undefined;
    const sliding = types
      ? types.filter((t) => t === "sliding_attention").length
      : Math.max(0, layers - (numberOf(config.max_window_layers) ?? 28));
    if (sliding === 0) return;
    if (sliding < layers) throw refuse("only some of its layers have a sliding window");
    set("attention.sliding_window", u32(window));
    warn("llama.cpp ignores the sliding window of this architecture");
  },
};

const gatedBias = ({ contents }: Reading) => ({ attention_bias: contents.has("blk.0.attn_q.bias") });

export const ggufArchitectures: Readonly<Record<string, GgufArchitecture>> = {
  llama: {
    name: "llama",
    className: "LlamaForCausalLM",
    links: llamaNames,
    keys: decoder(),
    activation: ["hidden_act", "silu"],
    tied: false,
    rotary: true,
    toConfig: (reading) => ({ ...gatedBias(reading), mlp_bias: reading.contents.has("blk.0.ffn_gate.bias") }),
  },
  mistral: {
    name: "llama",
    className: "MistralForCausalLM",
    links: llamaNames,
    keys: decoder({ kvHeads: 8, context: 131072 }),
    activation: ["hidden_act", "silu"],
    tied: false,
    rotary: true,
    toConfig: (reading) => ({ sliding_window: windowOf(reading) }),
    toGguf({ config, set, warn }) {
      const window = config.sliding_window === undefined ? 4096 : numberOf(config.sliding_window);
      if (window === undefined) return;
      set("attention.sliding_window", u32(window));
      warn("llama.cpp ignores the sliding window of this architecture");
    },
  },
  qwen2: {
    name: "qwen2",
    className: "Qwen2ForCausalLM",
    links: qwen2Names,
    keys: decoder({ kvHeads: 32, context: 32768 }),
    activation: ["hidden_act", "silu"],
    tied: false,
    rotary: true,
    ...qwen,
  },
  qwen3: {
    name: "qwen3",
    className: "Qwen3ForCausalLM",
    links: qwen3Names,
    keys: decoder({ kvHeads: 32, headDim: 128, context: 32768 }),
    activation: ["hidden_act", "silu"],
    tied: false,
    rotary: true,
    toConfig: (reading) => ({ ...gatedBias(reading), ...qwen.toConfig(reading) }),
    toGguf(writing) {
      writtenBias(writing);
      qwen.toGguf(writing);
    },
  },
  gemma: {
    name: "gemma",
    className: "GemmaForCausalLM",
    links: gemmaNames,
    keys: decoder({ kvHeads: 16, headDim: 256, context: 8192 }),
    // "gelu" in its files means the tanh form
    activation: ["hidden_activation", "gelu_pytorch_tanh", "gelu", "gelu_new"],
    tied: true,
    rotary: true,
    toConfig: (reading) => ({ ...gatedBias(reading), hidden_act: "gelu_pytorch_tanh" }),
    toGguf: writtenBias,
  },
  gemma2: {
    name: "gemma2",
    className: "Gemma2ForCausalLM",
    links: gemma2Names,
    keys: decoder({ kvHeads: 4, headDim: 256, context: 8192 }),
    activation: ["hidden_activation", "gelu_pytorch_tanh", "gelu_new"],
    tied: true,
    rotary: true,
    toConfig(reading) {
      const { read, prefix, config } = reading;
      const scale = read.optionalNumber(`${prefix}.attention.scale`);
      return {
        ...gatedBias(reading),
        attn_logit_softcapping: read.number(`${prefix}.attn_logit_softcapping`, 50),
        final_logit_softcapping: read.number(`${prefix}.final_logit_softcapping`, 30),
        sliding_window: read.number(`${prefix}.attention.sliding_window`, 4096),
        query_pre_attn_scalar:
          scale === undefined ? gemma2Scalar(config) : Number((scale ** -2).toPrecision(6)),
      };
    },
    toGguf(writing) {
      const { config, set, warn, refuse } = writing;
      writtenBias(writing);
      for (const [key, usual] of [
        ["attn_logit_softcapping", 50],
        ["final_logit_softcapping", 30],
      ] as const) {
        const cap = config[key] === undefined ? usual : numberOf(config[key]);
        if (cap === undefined) throw refuse(`${key} is null, and a file without it means ${usual}`);
        set(key, f32(cap));
      }
      set("attention.sliding_window", u32(numberOf(config.sliding_window) ?? 4096));
      const types = config.layer_types as readonly string[] | undefined;
      if (types?.some((t, i) => (t === "sliding_attention") !== (i % 2 === 0)))
        throw refuse("its layer_types are not sliding and full in turn");
      const scalar = numberOf(config.query_pre_attn_scalar) ?? 256;
      if (scalar === gemma2Scalar(config)) return;
      set("attention.scale", f32(scalar ** -0.5));
      warn(
        `llama.cpp knows no other score scale than that of the head's width, and query_pre_attn_scalar is ${scalar}`,
      );
    },
  },
  phi3: {
    name: "phi3",
    className: "Phi3ForCausalLM",
    links: phi3Names,
    keys: decoder({ epsilon: 1e-5, context: 4096 }),
    activation: ["hidden_act", "silu"],
    tied: false,
    rotary: true,
    toConfig: (reading) => ({ sliding_window: windowOf(reading) }),
    toGguf({ config, set, warn }) {
      const window = numberOf(config.sliding_window);
      if (window === undefined) return;
      set("attention.sliding_window", u32(window));
      warn("llama.cpp ignores the sliding window of this architecture");
    },
  },
  gpt2: {
    name: "gpt2",
    className: "GPT2LMHeadModel",
    links: gpt2Names,
    keys: [
      { config: "n_positions", gguf: "context_length", usual: (c) => numberOf(c.n_ctx) ?? 1024 },
      { config: "n_embd", gguf: "embedding_length", usual: () => 768 },
      { config: "n_layer", gguf: "block_count", usual: () => 12 },
      { config: "n_inner", gguf: "feed_forward_length", usual: (c) => 4 * (numberOf(c.n_embd) ?? 768) },
      { config: "n_head", gguf: "attention.head_count", usual: () => 12 },
      { config: "layer_norm_epsilon", gguf: "attention.layer_norm_epsilon", float: true, usual: () => 1e-5 },
    ],
    activation: ["activation_function", "gelu_new", "gelu_pytorch_tanh"],
    tied: true,
    rotary: false,
    toGguf({ config, refuse }) {
      if (config.scale_attn_by_inverse_layer_idx === true)
        throw refuse("GGUF has no form for scale_attn_by_inverse_layer_idx");
      if (config.scale_attn_weights === false) throw refuse("GGUF has no form for scale_attn_weights: false");
    },
  },
  gpt_neox: {
    name: "gptneox",
    className: "GPTNeoXForCausalLM",
    links: gptNeoxNames,
    keys: [
      { config: "max_position_embeddings", gguf: "context_length", usual: () => 2048 },
      { config: "hidden_size", gguf: "embedding_length" },
      { config: "num_hidden_layers", gguf: "block_count" },
      { config: "intermediate_size", gguf: "feed_forward_length" },
      { config: "num_attention_heads", gguf: "attention.head_count" },
      { config: "layer_norm_eps", gguf: "attention.layer_norm_epsilon", float: true, usual: () => 1e-5 },
    ],
    activation: ["hidden_act", "gelu"],
    tied: false,
    rotary: true,
    toConfig({ read, prefix, contents, config }) {
      const width = count(config, "hidden_size") / count(config, "num_attention_heads");
      return {
        use_parallel_residual: read.flag(`${prefix}.use_parallel_residual`, true),
        attention_bias: contents.has("blk.0.attn_qkv.bias"),
        rotary_emb_base: read.number(`${prefix}.rope.freq_base`, 10000),
        rotary_pct: read.count(`${prefix}.rope.dimension_count`, width) / width,
      };
    },
    toGguf({ config, set, warn }) {
      set("use_parallel_residual", bool(config.use_parallel_residual !== false));
      if (config.attention_bias === false)
        warn("llama.cpp expects biases in the attention of this architecture");
    },
  },
};

/** llama.cpp's score scale: the width of a head; for the 27B, of 46 layers, hidden size over heads. */
function gemma2Scalar(config: Config): number {
  const is27B = count(config, "num_hidden_layers") === 46;
  return is27B
    ? count(config, "hidden_size") / count(config, "num_attention_heads")
    : headCounts(config).headDim;
}

/** Heads of a config.json, whatever its architecture calls them. */
export function headCounts(config: Config): HeadCounts {
  const heads = numberOf(config.num_attention_heads) ?? count(config, "n_head");
  const hidden = numberOf(config.hidden_size) ?? count(config, "n_embd");
  return {
    heads,
    kvHeads: numberOf(config.num_key_value_heads) ?? heads,
    headDim: numberOf(config.head_dim) ?? hidden / heads,
  };
}
