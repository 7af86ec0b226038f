/**
 * How often one model's sample is preferred to another's for the same prompt: a win counts 1, a tie ½. The interval is a
 * percentile bootstrap over prompts (Efron and Tibshirani, 1993, chapter 13).
 */
import { random } from "../engine/random.ts";
import { RequestError } from "../errors.ts";
import { mean } from "./text-metrics.ts";

export interface Interval {
  readonly mean: number;
  readonly low: number;
  readonly high: number;
}

export interface BootstrapOptions {
  /** Share of resamples inside the interval. */
  readonly confidence?: number;
  readonly resamples?: number;
  readonly seed?: number;
}

/** Wins of `scores` against `others`, index by index. */
export function winRate(
  scores: readonly number[],
  others: readonly number[],
  options: BootstrapOptions = {},
): Interval {
  if (scores.length !== others.length) {
    throw new RequestError({
      code: "unpaired-scores",
      what: `${scores.length} scores against ${others.length}`,
      why: "a win rate compares them prompt by prompt",
    });
  }
  const wins = scores.map((s, i) => (s > others[i] ? 1 : s === others[i] ? 0.5 : 0));
  return bootstrapMean(wins, options);
}

/** The mean of values with a percentile bootstrap interval. Throws for no values. */
export function bootstrapMean(values: readonly number[], options: BootstrapOptions = {}): Interval {
  const { confidence = 0.95, resamples = 2000, seed = 1 } = options;
  if (values.length === 0)
    throw new RequestError({ code: "no-samples", what: "there is nothing to take a mean of" });
  const rng = random(seed, "bootstrap");
  const means = Array.from({ length: resamples }, () => {
    let sum = 0;
    for (let i = 0; i < values.length; i++) sum += values[rng.integer(values.length)];
    return sum / values.length;
  }).sort((a, b) => a - b);
  const at = (q: number) => means[Math.min(resamples - 1, Math.max(0, Math.round(q * (resamples - 1))))];
  return { mean: mean(values), low: at((1 - confidence) / 2), high: at((1 + confidence) / 2) };
}
