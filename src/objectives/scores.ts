/**
 * The quantities that objectives touch, made when they are touched. A source knows how to supply the raw tensors:
 * training takes policy scores from the model's graph and reference scores from a cache; the calculator takes both from its input.
 */
import { segmentSum, spread } from "../engine/ops/indexing.ts";
import { stopGradient } from "../engine/ops/elementwise.ts";
import type { Dim, Tensor } from "../engine/tensor.ts";
import { type RecordKind, type RecordView, rolesOf } from "./objective.ts";

export type Scorer = "policy" | "reference";

/** Where scores come from. All methods are called at most once for the same arguments. */
export interface ScoreSource {
  readonly records: Dim;
  /** Log-probability of each completion token of a role, flat over the batch: [tokens of the role]. */
  tokenLogps(role: string, scorer: Scorer): Tensor;
  /** The record of each of these tokens, int64; `records` for padding. */
  segments(role: string): Tensor;
  /** Place of each of these tokens in its completion, from 0: [tokens of the role]. */
  positions(role: string): Tensor;
  /** Completion tokens of each record, at least 1: [records]. */
  lengths(role: string): Tensor;
  /** An optional number of the records, or undefined where none has it: [records]. */
  field(name: string, otherwise: number): Tensor | undefined;
  /** Records of the whole batch (not of this piece of it): scalar. */
  batchSize(): Tensor;
  /** Completion tokens of a role in the whole batch: scalar. */
  batchTokens(role: string): Tensor;
}

/** What one model says of one completion. */
export interface Scores {
  /** Log-probability of the completion, summed over its tokens, end token included: [records]. */
  readonly logp: Tensor;
  /** Log-probability of each completion token, flat: [tokens]. */
  readonly tokenLogps: Tensor;
}

export interface Completion {
  readonly policy: Scores;
  /** Scores of the reference model; constants of the objective. */
  readonly reference: Scores;
  /** Number of completion tokens: [records]. */
  readonly length: Tensor;
  /** Place of each token in its completion, from 0, flat as `tokenLogps`: [tokens]. */
  readonly positions: Tensor;
  /** Sums values of tokens by record: [tokens] → [records]. */
  sum(values: Tensor): Tensor;
  /** Gives every token its record's value: [records] → [tokens]. */
  spread(values: Tensor): Tensor;
}

/** What is known of the whole batch, however it is cut into pieces. */
export interface BatchView {
  /** Number of records: scalar. */
  readonly size: Tensor;
  /** Number of completion tokens of a role: scalar. */
  tokens(role: string): Tensor;
}

/** The view of a batch of records of one kind. */
export function recordView(kind: RecordKind, source: ScoreSource): RecordView {
  const completions = rolesOf[kind].map((role) => [role, completion(role, source)]);
  const field = (name: string, otherwise: number) => source.field(name, otherwise) ?? otherwise;
  // Every role of the kind is present: the table lists them.
  return { ...Object.fromEntries(completions), field } as RecordView;
}

export function batchView(source: ScoreSource): BatchView {
  const size = lazily(() => source.batchSize());
  const tokens = new Map<string, Tensor>();
  return {
    get size() {
      return size();
    },
    tokens(role) {
      const known = tokens.get(role) ?? source.batchTokens(role);
      tokens.set(role, known);
      return known;
    },
  };
}

function completion(role: string, source: ScoreSource): Completion {
  const segments = lazily(() => source.segments(role));
  const length = lazily(() => source.lengths(role));
  const positions = lazily(() => source.positions(role));
  const scores = (scorer: Scorer): Scores => {
    const tokenLogps = lazily(() => {
      const values = source.tokenLogps(role, scorer);
      return scorer === "policy" ? values : stopGradient(values);
    });
    const logp = lazily(() => segmentSum(tokenLogps(), segments(), source.records));
    return {
      get logp() {
        return logp();
      },
      get tokenLogps() {
        return tokenLogps();
      },
    };
  };
  return {
    policy: scores("policy"),
    reference: scores("reference"),
    get length() {
      return length();
    },
    get positions() {
      return positions();
    },
    sum: (values) => segmentSum(values, segments(), source.records),
    spread: (values) => spread(values, segments()),
  };
}

function lazily<T>(make: () => T): () => T {
  let made: { value: T } | undefined;
  return () => (made ??= { value: make() }).value;
}
