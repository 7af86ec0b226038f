/**
 * Triple Preference Optimization (Saeidi et al., arXiv:2405.16681): one stage instead of SFT followed by DPO. Cross-entropy on a
 * gold answer, pooled over the batch's gold tokens as in the authors' code, plus a preference between two others without a
 * reference. `tpo-l` compares average log-probabilities and asks for a margin γ. With tpoAlpha 0 no gold answer is needed.
 */
import { add, div, maximum, mul, neg, softplus, square, sub } from "../engine/ops/elementwise.ts";
import type { Tensor } from "../engine/tensor.ts";
import { objective } from "./objective.ts";
import { nonNegative, oneOf, positive, within } from "./options.ts";
import { smoothed } from "./pair-losses/smoothed.ts";
import type { Completion } from "./scores.ts";

interface Setting {
  readonly beta: number;
  readonly labelSmoothing: number;
  readonly tpoLGamma: number;
}

const sum = (c: Completion) => c.policy.logp;
const average = (c: Completion) => div(c.policy.logp, c.length);
const logistic = (z: Tensor, epsilon: number) => smoothed(1 - epsilon, softplus(neg(z)), softplus(z));

/** The preference between the chosen and the rejected completion. */
const preferences = {
  sigmoid: (w: Completion, l: Completion, { beta, labelSmoothing }: Setting) =>
    logistic(mul(beta, sub(sum(w), sum(l))), labelSmoothing),
  hinge: (w: Completion, l: Completion, { beta }: Setting) =>
    maximum(sub(1, mul(beta, sub(sum(w), sum(l)))), 0),
  ipo: (w: Completion, l: Completion, { beta }: Setting) =>
    square(sub(sub(average(w), average(l)), 1 / (2 * beta))),
  "tpo-l": (w: Completion, l: Completion, { beta, labelSmoothing, tpoLGamma }: Setting) =>
    logistic(sub(mul(beta, sub(average(w), average(l))), tpoLGamma), labelSmoothing),
};

export const triplePo = objective({
  id: "triple-po",
  record: "triple",
  options: {
    lossType: oneOf(["sigmoid", "hinge", "ipo", "tpo-l"], "sigmoid"),
    beta: positive(0.01),
    /** Weight of the gold answer's cross-entropy. */
    tpoAlpha: nonNegative(1),
    tpoLGamma: nonNegative(0.5),
    labelSmoothing: within(0, 0.5, 0),
  },
  loss(record, { lossType, tpoAlpha, ...setting }, batch) {
    const preference = preferences[lossType](record.chosen, record.rejected, setting);
    if (tpoAlpha === 0) return preference;
    const nll = mul(neg(record.gold.policy.logp), div(batch.size, batch.tokens("gold")));
    return add(preference, mul(tpoAlpha, nll));
  },
  rewards: ({ chosen, rejected }, { beta }) => ({
    chosen: mul(beta, sum(chosen)),
    rejected: mul(beta, sum(rejected)),
  }),
});
