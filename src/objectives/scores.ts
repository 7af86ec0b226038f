/** The quantities that objectives see: of one completion a record, of any number of them, and of the whole batch. */
import type { Tensor } from "../engine/tensor.ts";

/** What one model says of one completion. */
export interface Scores {
  /** Log-probability of the completion, summed over its tokens, end token included: [units]. */
  readonly logp: Tensor;
  /** Log-probability of each completion token, flat: [tokens]. */
  readonly tokenLogps: Tensor;
}

export interface PolicyScores extends Scores {
  /** KL(reference ‖ policy) over the vocabulary at each position: [tokens]. */
  readonly tokenKl: Tensor;
  /** KL(policy ‖ reference): [tokens]. */
  readonly reverseTokenKl: Tensor;
  /** log Σ_v p_v², a constant: [tokens]. */
  readonly collision: Tensor;
}

/** The completions of one role: one a record (units = records), or any number (`Completions`). */
export interface Completion {
  readonly policy: PolicyScores;
  /** Scores of the reference model; constants of the objective. */
  readonly reference: Scores;
  /** Scores of a second trained policy. */
  readonly slow: Scores;
  /** Number of completion tokens: [units]. */
  readonly length: Tensor;
  /** Place of each token in its completion, from 0, flat as `tokenLogps`: [tokens]. */
  readonly positions: Tensor;
  /** Given reward of each token, a constant: [tokens]. */
  readonly tokenRewards: Tensor;
  /** Scalar reward head at the last token: [units]. */
  readonly reward: Tensor;
  /** Logits of the degree head: [units, degrees]. */
  readonly degreeLogits: Tensor;
  /** A number given with each completion (score, winRate, …), a constant: [units]. */
  value(name: string): Tensor;
  /** Sums values of tokens by completion: [tokens] → [units]. */
  sum(values: Tensor): Tensor;
  /** Gives every token its completion's value: [units] → [tokens]. */
  spread(values: Tensor): Tensor;
  /** Scores of the prompt's tokens (the first is only given); undefined where there are none, as in the calculator. */
  readonly prompt: Completion | undefined;
}

/** Any number of completions a record, flat over the batch. */
export interface Completions extends Completion {
  /** Whether any record has one; where none has, nothing else may be touched. */
  readonly present: boolean;
  /** Completions of each record: [records]. */
  readonly count: Tensor;
  /** Sums by record: [units] → [records]. */
  total(values: Tensor): Tensor;
  /** Gives every completion its record's value: [records] → [units]. */
  share(values: Tensor): Tensor;
  /** 1 where two completions belong to the same record: [units, others]. */
  readonly sameRecord: Tensor;
  /** Distinct numbers that break ties: as completions stand in their list, or at random. [units] */
  places(order: "order" | "random"): Tensor;
}

/** What is known of the whole batch, however it is cut into pieces. */
export interface BatchView {
  /** Number of records: scalar. */
  readonly size: Tensor;
  /** Epochs of the run that are done, 0 in the calculator: scalar. */
  readonly epoch: Tensor;
  /** Number of completion tokens of a role: scalar. */
  tokens(role: string): Tensor;
  /** Number of completions of a role: scalar. */
  units(role: string): Tensor;
  /** Pairs of completions of one record whose scores differ: scalar. */
  orderedPairs(role: string): Tensor;
  /** A number that the caller keeps for the batch; undefined where it keeps none. */
  given(name: string): Tensor | undefined;
  /**
   * A mean that a run keeps over its batches, this one included: of `values` [records], each step or each record counting 1.
   * In the calculator the caller's number of that name, or else this batch's mean. A constant. For coupled objectives only.
   */
  runningMean(name: string, values: Tensor, weight: "step" | "record"): Tensor;
}
