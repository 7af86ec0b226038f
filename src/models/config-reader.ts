/** Reads typed values out of a parsed config.json, with defaults and errors that name file and key. */
import { RequestError } from "../errors.ts";

export interface ConfigReader {
  /** A positive integer. A key that is missing or null takes the default; without one it is an error. */
  count(key: string, fallback?: number): number;
  number(key: string, fallback?: number): number;
  flag(key: string, fallback: boolean): boolean;
  /** A string that must be one of those supported. */
  oneOf(key: string, supported: readonly string[], fallback: string): string;
}

export function configReader(config: Readonly<Record<string, unknown>>, where: string): ConfigReader {
  const invalid = (key: string, why: string) =>
    new RequestError({
      code: "config-invalid",
      what: `key "${key}" cannot be used`,
      where,
      why,
      fix: "Correct it in the model's config.json",
    });
  const value = <T>(
    key: string,
    fallback: T | undefined,
    good: (v: unknown) => v is T,
    wanted: string,
  ): T => {
    const given = config[key] ?? fallback;
    if (given === undefined) throw invalid(key, "it is missing");
    if (!good(given)) throw invalid(key, `${JSON.stringify(given)} is not ${wanted}`);
    return given;
  };
  const isNumber = (v: unknown): v is number => typeof v === "number" && Number.isFinite(v);
  return {
    count: (key, fallback) =>
      value(
        key,
        fallback,
        (v): v is number => isNumber(v) && Number.isInteger(v) && v > 0,
        "a positive integer",
      ),
    number: (key, fallback) => value(key, fallback, isNumber, "a number"),
    flag: (key, fallback) => value(key, fallback, (v) => typeof v === "boolean", "true or false"),
    oneOf(key, supported, fallback) {
      const given = value(key, fallback, (v) => typeof v === "string", "a string");
      if (!supported.includes(given))
        throw invalid(key, `"${given}" is not supported here (${supported.join(", ")})`);
      return given;
    },
  };
}
