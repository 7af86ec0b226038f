/** JSON lines on standard input, and options that are read alike by several commands. */
import { Option } from "commander";
import { type JsonLine, readJsonlStream } from "../formats/jsonl.ts";
import { RequestError } from "../errors.ts";

/** The lines of standard input. Throws at once when a person's terminal is there instead of data. */
export function inputLines(): AsyncGenerator<JsonLine> {
  if (process.stdin.isTTY) {
    throw new RequestError({
      code: "no-input",
      what: "standard input is empty",
      fix: "Give one JSON object a line, for example: prefopt … < lines.jsonl",
    });
  }
  return readJsonlStream(process.stdin as AsyncIterable<Uint8Array>, "standard input");
}

/** All of standard input as one JSON value. */
export async function inputJson(): Promise<unknown> {
  if (process.stdin.isTTY)
    throw new RequestError({
      code: "no-input",
      what: "standard input is empty",
      fix: "Give JSON, for example: prefopt loss dpo < input.json",
    });
  const chunks: Uint8Array[] = [];
  for await (const chunk of process.stdin as AsyncIterable<Uint8Array>) chunks.push(chunk);
  const text = Buffer.concat(chunks).toString("utf8");
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new RequestError(
      { code: "not-json", what: "is not valid JSON", where: "standard input", why: (cause as Error).message },
      { cause },
    );
  }
}

/** An option that must be a number. */
export function number(name: string): (value: string) => number {
  return (value) => {
    const n = Number(value);
    if (value.trim() === "" || !Number.isFinite(n))
      throw new RequestError({
        code: "option-invalid",
        what: `--${name} ${value}`,
        why: "it is not a number",
      });
    return n;
  };
}

/** An option that must be a whole number of at least `least`. */
export function integer(name: string, least = 0): (value: string) => number {
  const parse = number(name);
  return (value) => {
    const n = parse(value);
    if (!Number.isInteger(n) || n < least)
      throw new RequestError({
        code: "option-invalid",
        what: `--${name} ${value}`,
        why: `it must be a whole number of at least ${least}`,
      });
    return n;
  };
}

/** `--set key=value`, which may be given several times. */
export const setOption = (): Option =>
  new Option("--set <key=value>", "set a key of the recipe; may be given several times")
    .argParser((value: string, before: string[]) => [...before, value])
    .default([]);
