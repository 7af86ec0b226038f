/**
 * The losses of the DPO family: each says what one pair costs, given the scores of its two completions. They share β, label
 * smoothing and modifiers, and are options of the objective `dpo`; each also has a name of its own.
 */
import type { Tensor } from "../../engine/tensor.ts";

/** One completion of a pair, every quantity [records]. */
export interface Side {
  /** s: log-ratio ρ to the reference, or what an f-divergence makes of it. */
  readonly score: Tensor;
  /** ρ = log π(y) - log π_ref(y). */
  readonly ratio: Tensor;
  /** log π(y) and log π_ref(y) by themselves. */
  readonly policy: Tensor;
  readonly reference: Tensor;
  /** Number of tokens by which per-token averages divide; 1 where log-probabilities are averages already. */
  readonly length: Tensor | number;
  /** Token-mean cross-entropy of the completion, as its share of the batch's. */
  readonly nll: Tensor;
}

export interface PairLossOptions {
  readonly beta: number;
  /** ε; undefined where it was not set. */
  readonly labelSmoothing: number | undefined;
  readonly ipoAverage: boolean;
  readonly discopopTau: number;
}

export interface Pair {
  readonly chosen: Side;
  readonly rejected: Side;
  /** Probability that the label is right: 1 - ε, or the record's own soft label. */
  readonly rightness: Tensor | number;
  /** δ, what rewards are shifted by: 0, or a mean over the batches so far of these numbers of the pairs. */
  shift(rewards: Tensor): Tensor | number;
}

export interface PairLoss {
  /** Kebab-case; underscores are accepted too. */
  readonly id: string;
  /** Other names it is known by. */
  readonly aliases?: readonly string[];
  /** Whether only the difference of scores enters, so that an f-divergence may replace the log-ratio. */
  readonly difference: boolean;
  /** Whether a pair's loss depends on the other pairs of the batch. */
  readonly coupled?: boolean;
  /** Whether losses belong to ranks of the batch, so that no single pair can be weighted. */
  readonly ranked?: boolean;
  /** Whether it knows a shift of rewards. */
  readonly shifts?: boolean;
  /** Range of ε that makes sense; absent: smoothing has no effect here. */
  readonly smoothing?: { readonly least: number; readonly below: number; readonly unset: number };
  loss(pair: Pair, options: PairLossOptions): Tensor;
}
