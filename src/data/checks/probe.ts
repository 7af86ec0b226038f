/**
 * A simple classifier of comparisons, to see what can be told without reading: logistic regression on the difference of two answers'
 * words (log counts, hashed) and lengths, as a Bradley-Terry model. Cross-validated: what it says of a comparison it has not been
 * trained on, nor on another of the same prompt.
 */
import { random } from "../../engine/random.ts";
import { type CheckedRecord, normalized, wordsOf } from "./records.ts";
import { hash32 } from "./statistics.ts";

export interface ProbeResult {
  /** The comparisons, by their index among the records. */
  readonly indices: readonly number[];
  /** Probability that the chosen one is the better, for each. */
  readonly probabilities: readonly number[];
  /** The words that speak most for and against an answer, over all. */
  readonly forWords: readonly string[];
  readonly againstWords: readonly string[];
}

/** Comparisons below which nothing can be said, and above which a sample says as much. */
export const leastComparisons = 50;
const mostComparisons = 20_000;
const folds = 5;
const epochs = 4;
const size = 1 << 16;
/** Places of the vector that are no words. */
const lengthAt = size;
const width = size + 1;
const rate = 0.3;
const decay = 1e-4;

interface Sparse {
  readonly at: Int32Array;
  readonly value: Float32Array;
}

/** Undefined where there are fewer than `leastComparisons`. */
export function probeOf(
  records: readonly CheckedRecord[],
  seed: number,
  signal?: AbortSignal,
): ProbeResult | undefined {
  const all = records.flatMap((record, index) => (record.pair ? [index] : []));
  if (all.length < leastComparisons) return undefined;
  const rng = random(seed, "probe");
  const indices = all.length > mostComparisons ? sampled(all, mostComparisons, () => rng.uniform()) : all;
  const names = new Map<number, string>();
  const examples = indices.map((index) => {
    const { prompt, pair } = records[index];
    const x = pair
      ? differenceOf(pair.chosen, pair.rejected, names)
      : { at: new Int32Array(), value: new Float32Array() };
    return { x, fold: hash32(normalized(prompt)) % folds };
  });
  const probabilities = new Array<number>(examples.length).fill(0.5);
  for (let fold = 0; fold < folds; fold++) {
    signal?.throwIfAborted();
    const own = examples.flatMap((e, i) => (e.fold === fold ? [i] : []));
    const weights = trained(
      examples.filter((e) => e.fold !== fold).map((e) => e.x),
      seed,
    );
    for (const i of own) probabilities[i] = sigmoid(dot(weights, examples[i].x));
  }
  const whole = trained(
    examples.map((e) => e.x),
    seed,
  );
  const words = [...names].map(([at, name]) => ({ name, weight: whole[at] }));
  words.sort((a, b) => b.weight - a.weight || (a.name < b.name ? -1 : 1));
  const most = 8;
  return {
    indices,
    probabilities,
    forWords: words.slice(0, most).map((w) => w.name),
    againstWords: words
      .slice(-most)
      .reverse()
      .map((w) => w.name),
  };
}

/** φ(chosen) - φ(rejected). */
function differenceOf(chosen: string, rejected: string, names: Map<number, string>): Sparse {
  const difference = new Map<number, number>();
  const lengths = [chosen, rejected].map((text, side) => {
    const words = wordsOf(text);
    const counts = new Map<number, number>();
    for (const word of words) {
      const at = hash32(word) % size;
      if (!names.has(at)) names.set(at, word);
      counts.set(at, (counts.get(at) ?? 0) + 1);
    }
    for (const [at, n] of counts)
      difference.set(at, (difference.get(at) ?? 0) + (side === 0 ? 1 : -1) * Math.log1p(n));
    return words.length;
  });
  difference.set(lengthAt, Math.log1p(lengths[0]) - Math.log1p(lengths[1]));
  const entries = [...difference].filter(([, value]) => value !== 0);
  // Of length one, so that long answers do not count for more.
  const norm = Math.sqrt(entries.reduce((n, [, value]) => n + value * value, 0)) || 1;
  return {
    at: Int32Array.from(entries, ([at]) => at),
    value: Float32Array.from(entries, ([, value]) => value / norm),
  };
}

/** Weights by AdaGrad on -log σ(w·x), a few times through the examples in an order of its own. */
function trained(examples: readonly Sparse[], seed: number): Float64Array {
  const weights = new Float64Array(width);
  const squares = new Float64Array(width).fill(1e-8);
  const order = examples.map((_, i) => i);
  const rng = random(seed, "probe order");
  for (let epoch = 0; epoch < epochs; epoch++) {
    for (const i of rng.shuffle(order)) {
      const { at, value } = examples[i];
      // d(-log σ(w·x))/dw = -(1 - σ(w·x)) x
      const error = 1 - sigmoid(dot(weights, examples[i]));
      for (let k = 0; k < at.length; k++) {
        const gradient = decay * weights[at[k]] - error * value[k];
        squares[at[k]] += gradient * gradient;
        weights[at[k]] -= (rate * gradient) / Math.sqrt(squares[at[k]]);
      }
    }
  }
  return weights;
}

function dot(weights: Float64Array, { at, value }: Sparse): number {
  let sum = 0;
  for (let k = 0; k < at.length; k++) sum += weights[at[k]] * value[k];
  return sum;
}

const sigmoid = (z: number) => 1 / (1 + Math.exp(-z));

/** `count` of the items, in order. */
function sampled(items: readonly number[], count: number, uniform: () => number): number[] {
  const keys = items.map((item) => ({ item, key: uniform() })).sort((a, b) => a.key - b.key);
  return keys
    .slice(0, count)
    .map(({ item }) => item)
    .sort((a, b) => a - b);
}
