/**
 * Rotary frequencies of a Hugging Face configuration, with every scaling that Llama models use: default, linear, dynamic
 * (NTK), llama3, YaRN (arXiv:2309.00071) and LongRoPE (arXiv:2402.13753). Tables are made in double precision for given
 * positions; where frequencies depend on the length of a row, the row's own length decides and never that of a batch.
 */
import { RequestError, nearest } from "../errors.ts";

export interface Rope {
  /** Rotated dimensions of a head, d'. */
  readonly width: number;
  /** cos and sin of each token, [tokens, width/2], attention factor included, for a row of `length` tokens. */
  tables(positions: ArrayLike<number>, length: number): { cos: Float64Array; sin: Float64Array };
  /** Whether frequencies change with the length of the row. */
  readonly dependsOnLength: boolean;
  /** Equal for two lengths whose cached keys can stand in one cache; where it changes, a row must be read anew. */
  regime(length: number): number;
  /** Whether the scaling stretches to any length, so that the model has no hard limit. */
  readonly unlimited: boolean;
  /** The keys of config.json, old style. */
  toConfig(): { rope_theta: number; rope_scaling: Record<string, unknown> | null };
}

type Values = Readonly<Record<string, unknown>>;

interface Setting {
  readonly base: number;
  readonly width: number;
  /** max_position_embeddings, M. */
  readonly maxPositions: number;
  /** Length of the original training, where config.json has it at its top level. */
  readonly original?: number;
  readonly scaling: ScalingReader;
}

/** Frequencies of a row of `length` tokens, [width/2], and the factor of cos and sin. */
interface Frequencies {
  readonly at: (length: number) => Float64Array;
  readonly factor?: number;
  readonly dependsOnLength?: boolean;
  readonly regime?: (length: number) => number;
  readonly unlimited?: boolean;
}

interface ScalingReader {
  number(key: string): number | undefined;
  required(key: string): number;
  list(key: string, length: number): number[];
  flag(key: string, fallback: boolean): boolean;
}

/** f_i = base^(-2i/d') */
const plain = (base: number, width: number): Float64Array =>
  Float64Array.from({ length: width / 2 }, (_, i) => base ** ((-2 * i) / width));

const kinds: Readonly<Record<string, (s: Setting) => Frequencies>> = {
  default: fixed(({ base, width }) => plain(base, width)),
  linear: fixed(({ base, width, scaling }) => plain(base, width).map((f) => f / scaling.required("factor"))),
  dynamic,
  llama3: fixed(llama3),
  yarn,
  longrope,
};
const olderNames: Readonly<Record<string, string>> = { su: "longrope" };

/** The rotary embedding that a parsed config.json describes; old style and new style (`rope_parameters`) are read. */
export function ropeFromConfig(
  config: Values,
  { headDim, maxPositionEmbeddings }: { headDim: number; maxPositionEmbeddings: number },
): Rope {
  const parameters = record(config.rope_parameters) ?? record(config.rope_scaling) ?? {};
  const given = String(parameters.rope_type ?? parameters.type ?? "default");
  const kind = olderNames[given] ?? given;
  if (!Object.hasOwn(kinds, kind)) {
    const guess = nearest(kind, Object.keys(kinds));
    throw new RequestError({
      code: "config-invalid",
      what: `rope_type "${given}" is not supported`,
      where: "config.json",
      fix: guess ? `Did you mean ${guess}?` : `Known: ${Object.keys(kinds).join(", ")}`,
    });
  }
  const base = numberOr(parameters.rope_theta ?? config.rope_theta, 10000);
  const partial = numberOr(parameters.partial_rotary_factor ?? config.partial_rotary_factor, 1);
  const width = Math.floor(headDim * partial);
  const original = numberOrNone(config.original_max_position_embeddings);
  const frequencies = kinds[kind]({
    base,
    width,
    maxPositions: maxPositionEmbeddings,
    original,
    scaling: scalingReader(parameters, kind),
  });
  const { factor = 1, dependsOnLength = false, regime = () => 0, unlimited = false } = frequencies;
  const scaling = Object.fromEntries(Object.entries(parameters).filter(([key]) => key !== "rope_theta"));
  return {
    width,
    dependsOnLength,
    regime,
    unlimited,
    tables(positions, length) {
      const f = frequencies.at(length);
      const n = f.length;
      const [cos, sin] = [new Float64Array(positions.length * n), new Float64Array(positions.length * n)];
      for (let t = 0; t < positions.length; t++) {
        for (let i = 0; i < n; i++) {
          const angle = positions[t] * f[i];
          cos[t * n + i] = factor * Math.cos(angle);
          sin[t * n + i] = factor * Math.sin(angle);
        }
      }
      return { cos, sin };
    },
    toConfig: () => ({
      rope_theta: base,
      rope_scaling: kind === "default" && partial === 1 ? null : { ...scaling, rope_type: kind },
    }),
  };
}

/** A scaling whose frequencies are the same for every length. */
function fixed(make: (s: Setting) => Float64Array): (s: Setting) => Frequencies {
  return (s) => {
    const f = make(s);
    return { at: () => f };
  };
}

