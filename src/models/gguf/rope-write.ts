/** The rotary embedding of a config.json, old or new style, as metadata and tensors of a GGUF file. */
import { RequestError } from "../../errors.ts";
import { type GgufValue, f32, string, u32 } from "../../formats/gguf-metadata.ts";
import { type Divisors, llama3Divisors } from "./rope.ts";

type Config = Readonly<Record<string, unknown>>;

export interface WrittenRope {
  readonly metadata: readonly (readonly [key: string, value: GgufValue])[];
  readonly divisors: Divisors;
  readonly warnings: readonly string[];
}

interface Scaling {
  readonly theta: number;
  readonly width: number;
  /** max_position_embeddings */
  readonly context: number;
  /** A number of the scaling, or of the top level of config.json. */
  number(key: string): number | undefined;
  needed(key: string): number;
  list(key: string): Float32Array;
  flag(key: string): unknown;
  /** Sets `{a}.rope.scaling.{key}`. */
  set(key: string, value: GgufValue): void;
  warn(text: string): void;
  refuse(why: string): RequestError;
}

/** What each kind of scaling becomes: metadata that is set, and tensors that are returned. */
const kinds: Readonly<Record<string, (s: Scaling) => Divisors | undefined>> = {
  default: () => undefined,
  linear(s) {
    s.set("type", string("linear"));
    s.set("factor", f32(s.needed("factor")));
    return undefined;
  },
  llama3(s) {
    const parameters = {
      factor: s.needed("factor"),
      low_freq_factor: s.needed("low_freq_factor"),
      high_freq_factor: s.needed("high_freq_factor"),
      original_max_position_embeddings: s.needed("original_max_position_embeddings"),
    };
    return { all: Float32Array.from(llama3Divisors(parameters, s.theta, s.width)) };
  },
  yarn(s) {
    for (const key of ["mscale", "mscale_all_dim"])
      if (s.number(key)) throw s.refuse(`GGUF has no form for the key ${key} of its YaRN scaling`);
    if (s.flag("truncate") === false) throw s.refuse("GGUF has no form for YaRN with truncate: false");
    const trained = s.number("original_max_position_embeddings") ?? s.context;
    const factor = s.number("factor") ?? s.context / trained;
    const attention = s.number("attention_factor");
    s.set("type", string("yarn"));
    s.set("factor", f32(factor));
    s.set("original_context_length", u32(trained));
    // llama.cpp multiplies its own 0.1 ln(factor) + 1 by attn_factor; config.json gives the product.
    if (attention !== undefined) s.set("attn_factor", f32(attention / (0.1 * Math.log(factor) + 1)));
    const usual = { beta_fast: 32, beta_slow: 1 };
    for (const [key, value] of Object.entries(usual)) {
      const given = s.number(key) || value; // 0 means the default
      if (given === value) continue;
      s.set(`yarn_${key}`, f32(given));
      s.warn(`older readers of GGUF ignore the ${key} of its YaRN scaling`);
    }
    return undefined;
  },
  longrope(s) {
    const trained = s.number("original_max_position_embeddings") ?? s.context;
    const stretch = s.number("factor") ?? s.context / trained;
    const usual = stretch > 1 ? Math.sqrt(1 + Math.log(stretch) / Math.log(trained)) : 1;
    s.set("type", string("longrope"));
    s.set("original_context_length", u32(trained));
    s.set("attn_factor", f32(s.number("attention_factor") ?? usual));
    s.warn(
      "llama.cpp chooses between the LongRoPE lists by the size of its context, not by the length of the text",
    );
    return { long: s.list("long_factor"), short: s.list("short_factor") };
  },
};

/** Throws a RequestError for a scaling that GGUF cannot say. */
export function ropeToGguf(
  config: Config,
  prefix: string,
  { headDim, context }: { headDim: number; context: number },
  where: string,
): WrittenRope {
  const scaling = asObject(config.rope_scaling) ?? asObject(config.rope_parameters) ?? {};
  const number = (key: string) => numberOf(config[key]) ?? numberOf(scaling[key]);
  const theta = number("rope_theta") ?? number("rotary_emb_base") ?? 10000;
  const width = Math.floor(headDim * (number("partial_rotary_factor") ?? number("rotary_pct") ?? 1));
  const metadata: [string, GgufValue][] = [
    [`${prefix}.rope.dimension_count`, u32(width)],
    [`${prefix}.rope.freq_base`, f32(theta)],
  ];
  const warnings: string[] = [];
  const refuse = (why: string) => cannotSay(why, where);
  const kind = kindOf(scaling, config);
  if (!Object.hasOwn(kinds, kind)) throw refuse(`GGUF has no form for rotary scaling "${kind}"`);
  const divisors = kinds[kind]({
    theta,
    width,
    context,
    number,
    refuse,
    needed(key) {
      const value = number(key);
      if (value === undefined) throw refuse(`its rotary scaling has no ${key}`);
      return value;
    },
    list(key) {
      const value = scaling[key];
      if (!Array.isArray(value)) throw refuse(`its rotary scaling has no ${key}`);
      return Float32Array.from(value as number[]);
    },
    flag: (key) => scaling[key],
    set: (key, value) => metadata.push([`${prefix}.rope.scaling.${key}`, value]),
    warn: (text) => warnings.push(text),
  });
  return { metadata, divisors: divisors ?? {}, warnings };
}

/** The error that a model has something for which GGUF has no place. */
export function cannotSay(why: string, where: string): RequestError {
  return new RequestError({
    code: "gguf-cannot-say",
    what: "the model cannot be written as GGUF",
    where,
    why,
    fix: "Save it as a Hugging Face folder",
  });
}

/** Older names of LongRoPE: "su", and in files of phi3 also "yarn". */
function kindOf(scaling: Config, config: Config): string {
  const type = String(scaling.rope_type ?? scaling.type ?? "default");
  const isLongrope = type === "su" || (type === "yarn" && config.model_type === "phi3");
  return isLongrope ? "longrope" : type;
}

function asObject(value: unknown): Config | undefined {
  const isObject = typeof value === "object" && value !== null && Object.keys(value).length > 0;
  return isObject ? (value as Config) : undefined;
}

function numberOf(value: unknown): number | undefined {
  return typeof value === "number" && Number.isFinite(value) ? value : undefined;
}
