/**
 * JSON values out of text, with an error that says where. Nesting is limited, since whatever later walks a value walks it
 * recursively, and a line of brackets alone must not end a program.
 */
import { RequestError } from "../errors.ts";

export const deepest = 200;
const [quote, backslash] = [0x22, 0x5c];

/** The value of a JSON text. `where` names it in errors: "pairs.jsonl:17". */
export function parseJson(text: string, where: string): unknown {
  if (nestsTooDeep(text)) throw invalid(text, where, `it is nested more than ${deepest} deep`);
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw invalid(text, where, (cause as Error).message, cause);
  }
}

/** JSON of a value. Throws a RequestError where JSON has no word for it: NaN, infinities, big integers, functions. */
export function toJson(value: unknown, where: string): string {
  const text = JSON.stringify(value, (key, inner: unknown) => {
    const lost =
      typeof inner === "bigint" ||
      typeof inner === "function" ||
      (typeof inner === "number" && !Number.isFinite(inner)) ||
      inner instanceof Uint8Array;
    if (!lost) return inner;
    throw new RequestError({
      code: "not-json",
      what: key === "" ? "cannot be written as JSON" : `field "${key}" cannot be written as JSON`,
      where,
      why: inner instanceof Uint8Array ? "it holds bytes" : `it is ${String(inner)}`,
      fix: "Leave it out, or write the rows as Parquet",
    });
  }) as string | undefined;
  return text ?? "null";
}

/** Whether brackets outside of strings stand within each other more than `deepest` times. */
export function nestsTooDeep(text: string): boolean {
  let depth = 0;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c === quote) {
      for (i++; i < text.length && text.charCodeAt(i) !== quote; i++)
        if (text.charCodeAt(i) === backslash) i++;
    } else if (c === 0x5b || c === 0x7b) {
      if (++depth > deepest) return true;
    } else if (c === 0x5d || c === 0x7d) depth--;
  }
  return false;
}

function invalid(text: string, where: string, why: string, cause?: unknown): RequestError {
  const excerpt = text.length > 60 ? `${text.slice(0, 60)}…` : text;
  return new RequestError(
    {
      code: "not-json",
      what: "is not valid JSON",
      where,
      why: `${why} in: ${excerpt}`,
      fix: "Correct the line or remove it",
    },
    { cause },
  );
}