/** n = max(length, M); base' = base (factor n/M - (factor - 1))^(d'/(d'-2)). Equal to default while n ≤ M. */
function dynamic({ base, width, maxPositions, scaling }: Setting): Frequencies {
  const factor = scaling.required("factor");
  const short = plain(base, width);
  return {
    dependsOnLength: true,
    unlimited: true,
    at(length) {
      if (length <= maxPositions) return short;
      const stretch = (factor * length) / maxPositions - (factor - 1);
      return plain(base * stretch ** (width / (width - 2)), width);
    },
  };
}

/** Short wavelengths stay, long ones are divided by the factor, those between are blended. */
function llama3({ base, width, scaling }: Setting): Float64Array {
  const factor = scaling.required("factor");
  const [low, high] = [scaling.required("low_freq_factor"), scaling.required("high_freq_factor")];
  const original = scaling.required("original_max_position_embeddings");
  return plain(base, width).map((f) => {
    const wavelength = (2 * Math.PI) / f;
    if (wavelength < original / high) return f;
    if (wavelength > original / low) return f / factor;
    const s = (original / wavelength - low) / (high - low);
    return ((1 - s) * f) / factor + s * f;
  });
}

/** Interpolates the dimensions that turn slowly and keeps those that turn fast, with a ramp between. */
function yarn({ base, width, maxPositions, original, scaling }: Setting): Frequencies {
  const trained = scaling.number("original_max_position_embeddings") ?? original ?? maxPositions;
  const factor = scaling.number("factor") ?? maxPositions / trained;
  const orDefault = (value: number | undefined, fallback: number) => value || fallback; // null and 0 mean the default
  const fast = orDefault(scaling.number("beta_fast"), 32);
  const slow = orDefault(scaling.number("beta_slow"), 1);
  // dim(r) = d' ln(N / (2πr)) / (2 ln base): the dimension that turns r times within the trained length.
  const dimension = (turns: number) =>
    (width * Math.log(trained / (turns * 2 * Math.PI))) / (2 * Math.log(base));
  const truncate = scaling.flag("truncate", true);
  const low = Math.max(0, truncate ? Math.floor(dimension(fast)) : dimension(fast));
  let high = Math.min(width - 1, truncate ? Math.ceil(dimension(slow)) : dimension(slow));
  if (low === high) high += 0.001;
  const f = plain(base, width).map((value, i) => {
    const ramp = Math.min(1, Math.max(0, (i - low) / (high - low)));
    return (value / factor) * ramp + value * (1 - ramp);
  });
  const attention = scaling.number("attention_factor") ?? (factor <= 1 ? 1 : 0.1 * Math.log(factor) + 1);
  return { at: () => f, factor: attention };
}

/** Divisors for each frequency, one list for rows up to the trained length and one beyond it. */
function longrope({ base, width, maxPositions, original, scaling }: Setting): Frequencies {
  const trained = original ?? scaling.number("original_max_position_embeddings") ?? maxPositions;
  const s = scaling.number("factor") ?? maxPositions / trained;
  const divided = (key: string) => {
    const divisors = scaling.list(key, width / 2);
    return plain(base, width).map((f, i) => f / divisors[i]);
  };
  const [short, long] = [divided("short_factor"), divided("long_factor")];
  const factor =
    scaling.number("attention_factor") ?? (s > 1 ? Math.sqrt(1 + Math.log(s) / Math.log(trained)) : 1);
  return {
    at: (length) => (length <= trained ? short : long),
    factor,
    dependsOnLength: true,
    regime: (length) => Number(length > trained),
  };
}

function scalingReader(values: Values, kind: string): ScalingReader {
  const invalid = (key: string, why: string) =>
    new RequestError({
      code: "config-invalid",
      what: `rope scaling "${kind}" cannot be used`,
      where: `config.json, ${key}`,
      why,
      fix: "Correct the key in the model's config.json",
    });
  const number = (key: string): number | undefined => {
    const value = values[key];
    if (value === undefined || value === null) return undefined;
    if (typeof value !== "number" || !Number.isFinite(value))
      throw invalid(key, `${JSON.stringify(value)} is not a number`);
    return value;
  };
  return {
    number,
    required(key) {
      const value = number(key);
      if (value === undefined) throw invalid(key, "it is missing");
      return value;
    },
    list(key, length) {
      const value = values[key];
      const good =
        Array.isArray(value) && value.length === length && value.every((v) => typeof v === "number");
      if (!good) throw invalid(key, `it must be a list of ${length} numbers`);
      return value as number[];
    },
    flag: (key, fallback) => (typeof values[key] === "boolean" ? values[key] : fallback),
  };
}

function record(value: unknown): Values | undefined {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Values) : undefined;
}

function numberOrNone(value: unknown): number | undefined {
  return typeof value === "number" ? value : undefined;
}

function numberOr(value: unknown, fallback: number): number {
  return numberOrNone(value) ?? fallback;
}
