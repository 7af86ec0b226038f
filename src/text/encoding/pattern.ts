/**
 * Patterns of a tokenizer.json. They are written for another regular-expression engine (Oniguruma); `@huggingface/tokenizers`
 * translates them.
 */
import { SplitPreTokenizer } from "@huggingface/tokenizers";

interface PatternJson {
  readonly String?: string;
  readonly Regex?: string;
}

/** A global pattern from `{"String": …}` or `{"Regex": …}`. Throws where it is neither, or cannot be translated. */
export function patternOf(value: unknown): RegExp {
  const { String: text, Regex: regex } = (value ?? {}) as PatternJson;
  if (typeof text === "string") return new RegExp(text.replaceAll(/[.*+?^${}()|[\]\\/]/g, "\\$&"), "gu");
  if (typeof regex === "string") {
    const { pattern } = new SplitPreTokenizer({
      type: "Split",
      pattern: { Regex: regex },
      behavior: "Isolated",
    });
    if (pattern) return pattern;
  }
  throw new Error(`${JSON.stringify(value)} is not a pattern`);
}

/** Word characters and whitespace as the original library counts them. */
export const wordCharacter = "[\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\p{Join_Control}]";
export const punctuation = "[\\p{P}\\x21-\\x2f\\x3a-\\x40\\x5b-\\x60\\x7b-\\x7e]";
