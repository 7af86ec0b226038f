/**
 * Metadata of a GGUF file: keys with typed values, in the file's order; and a reader that takes values out of them with
 * defaults and errors that name file and key.
 */
import { RequestError } from "../errors.ts";
import type { NumberArray, NumberTypeName } from "./gguf-types.ts";

export type GgufValue =
  /** 64-bit integers beyond 2^53 are kept as bigint. */
  | { readonly type: Exclude<NumberTypeName, "bool">; readonly value: number | bigint }
  | { readonly type: "bool"; readonly value: boolean }
  | { readonly type: "string"; readonly value: string }
  /** bool elements are 0 and 1. */
  | { readonly type: "array"; readonly of: NumberTypeName; readonly value: NumberArray }
  | { readonly type: "array"; readonly of: "string"; readonly value: readonly string[] };

export type GgufMetadata = ReadonlyMap<string, GgufValue>;

/** Short forms for metadata that is written. */
export const u32 = (value: number): GgufValue => ({ type: "u32", value });
export const f32 = (value: number): GgufValue => ({ type: "f32", value });
export const bool = (value: boolean): GgufValue => ({ type: "bool", value });
export const string = (value: string): GgufValue => ({ type: "string", value });
export const strings = (value: readonly string[]): GgufValue => ({ type: "array", of: "string", value });

export interface MetadataReader {
  readonly path: string;
  has(key: string): boolean;
  /** A number; without a fallback a missing key is an error. f32 values become the shortest decimal that rounds to them. */
  number(key: string, fallback?: number): number;
  /** A positive integer. */
  count(key: string, fallback?: number): number;
  flag(key: string, fallback: boolean): boolean;
  text(key: string, fallback?: string): string;
  optionalNumber(key: string): number | undefined;
  optionalText(key: string): string | undefined;
  /** A list of strings; undefined where the key is missing. */
  texts(key: string): readonly string[] | undefined;
  /** A list of numbers; undefined where the key is missing. */
  numbers(key: string): ArrayLike<number> | undefined;
  /** The error that a key cannot be used. */
  invalid(key: string, why: string): RequestError;
}

export function metadataReader(metadata: GgufMetadata, path: string): MetadataReader {
  const invalid = (key: string, why: string) =>
    new RequestError({
      code: "gguf-metadata-invalid",
      what: `metadata key "${key}" cannot be used`,
      where: path,
      why,
      fix: "Convert the model again, or use another file",
    });
  const optionalNumber = (key: string): number | undefined => {
    const found = metadata.get(key);
    if (!found) return undefined;
    if (typeof found.value !== "number" || !Number.isFinite(found.value))
      throw invalid(key, `it is ${described(found)}, not a number`);
    return found.type === "f32" ? shortest(found.value) : found.value;
  };
  const optionalText = (key: string): string | undefined => {
    const found = metadata.get(key);
    if (!found) return undefined;
    if (found.type !== "string") throw invalid(key, `it is ${described(found)}, not a string`);
    return found.value;
  };
  const or = <T>(key: string, value: T | undefined, fallback: T | undefined): T => {
    const result = value ?? fallback;
    if (result === undefined) throw invalid(key, "it is missing");
    return result;
  };
  const number = (key: string, fallback?: number) => or(key, optionalNumber(key), fallback);
  return {
    path,
    invalid,
    has: (key) => metadata.has(key),
    optionalNumber,
    optionalText,
    number,
    count(key, fallback) {
      const value = number(key, fallback);
      if (!Number.isInteger(value) || value <= 0) throw invalid(key, `${value} is not a positive integer`);
      return value;
    },
    text: (key, fallback) => or(key, optionalText(key), fallback),
    flag(key, fallback) {
      const found = metadata.get(key);
      if (!found) return fallback;
      if (found.type !== "bool") throw invalid(key, `it is ${described(found)}, not true or false`);
      return found.value;
    },
    texts(key) {
      const found = metadata.get(key);
      if (!found) return undefined;
      if (found.type !== "array" || found.of !== "string")
        throw invalid(key, `it is ${described(found)}, not a list of strings`);
      return found.value;
    },
    numbers(key) {
      const found = metadata.get(key);
      if (!found) return undefined;
      if (found.type !== "array" || found.of === "string" || found.of === "u64" || found.of === "i64")
        throw invalid(key, `it is ${described(found)}, not a list of numbers`);
      return found.value as Exclude<NumberArray, BigUint64Array | BigInt64Array>;
    },
  };
}

const described = (v: GgufValue) => (v.type === "array" ? `a list of ${v.of}` : `a ${v.type}`);

/** The decimal of fewest digits that rounds to a float32: 1e-5 for 9.999999747378752e-6. */
export function shortest(x: number): number {
  for (let digits = 1; digits < 9; digits++) {
    const short = Number(x.toPrecision(digits));
    if (Math.fround(short) === x) return short;
  }
  return x;
}
