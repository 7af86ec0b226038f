/**
 * Whether an exported model is its source: log-probabilities of a few texts, token by token, within what the type of the weights
 * allows. Bounds are wide enough for the rounding of a type and far below what a wrong permutation, scale or constant does.
 */
import { random } from "../engine/random.ts";
import { WorkError } from "../errors.ts";
import type { LanguageModel } from "../models/language-model.ts";
import { hasTokenizer, loadTokenizer } from "../text/tokenizer.ts";
import type { ExportDtype } from "./format.ts";
import { positionsOf } from "./positions.ts";

export interface Difference {
  /** Tokens compared. */
  readonly tokens: number;
  /** Largest and mean |Δ ln p| of a token. */
  readonly max: number;
  readonly mean: number;
}

/** Most that log-probabilities may differ. */
export const tolerances: Readonly<Record<ExportDtype, { readonly max: number; readonly mean: number }>> = {
  F32: { max: 2e-3, mean: 2e-4 },
  F16: { max: 0.2, mean: 0.02 },
  BF16: { max: 1, mean: 0.1 },
  Q8_0: { max: 2, mean: 0.2 },
  Q4_0: { max: 15, mean: 1.5 },
};

const texts = [
  "The lighthouse keeper wrote one line a day, and on stormy days two.",
  "for (let i = 0; i < 10; i++) {\n  total += prices[i] * 1.19;\n}",
  "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich.",
  "Q: What is 17 times 3?\nA: 51, because 17 · 3 = 30 + 21.",
];
/** Tokens of the longest row. */
const longest = 48;

/** Rows of ids to compare on, of different lengths: texts where there is a tokenizer, and ids from all over the vocabulary. */
export async function probeRows(model: LanguageModel): Promise<number[][]> {
  const { vocabularySize } = model.architecture;
  const most = Math.min(longest, positionsOf(model.architecture));
  const rng = random(1, "export");
  const drawn = [most, Math.ceil(most / 3), 3].map((length) =>
    Array.from({ length: Math.min(length, most) }, () => rng.integer(vocabularySize)),
  );
  const { folder } = model;
  if (folder === undefined || !(await hasTokenizer(folder))) return drawn;
  const tokenizer = await loadTokenizer(folder);
  const written = texts.map((text) => [...tokenizer.prefixIds, ...tokenizer.encode(text)].slice(0, most));
  return [...written, ...drawn].filter((ids) => ids.length > 1 && ids.every((id) => id < vocabularySize));
}

/** Compares scores of the same rows. Throws a WorkError where they are further apart than the type of the weights allows. */
export function compare(
  source: readonly number[][],
  exported: readonly number[][],
  dtype: ExportDtype,
  where: string,
): Difference {
  const differences = source.flatMap((row, r) => row.map((v, t) => Math.abs(v - exported[r][t])));
  const max = differences.reduce((a, b) => (Number.isNaN(b) || b > a ? b : a), 0);
  const mean = differences.reduce((a, b) => a + b, 0) / differences.length;
  const allowed = tolerances[dtype];
  if (max <= allowed.max && mean <= allowed.mean) return { tokens: differences.length, max, mean };
  const show = (x: number) => x.toPrecision(3);
  throw new WorkError({
    code: "export-differs",
    what: "the exported model does not score like its source",
    where,
    why: `log-probabilities differ by ${show(mean)} in the mean and ${show(max)} at most, and ${dtype} allows ${allowed.mean} and ${allowed.max}`,
    fix:
      dtype === "F32"
        ? "Nothing was kept. This is a bug of prefopt: please report it with the model's config.json"
        : "Nothing was kept. Export with --dtype F32",
  });
}

/** Throws a WorkError where a model's own scores are no numbers. */
export function checkFinite(scores: readonly number[][], where: string): void {
  if (scores.flat().every(Number.isFinite)) return;
  throw new WorkError({
    code: "not-finite",
    what: "the model's log-probabilities are not finite",
    where,
    why: "its weights hold NaN, infinity or numbers too large to compute with",
    fix: "Export another checkpoint",
  });
}
