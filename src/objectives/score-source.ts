/**
 * Where scores come from: the raw tensors behind everything that objectives touch. Training takes policy scores from the model's graph and
 * reference scores from a cache; the calculator takes all of them from its input; notes are taken before anything is loaded.
 */
import type { Graph } from "../engine/graph.ts";
import type { Dim, Tensor } from "../engine/tensor.ts";

/** Models that score: the policy, the frozen reference, and a second policy that is trained beside the first. */
export type Scorer = "policy" | "reference" | "slow";

/**
 * What is known of each completion token. `tokenKl`: KL(reference ‖ policy) over the vocabulary; `reverseTokenKl`: KL(policy ‖
 * reference); `collision`: log Σ_v p_v² of the policy; `tokenRewards`: given with the record.
 */
export type TokenQuantity = Scorer | "tokenKl" | "reverseTokenKl" | "collision" | "tokenRewards";

/** Outputs of trained heads on a completion: a scalar reward, or logits over degrees. */
export type HeadQuantity = "reward" | "degree";

/** Where scores come from. All methods are called at most once for the same arguments. */
export interface ScoreSource {
  readonly graph: Graph;
  readonly records: Dim;
  /** A number for each completion token of a role, flat over the batch: [tokens of the role]. */
  tokens(role: string, quantity: TokenQuantity): Tensor;
  /** The completion (its place among those of the role) of each of these tokens, int64; the number of completions for padding. */
  segments(role: string): Tensor;
  /** Place of each of these tokens in its completion, from 0: [tokens of the role]. */
  positions(role: string): Tensor;
  /** Completions of a role: the records, where each has one at most. */
  units(role: string): Dim;
  /** Tokens of each completion, at least 1: [units]. */
  lengths(role: string): Tensor;
  /** For a role of which a record may have several: the record of each completion, int64; `records` for padding. [units] */
  owners(role: string): Tensor;
  /** 1 where two completions of such a role belong to the same record: [units, others]. */
  sameRecord(role: string): Tensor;
  /** Distinct numbers that order the completions of a list where scores do not: as they stand, or at random. [units] */
  places(role: string, order: "order" | "random"): Tensor;
  /** A trained head's output for each completion: [units, width]. */
  head(role: string, head: HeadQuantity): Tensor;
  /** A number that every completion of the role comes with: [units]. */
  value(role: string, name: string): Tensor;
  /** An optional number of the records, or undefined where none has it: [records]. */
  field(name: string, otherwise: number): Tensor | undefined;
  /** A number that every record comes with: [records]. */
  required(name: string): Tensor;
  /** Whether there is any completion of a role of which records may have several. */
  present(role: string): boolean;
  /** The tokens of the prompt before this completion, as a role of its own; undefined where prompts have no scores. */
  promptRole(role: string): string | undefined;
  /** A number of the whole batch (not of this piece of it): scalar. `given` is undefined where the caller gave none. */
  readonly batch: {
    size(): Tensor;
    tokens(role: string): Tensor;
    units(role: string): Tensor;
    /** Pairs of completions of one record with different values of `score`. */
    orderedPairs(role: string): Tensor;
    /** Epochs done. */
    epoch(): Tensor;
    given(name: string): Tensor | undefined;
    /** Mean of the batch's numbers, or of all batches so far where a run keeps it; a constant. */
    runningMean(name: string, batchMean: Tensor, weight: "step" | "record"): Tensor;
  };
}
