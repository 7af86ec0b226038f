/**
 * Which pairs to train on by how alike their answers are (Razin et al., arXiv:2410.08847, §5 and §6): the least alike ones, or a window of
 * the sorted pairs around a quantile, to see displacement grow with likeness. Higher scores are more alike.
 */
import { RequestError } from "../../errors.ts";

/**
 * The pairs to keep: the `keepFraction` · N lowest scores rounded down, at least one, ties by position. Indices, ascending. Throws a
 * RequestError where the fraction is not in (0, 1] or a score is not finite.
 */
export function filterByChes(scores: readonly number[], keepFraction = 0.05): number[] {
  if (!(keepFraction > 0 && keepFraction <= 1)) {
    throw new RequestError({
      code: "invalid-option",
      what: `keepFraction is ${keepFraction}`,
      why: "it is the share of pairs that is kept",
      fix: "Give a number above 0 and at most 1",
    });
  }
  const bad = scores.findIndex((s) => !Number.isFinite(s));
  if (bad >= 0)
    throw new RequestError({ code: "score-not-finite", what: `pair ${bad + 1} has score ${scores[bad]}` });
  const kept = Math.min(scores.length, Math.max(1, Math.floor(keepFraction * scores.length)));
  return ascending(scores)
    .slice(0, kept)
    .sort((a, b) => a - b);
}

/** Indices of scores from the lowest to the highest, ties by position. */
export function ascending(scores: readonly number[]): number[] {
  return scores.map((_, i) => i).sort((a, b) => scores[a] - scores[b] || a - b);
}

/** [start, end) in the sorted order: `windowSize` pairs around the quantile, moved inside at both ends. */
export function quantileWindow(count: number, windowSize: number, quantile: number): [number, number] {
  const middle = roundHalfEven(quantile * (count - 1));
  const start = Math.max(0, middle - Math.floor(windowSize / 2));
  return start + windowSize > count ? [Math.max(0, count - windowSize), count] : [start, start + windowSize];
}

export interface Distribution {
  readonly mean: number;
  readonly min: number;
  readonly q25: number;
  readonly median: number;
  readonly q75: number;
  readonly max: number;
}

/** Mean and quantiles of scores, quantiles by linear interpolation. NaN without scores. */
export function distributionOf(scores: readonly number[]): Distribution {
  const sorted = [...scores].sort((a, b) => a - b);
  const at = (q: number) => {
    const place = q * (sorted.length - 1);
    const [low, high] = [sorted[Math.floor(place)], sorted[Math.ceil(place)]];
    return low + (high - low) * (place - Math.floor(place));
  };
  return {
    mean: scores.reduce((a, b) => a + b, 0) / scores.length,
    min: at(0),
    q25: at(0.25),
    median: at(0.5),
    q75: at(0.75),
    max: at(1),
  };
}

/** Spearman's rank correlation, ties given their mean rank; NaN where one side does not vary. */
export function rankCorrelation(a: readonly number[], b: readonly number[]): number {
  const [ra, rb] = [ranks(a), ranks(b)];
  const middle = (a.length - 1) / 2;
  let [product, squareA, squareB] = [0, 0, 0];
  ra.forEach((x, i) => {
    product += (x - middle) * (rb[i] - middle);
    squareA += (x - middle) ** 2;
    squareB += (rb[i] - middle) ** 2;
  });
  return product / Math.sqrt(squareA * squareB);
}

function ranks(values: readonly number[]): number[] {
  const order = ascending(values);
  const result = new Array<number>(values.length);
  for (let start = 0, end = 0; start < order.length; start = end) {
    while (end < order.length && values[order[end]] === values[order[start]]) end++;
    for (let k = start; k < end; k++) result[order[k]] = (start + end - 1) / 2;
  }
  return result;
}

/** Halves go to the even neighbour, as in NumPy. */
function roundHalfEven(x: number): number {
  const down = Math.floor(x);
  if (x - down !== 0.5) return Math.round(x);
  return down % 2 === 0 ? down : down + 1;
}
