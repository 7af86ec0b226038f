/**
 * How byte-level tokenizers cut text into words before they merge bytes. GGUF files only name the way (`tokenizer.ggml.pre`);
 * the names are llama.cpp's, the patterns those of the models' own tokenizer.json.
 */

export interface WordRules {
  /** Applied one after the other; each match stands alone. */
  readonly patterns: readonly string[];
  /** The form of Unicode that text is brought to first. */
  readonly normalizer?: "NFC";
  /** Whether a word that is a token is taken whole, without merging. */
  readonly ignoreMerges?: boolean;
  /** Whether a begin token is added where the file does not say. */
  readonly addsBegin?: boolean;
}

const contractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
const lineEnds = "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
const gpt2Words = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
const gpt4Words = (numbers: string) =>
  `${contractions}|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|${numbers}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|${lineEnds}`;
const [upper, lower] = ["[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]", "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"];
const caseWords = `[^\\r\\n\\p{L}\\p{N}]?${upper}*${lower}+|[^\\r\\n\\p{L}\\p{N}]?${upper}+${lower}*|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|${lineEnds}`;

const gpt2: WordRules = { patterns: [gpt2Words] };
const llama3: WordRules = { patterns: [gpt4Words("\\p{N}{1,3}")], ignoreMerges: true, addsBegin: true };
const qwen2: WordRules = { patterns: [gpt4Words("\\p{N}")], normalizer: "NFC" };
/** Every numeric character alone, then GPT-2's words. */
const smollm: WordRules = { patterns: ["\\p{N}", gpt2Words] };
const tekken: WordRules = { patterns: [caseWords], ignoreMerges: true, addsBegin: true };

/** By the name in the file. The first name of a way is the one that is written. */
export const wordRules: Readonly<Record<string, WordRules>> = {
  "gpt-2": gpt2,
  olmo: gpt2,
  mpt: gpt2,
  "phi-2": gpt2,
  "llama-bpe": llama3,
  llama3,
  "llama-v3": llama3,
  qwen2,
  "deepseek-r1-qwen": qwen2,
  smollm,
  starcoder: smollm,
  refact: smollm,
  "command-r": smollm,
  codeshell: smollm,
  tekken,
};

/** The pre-tokenizer of a tokenizer.json that cuts by these patterns and turns words into byte symbols. */
export const preTokenizerOf = ({ patterns }: WordRules): Record<string, unknown> => ({
  type: "Sequence",
  pretokenizers: [
    ...patterns.map((regex) => ({
      type: "Split",
      pattern: { Regex: regex },
      behavior: "Isolated",
      invert: false,
    })),
    { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: false },
  ],
});

type Json = Readonly<Record<string, unknown>>;

/** The patterns of a tokenizer.json's pre-tokenizer; undefined where it does something else than cut and turn into bytes. */
export function patternsOf(preTokenizer: unknown): readonly string[] | undefined {
  const steps = flat(preTokenizer);
  const last = steps.at(-1);
  if (last?.type !== "ByteLevel" || last.add_prefix_space === true) return undefined;
  const patterns: string[] = [];
  for (const step of steps.slice(0, -1)) {
    const { Regex: regex } = (step.pattern ?? {}) as Json;
    if (step.type === "Digits" && step.individual_digits === true) patterns.push("\\p{N}");
    else if (step.type !== "Split" || step.behavior !== "Isolated" || step.invert === true) return undefined;
    else if (typeof regex !== "string") return undefined;
    else patterns.push(regex);
  }
  return last.use_regex === false ? patterns : [...patterns, gpt2Words];
}

function flat(node: unknown): Json[] {
  if (typeof node !== "object" || node === null) return [];
  const { pretokenizers } = node as Json;
  return Array.isArray(pretokenizers) ? pretokenizers.flatMap(flat) : [node as Json];
}
