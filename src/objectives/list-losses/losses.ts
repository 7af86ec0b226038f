/**
 * The ranking losses of LiPO (Liu et al., arXiv:2402.01878, Eqs. 5-11; the ranking library RAX has the same ones) on scores
 * s = βρ and labels ψ. Each gives the sum over a list; how lists and batches are averaged is said elsewhere.
 */
import { add, div, maximum, minimum, mul, neg, softplus, square, sub } from "../../engine/ops/elementwise.ts";
import type { Tensor } from "../../engine/tensor.ts";
import { type LambdaOptions, lambdaWeights } from "./lambda-weights.ts";
import { listMle, logSumExpWhere } from "./list-mle.ts";
import { type Ranking, differences, overOthers } from "./list.ts";

export interface ListSetting extends LambdaOptions {
  /** Divide the labels of softmax by their sum. */
  readonly normalizeLabels: boolean;
}

export interface ListLoss {
  /** What RAX averages over: valid pairs, lists, or items. */
  readonly unit: "pair" | "list" | "item";
  /** Sum over each list: [records]. */
  loss(scores: Tensor, ranking: Ranking, setting: ListSetting): Tensor;
}

/** Σ over ordered pairs of a term of s_i - s_j. */
const overPairs = (scores: Tensor, { better, completions }: Ranking, term: (difference: Tensor) => Tensor) =>
  completions.total(overOthers(mul(better, term(differences(scores)))));
const logistic = (difference: Tensor) => softplus(neg(difference));

export const listLosses = {
  /** Eq. 5: DPO on every pair */
  pairLogistic: { unit: "pair", loss: (s, r) => overPairs(s, r, logistic) },
  /** Eq. 6 */
  pairHinge: { unit: "pair", loss: (s, r) => overPairs(s, r, (d) => maximum(sub(1, d), 0)) },
  /** Eq. 7 */
  listMle: { unit: "list", loss: (s, r) => listMle(s, r) },
  /** Eq. 8: pairs weighted by |ΔDCG| of their swap */
  lambda: {
    unit: "pair",
    loss: (s, r, setting) => overPairs(s, r, (d) => mul(lambdaWeights(s, r, setting), logistic(d))),
  },
  /** Eq. 9 */
  pointMse: { unit: "item", loss: (s, { labels, completions }) => completions.total(square(sub(labels, s))) },
  /** Eq. 10: -ψ log σ(s) - (1 - ψ) log σ(-s), ψ in [0, 1] */
  pointSigmoid: {
    unit: "item",
    loss(s, { labels, completions }) {
      const psi = minimum(maximum(labels, 0), 1);
      return completions.total(add(mul(psi, softplus(neg(s))), mul(sub(1, psi), softplus(s))));
    },
  },
  /** Eq. 11: cross-entropy of the labels' distribution; 0 where all labels are 0 */
  softmax: {
    unit: "list",
    loss(s, { labels, completions }, { normalizeLabels }) {
      const logs = sub(s, logSumExpWhere(s, completions.sameRecord));
      const loss = neg(completions.total(mul(labels, logs)));
      if (!normalizeLabels) return loss;
      const total = completions.total(labels);
      return div(loss, add(total, isZero(total)));
    },
  },
} as const satisfies Record<string, ListLoss>;

/** 1 where x is 0. */
function isZero(x: Tensor): Tensor {
  const sign = x.graph.node("Sign", [x], { shape: x.shape });
  return sub(1, mul(sign, sign));
}
