/**
 * Reads typed values out of a parsed config.json, with errors that name file and key. A key that is missing takes the default
 * of the architecture's class in `transformers`; null is a value of its own and often means "none".
 */
import { RequestError } from "../errors.ts";

type Values = Readonly<Record<string, unknown>>;

export interface ConfigReader {
  /** The configuration with the class defaults filled in. */
  readonly values: Values;
  /** A positive integer; null takes `ifNull`, without which it is an error. */
  count(key: string, ifNull?: number): number;
  /** A number of layers: a count that no model exceeds, since a description of every layer is made before any file is looked at. */
  layers(key: string): number;
  /** The same as `count` where null means that there is none. */
  optionalCount(key: string): number | undefined;
  number(key: string): number;
  /** A number above 0, or none where null. */
  optionalPositive(key: string): number | undefined;
  flag(key: string): boolean;
  /** A string that must be one of those supported; null takes `ifNull`. */
  oneOf(key: string, supported: readonly string[], ifNull?: string): string;
  /** The error for a value that cannot be used. */
  invalid(key: string, why: string): RequestError;
}

const mostLayers = 10_000;

export function configReader(config: Values, where: string, defaults: Values = {}): ConfigReader {
  const given = Object.fromEntries(Object.entries(config).filter(([, v]) => v !== undefined));
  const values: Values = { ...defaults, ...given };
  const invalid = (key: string, why: string) =>
    new RequestError({
      code: "config-invalid",
      what: `key "${key}" cannot be used`,
      where,
      why,
      fix: "Correct it in the model's config.json",
    });
  const optional = <T>(key: string, good: (v: unknown) => v is T, wanted: string): T | undefined => {
    const value = values[key] ?? undefined;
    if (value === undefined) return undefined;
    if (!good(value)) throw invalid(key, `${JSON.stringify(value)} is not ${wanted}`);
    return value;
  };
  const required = <T>(key: string, value: T | undefined): T => {
    if (value === undefined) throw invalid(key, key in values ? "it is null" : "it is missing");
    return value;
  };
  const isNumber = (v: unknown): v is number => typeof v === "number" && Number.isFinite(v);
  const isCount = (v: unknown): v is number => isNumber(v) && Number.isInteger(v) && v > 0;
  const isPositive = (v: unknown): v is number => isNumber(v) && v > 0;
  const optionalCount = (key: string) => optional(key, isCount, "a positive integer");
  return {
    values,
    invalid,
    optionalCount,
    count(key, ifNull) {
      const value = required(key, optionalCount(key) ?? ifNull);
      if (!isCount(value)) throw invalid(key, `it is not given, and ${value} is not a positive integer`);
      return value;
    },
    layers(key) {
      const value = required(key, optionalCount(key));
      if (value > mostLayers) throw invalid(key, `${value} is more than ${mostLayers}`);
      return value;
    },
    number: (key) => required(key, optional(key, isNumber, "a number")),
    optionalPositive: (key) => optional(key, isPositive, "a number above 0"),
    flag: (key) =>
      required(
        key,
        optional(key, (v) => typeof v === "boolean", "true or false"),
      ),
    oneOf(key, supported, ifNull) {
      const value = required(key, optional(key, (v) => typeof v === "string", "a string") ?? ifNull);
      if (!supported.includes(value))
        throw invalid(key, `"${value}" is not supported here (${supported.join(", ")})`);
      return value;
    },
  };
}
