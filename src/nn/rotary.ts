/**
 * Rotary frequencies of a Hugging Face configuration, with every scaling that the models use: default, linear, dynamic
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
  /** The keys of config.json, old style: base, `rope_scaling`, and the share of a head that turns where it was given. */
  toConfig(): Record<string, unknown>;
}

/** Of models that do not rotate. */
export const noRope: Rope = {
  width: 0,
  dependsOnLength: false,
  unlimited: false,
  regime: () => 0,
  tables: () => ({ cos: new Float64Array(), sin: new Float64Array() }),
  toConfig: () => ({}),
};

type Values = Readonly<Record<string, unknown>>;

interface Setting {
  readonly base: number;
  readonly width: number;
  /** max_position_embeddings, M. */
  readonly maxPositions: number;
  /** Length of the original training, where config.json has it at its top level. */
  readonly original?: number;
  readonly scaling: Reader;
}

/** Frequencies of a row of `length` tokens, [width/2], and the factor of cos and sin. */
interface Frequencies {
  readonly at: (length: number) => Float64Array;
  readonly factor?: number;
  readonly dependsOnLength?: boolean;
  readonly regime?: (length: number) => number;
  readonly unlimited?: boolean;
}

/** Values of one object of config.json. What is missing or null is undefined; what has the wrong form is an error. */
interface Reader {
  /** A number from 0 up; no key has a use for less. */
  number(key: string): number | undefined;
  /** A number above 0. */
  positive(key: string): number | undefined;
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
/** Tables are made of a width before any file is looked at. */
const widest = 1 << 16;
const olderNames: Readonly<Record<string, string>> = { su: "longrope" };
const knownKinds = `Known: ${Object.keys(kinds).join(", ")}`;

export interface RopeOptions {
  readonly headDim: number;
  readonly maxPositionEmbeddings: number;
  /** Top-level keys of the base and of the share of a head that turns, where they are not `rope_theta` and `partial_rotary_factor`. */
  readonly keys?: { readonly base: string; readonly partial: string };
  /** The share that turns where the configuration does not say. */
  readonly partial?: number;
  /** What this architecture's files call kinds of scaling, beside their names. */
  readonly olderNames?: Readonly<Record<string, string>>;
}

/**
 * The rotary embedding that a parsed config.json describes; old style (`rope_theta`, `rope_scaling`) and new style
 * (`rope_parameters`) are read. Throws a RequestError that names the key for an unknown kind of scaling and for values
 * that are missing or of the wrong form.
 */
export function ropeFromConfig(config: Values, options: RopeOptions): Rope {
  const { headDim, maxPositionEmbeddings, olderNames: names = {} } = options;
  const keys = options.keys ?? { base: "rope_theta", partial: "partial_rotary_factor" };
  const { section, parameters } = scalingSection(config);
  const kind = kindOf(parameters, section, { ...olderNames, ...names });
  const [top, inner] = [reader(config), reader(parameters, section)];
  const base = inner.positive("rope_theta") ?? top.positive(keys.base) ?? 10000;
  const given = inner.positive("partial_rotary_factor") ?? top.positive(keys.partial);
  const partial = given ?? options.partial ?? 1;
  const width = Math.floor(headDim * partial);
  if (width < 2 || width % 2 !== 0 || width > headDim) {
    const why = `of ${headDim} dimensions it leaves ${width} to rotate, which must be pairs within the head`;
    throw invalid(given === undefined ? "head_dim" : keys.partial, why);
  }
  if (width > widest) throw invalid("head_dim", `${headDim} is wider than any head`);
  const original = top.positive("original_max_position_embeddings");
  const frequencies = kinds[kind]({
    base,
    width,
    maxPositions: maxPositionEmbeddings,
    original,
    scaling: inner,
  });
  const { factor = 1, dependsOnLength = false, regime = () => 0, unlimited = false } = frequencies;
  const moved = ["rope_theta", "rope_type", "type", "partial_rotary_factor"];
  const scaling = Object.fromEntries(Object.entries(parameters).filter(([key]) => !moved.includes(key)));
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
      [keys.base]: base,
      rope_scaling: kind === "default" ? null : { rope_type: kind, ...scaling },
      ...(given === undefined && partial === 1 ? {} : { [keys.partial]: partial }),
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
function llama3({ base, width, original, scaling }: Setting): Float64Array {
  const factor = scaling.required("factor");
  const [low, high] = [scaling.required("low_freq_factor"), scaling.required("high_freq_factor")];
  const trained = original ?? scaling.required("original_max_position_embeddings");
  return plain(base, width).map((f) => {
    const wavelength = (2 * Math.PI) / f;
    if (wavelength < trained / high) return f;
    if (wavelength > trained / low) return f / factor;
    const s = (trained / wavelength - low) / (high - low);
    return ((1 - s) * f) / factor + s * f;
  });
}

/** Interpolates the dimensions that turn slowly and keeps those that turn fast, with a ramp between. */
function yarn({ base, width, maxPositions, original, scaling }: Setting): Frequencies {
  const trained = original ?? scaling.positive("original_max_position_embeddings") ?? maxPositions;
  const factor = scaling.positive("factor") ?? maxPositions / trained;
  const [fast, slow] = [scaling.number("beta_fast") || 32, scaling.number("beta_slow") || 1]; // 0 means the default
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
  // m = 0.1 ln(factor) + 1; where both mscale keys are given, the ratio of m with ln(factor) times either.
  const m = (scale: number) => (factor <= 1 ? 1 : 0.1 * scale * Math.log(factor) + 1);
  const [scale, all] = [scaling.number("mscale"), scaling.number("mscale_all_dim")];
  return {
    at: () => f,
    factor: scaling.positive("attention_factor") ?? (scale && all ? m(scale) / m(all) : m(1)),
  };
}

/** Divisors for each frequency, one list for rows up to the trained length and one beyond it. */
function longrope({ base, width, maxPositions, original, scaling }: Setting): Frequencies {
  const trained = original ?? scaling.positive("original_max_position_embeddings") ?? maxPositions;
  const s = scaling.positive("factor") ?? maxPositions / trained;
  const divided = (key: string) => {
    const divisors = scaling.list(key, width / 2);
    return plain(base, width).map((f, i) => f / divisors[i]);
  };
  const [short, long] = [divided("short_factor"), divided("long_factor")];
  const factor =
    scaling.positive("attention_factor") ?? (s > 1 ? Math.sqrt(1 + Math.log(s) / Math.log(trained)) : 1);
  return {
    at: (length) => (length <= trained ? short : long),
    factor,
    dependsOnLength: true,
    regime: (length) => Number(length > trained),
  };
}

/** The object that holds the scaling, and its key. Where both styles stand in one file the old one wins, as in transformers. */
function scalingSection(config: Values): { section: string; parameters: Values } {
  for (const section of ["rope_scaling", "rope_parameters"]) {
    const parameters = config[section] ?? {};
    if (!isRecord(parameters)) throw invalid(section, `${JSON.stringify(parameters)} is not an object`);
    if (Object.keys(parameters).length > 0) return { section, parameters };
  }
  return { section: "rope_parameters", parameters: {} };
}

/** The kind of scaling. Without a type only the keys of an unscaled embedding may stand there. */
function kindOf(parameters: Values, section: string, names: Readonly<Record<string, string>>): string {
  const given = parameters.rope_type ?? parameters.type;
  if (given === undefined) {
    const unscaled = ["rope_theta", "partial_rotary_factor"];
    if (Object.keys(parameters).every((key) => unscaled.includes(key))) return "default";
    throw invalid(`${section}.rope_type`, "it is missing", knownKinds);
  }
  const kind = typeof given === "string" ? (names[given] ?? given) : "";
  if (Object.hasOwn(kinds, kind)) return kind;
  const guess = nearest(kind, Object.keys(kinds));
  const fix = guess ? `Did you mean ${guess}?` : knownKinds;
  throw invalid(`${section}.rope_type`, `${JSON.stringify(given)} is not supported`, fix);
}

function reader(values: Values, section?: string): Reader {
  const wrong = (key: string, why: string) => invalid(section ? `${section}.${key}` : key, why);
  const number = (key: string): number | undefined => {
    const value = values[key] ?? undefined;
    if (value === undefined) return undefined;
    if (!isNumber(value) || value < 0) throw wrong(key, `${JSON.stringify(value)} is not a number from 0 up`);
    return value;
  };
  const positive = (key: string): number | undefined => {
    const value = number(key);
    if (value !== undefined && value <= 0) throw wrong(key, `${value} is not above 0`);
    return value;
  };
  return {
    number,
    positive,
    required(key) {
      const value = positive(key);
      if (value === undefined) throw wrong(key, "it is missing");
      return value;
    },
    list(key, length) {
      const value = values[key];
      const good =
        Array.isArray(value) && value.length === length && value.every((v) => isNumber(v) && v > 0);
      if (!good) throw wrong(key, `it must be a list of ${length} numbers above 0`);
      return value as number[];
    },
    flag(key, fallback) {
      const value = values[key] === undefined ? fallback : values[key];
      if (typeof value !== "boolean") throw wrong(key, `${JSON.stringify(value)} is not true or false`);
      return value;
    },
  };
}

function invalid(key: string, why: string, fix = "Correct the key in the model's config.json"): RequestError {
  const what = "the rotary positions cannot be used";
  return new RequestError({ code: "config-invalid", what, where: `config.json, ${key}`, why, fix });
}

function isRecord(value: unknown): value is Values {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isNumber(value: unknown): value is number {
  return typeof value === "number" && Number.isFinite(value);
}
