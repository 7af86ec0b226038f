/** What samples look like as text: variety and repetition, over whitespace-separated words. */

const wordsOf = (text: string): string[] => text.split(/\s+/).filter(Boolean);

function ngrams(words: readonly string[], n: number): string[] {
  return Array.from({ length: Math.max(0, words.length - n + 1) }, (_, i) => words.slice(i, i + n).join(" "));
}

/**
 * Distinct-n (Li et al., arXiv:1510.03055): different n-grams over all n-grams of the completions, pooled.
 * 0 where no completion has n words.
 */
export function distinctN(completions: readonly string[], n: number): number {
  const all = completions.flatMap((text) => ngrams(wordsOf(text), n));
  return all.length === 0 ? 0 : new Set(all).size / all.length;
}

/**
 * Share of a completion's 4-grams that occurred in it before, averaged over the completions that have any
 * (seq-rep-4, Welleck et al., arXiv:1908.04319). 0 where none has four words.
 */
export function repetition(completions: readonly string[]): number {
  const shares = completions.flatMap((text) => {
    const grams = ngrams(wordsOf(text), 4);
    return grams.length === 0 ? [] : [1 - new Set(grams).size / grams.length];
  });
  return mean(shares);
}

/** The mean, 0 of nothing. */
export function mean(values: readonly number[]): number {
  return values.length === 0 ? 0 : values.reduce((a, b) => a + b, 0) / values.length;
}

/** Standard error of the mean; 0 for fewer than two values. */
export function standardError(values: readonly number[]): number {
  if (values.length < 2) return 0;
  const m = mean(values);
  return Math.sqrt(values.reduce((s, v) => s + (v - m) ** 2, 0) / (values.length - 1) / values.length);
}
