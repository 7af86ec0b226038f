/**
 * Rotary positions in GGUF. Linear and YaRN scaling are metadata; LongRoPE is two tensors of divisors; Llama-3's scaling is
 * one tensor of divisors without a word on where they come from, so its parameters are recovered from them: the divisors
 * between 1 and the factor lie on a line in 1/wavelength.
 */
import type { MetadataReader } from "../../formats/gguf-metadata.ts";

/** Tensors that hold divisors of the rotary frequencies, [width/2]. */
export const divisorTensors = {
  all: "rope_freqs.weight",
  long: "rope_factors_long.weight",
  short: "rope_factors_short.weight",
} as const;
export type Divisors = Readonly<Partial<Record<keyof typeof divisorTensors, Float32Array>>>;

/** Keys of config.json for the rotary embedding of a file. `width` of `headDim` dimensions turn. */
export function ropeToConfig(
  read: MetadataReader,
  prefix: string,
  { headDim, context }: { headDim: number; context: number },
  divisors: Divisors,
): Record<string, unknown> {
  const theta = read.number(`${prefix}.rope.freq_base`, 10000);
  const width = read.count(`${prefix}.rope.dimension_count`, headDim);
  const original = read.optionalNumber(`${prefix}.rope.scaling.original_context_length`);
  const given = read.optionalNumber(`${prefix}.rope.scaling.factor`);
  const older = read.optionalNumber(`${prefix}.rope.scale_linear`); // before there were kinds
  const attention = read.optionalNumber(`${prefix}.rope.scaling.attn_factor`);
  const kind = read.text(`${prefix}.rope.scaling.type`, older === undefined ? "none" : "linear");
  const partial = width === headDim ? {} : { partial_rotary_factor: shareOf(width, headDim) };
  const factor = () => given ?? older ?? read.number(`${prefix}.rope.scaling.factor`);

  if (divisors.long && divisors.short) {
    const trained = original ?? context;
    const usual = context > trained ? Math.sqrt(1 + Math.log(context / trained) / Math.log(trained)) : 1;
    const scaling = {
      rope_type: "longrope",
      short_factor: [...divisors.short],
      long_factor: [...divisors.long],
      ...(attention !== undefined &&
        Math.abs(attention / usual - 1) > 1e-6 && { attention_factor: attention }),
    };
    const config = { rope_theta: theta, rope_scaling: scaling, original_max_position_embeddings: trained };
    return { ...config, ...partial };
  }
  if (divisors.all) {
    const scaling = llama3From(divisors.all, theta, width) ?? {
      // No known pattern: the same divisors at every length say it exactly.
      rope_type: "longrope",
      short_factor: [...divisors.all],
      long_factor: [...divisors.all],
      original_max_position_embeddings: context,
      attention_factor: 1,
    };
    return { rope_theta: theta, rope_scaling: scaling, ...partial };
  }
  const kinds: Readonly<Record<string, () => Record<string, unknown> | null>> = {
    none: () => null,
    linear: () => ({ rope_type: "linear", factor: factor() }),
    yarn() {
      // llama.cpp multiplies its own 0.1 ln(factor) + 1 by attn_factor; config.json gives the product.
      const product = attention === undefined ? undefined : attention * (0.1 * Math.log(factor()) + 1);
      const betas = ["beta_fast", "beta_slow"].flatMap((key) => {
        const value = read.optionalNumber(`${prefix}.rope.scaling.yarn_${key}`);
        return value === undefined ? [] : [[key, value]];
      });
      return {
        rope_type: "yarn",
        factor: factor(),
        original_max_position_embeddings: original ?? context,
        ...(product !== undefined && { attention_factor: product }),
        ...Object.fromEntries(betas),
      };
    },
  };
  if (!Object.hasOwn(kinds, kind))
    throw read.invalid(
      `${prefix}.rope.scaling.type`,
      `"${kind}" is not supported here (${Object.keys(kinds).join(", ")}, and longrope with its tensors)`,
    );
  return { rope_theta: theta, rope_scaling: kinds[kind](), ...partial };
}

/** A share of a head that comes to `width` dimensions when it is rounded down. */
function shareOf(width: number, headDim: number): number {
  const share = width / headDim;
  return Math.floor(share * headDim) === width ? share : (width + 0.25) / headDim;
}

/** Wavelengths 2π base^(2i/width) of the pairs of a head. */
const wavelengths = (base: number, width: number): number[] =>
  Array.from({ length: width / 2 }, (_, i) => 2 * Math.PI * base ** ((2 * i) / width));

export interface Llama3 {
  readonly factor: number;
  readonly low_freq_factor: number;
  readonly high_freq_factor: number;
  readonly original_max_position_embeddings: number;
}

/** f / f' of each pair: 1 for short wavelengths, the factor for long ones, 1 / ((1 - s)/factor + s) between. */
export function llama3Divisors(scaling: Llama3, base: number, width: number): number[] {
  const { factor, low_freq_factor: low, high_freq_factor: high } = scaling;
  const trained = scaling.original_max_position_embeddings;
  return wavelengths(base, width).map((w) => {
    if (w < trained / high) return 1;
    if (w > trained / low) return factor;
    const s = (trained / w - low) / (high - low);
    return 1 / ((1 - s) / factor + s);
  });
}

/** The parameters that give these divisors; undefined where there are none. */
export function llama3From(
  divisors: Float32Array,
  base: number,
  width: number,
): (Llama3 & { rope_type: "llama3" }) | undefined {
  if (divisors.length !== width / 2) return undefined;
  const factor = Number(Math.max(...divisors).toPrecision(6));
  const points = wavelengths(base, width).flatMap((w, i) => {
    // s = (N/w - l) / (h - l), from 1/divisor = (1 - s)/factor + s
    const s = (1 / divisors[i] - 1 / factor) / (1 - 1 / factor);
    return s > 1e-5 && s < 1 - 1e-5 ? [{ w, s }] : [];
  });
  if (factor <= 1 || points.length === 0) return undefined;
  const candidates: Llama3[] = [];
  const add = (high: number, trained: number) =>
    candidates.push({
      factor,
      low_freq_factor: 1,
      high_freq_factor: high,
      original_max_position_embeddings: Math.round(trained),
    });
  // l = 1 and h = 4 in every released model: one point gives N.
  for (const { w, s } of points) add(4, w * (1 + 3 * s));
  // Else l = 1 without loss: s = A/w - B with A = N/(h - 1), B = 1/(h - 1), from two points.
  const [first, last] = [points[0], points[points.length - 1]];
  if (first !== last) {
    const a = (first.s - last.s) / (1 / first.w - 1 / last.w);
    const b = a / first.w - first.s;
    add(Number((1 + 1 / b).toPrecision(6)), a / b);
  }
  const found = candidates.find((c) =>
    llama3Divisors(c, base, width).every((d, i) => Math.abs(d / divisors[i] - 1) < 1e-5),
  );
  return found && { rope_type: "llama3", ...found };
}
