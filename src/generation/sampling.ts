/**
 * Choosing the next token from logits, in the order of `transformers`: temperature, top-k, top-p, min-p, draw
 * (nucleus: Holtzman et al., arXiv:1904.09751; min-p: Nguyen et al., arXiv:2407.01082). Log-probabilities are always those
 * of the unfiltered distribution at temperature 1, as preference methods need them.
 */
import { z } from "zod";

export const samplingSchema = z.strictObject({
  /** 0 is greedy; ties go to the lowest id. */
  temperature: z.number().min(0).default(1),
  /** Keep the k largest logits and those tied with the k-th; 0 is off. */
  topK: z.number().int().min(0).default(0),
  /** Keep the smallest set of largest tokens whose mass reaches p; 1 is off. */
  topP: z.number().gt(0).max(1).default(1),
  /** Drop tokens below this share of the largest probability; 0 is off. */
  minP: z.number().min(0).max(1).default(0),
});

export type Sampling = z.output<typeof samplingSchema>;

export interface Drawn {
  id: number;
  /** log p(id), unfiltered, temperature 1. */
  logp: number;
}

/** Draws a token from logits [vocabulary]; `uniform` in [0, 1) decides. */
export function draw(logits: Float32Array, sampling: Sampling, uniform: number): Drawn {
  const norm = logSumExp(logits);
  const id =
    sampling.temperature === 0 ? argmax(logits) : inverseCdf(probabilities(logits, sampling), uniform);
  return { id, logp: logits[id] - norm };
}

/** The filtered, renormalised distribution. */
export function probabilities(
  logits: Float32Array,
  { temperature, topK, topP, minP }: Sampling,
): Float64Array {
  const n = logits.length;
  const scaled = new Float64Array(n);
  let top = -Infinity;
  for (let i = 0; i < n; i++) {
    scaled[i] = logits[i] / temperature;
    if (scaled[i] > top) top = scaled[i];
  }
  const p = new Float64Array(n);
  for (let i = 0; i < n; i++) p[i] = Math.exp(scaled[i] - top);
  if (topK > 0 && topK < n) {
    const kth = Float64Array.from(p).sort()[n - topK];
    for (let i = 0; i < n; i++) if (p[i] < kth) p[i] = 0;
  }
  normalise(p);
  if (topP < 1) keepNucleus(p, topP);
  if (minP > 0) {
    let largest = 0;
    for (const v of p) if (v > largest) largest = v;
    for (let i = 0; i < n; i++) if (p[i] < minP * largest) p[i] = 0;
    normalise(p);
  }
  return p;
}

/** Keeps the smallest descending prefix whose mass reaches `mass`; of equal ones the lower id first. */
function keepNucleus(p: Float64Array, mass: number): void {
  const order = Array.from(p.keys())
    .filter((i) => p[i] > 0)
    .sort((a, b) => p[b] - p[a] || a - b);
  let total = 0;
  let kept = 0;
  while (kept < order.length && total < mass) total += p[order[kept++]];
  for (const i of order.slice(kept)) p[i] = 0;
  normalise(p);
}

function normalise(p: Float64Array): void {
  let total = 0;
  for (const v of p) total += v;
  for (let i = 0; i < p.length; i++) p[i] /= total;
}

/** The first index whose cumulative probability exceeds `uniform`. */
function inverseCdf(p: Float64Array, uniform: number): number {
  let total = 0;
  let last = 0;
  for (let i = 0; i < p.length; i++) {
    if (p[i] === 0) continue;
    total += p[i];
    last = i;
    if (uniform < total) return i;
  }
  return last; // rounding left the total just below 1
}

function argmax(logits: Float32Array): number {
  let best = 0;
  for (let i = 1; i < logits.length; i++) if (logits[i] > logits[best]) best = i;
  return best;
}

function logSumExp(logits: Float32Array): number {
  let top = -Infinity;
  for (const v of logits) if (v > top) top = v;
  let total = 0;
  for (const v of logits) total += Math.exp(v - top);
  return top + Math.log(total);
}
