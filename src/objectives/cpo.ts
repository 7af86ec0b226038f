/**
 * Contrastive Preference Optimization (Xu et al., arXiv:2401.08417): DPO with a uniform reference, held in place by an NLL term on
 * the chosen completion. `lossType: simpo` with its NLL term is CPO-SimPO.
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
  readonly simpoGamma: number;
}

const sum = (c: Completion) => c.policy.logp;
const average = (c: Completion) => div(c.policy.logp, c.length);
const logistic = (z: Tensor, epsilon: number) => smoothed(1 - epsilon, softplus(neg(z)), softplus(z));

/** The preference part, of the chosen and the rejected completion. */
const preferences = {
  sigmoid: (w: Completion, l: Completion, { beta, labelSmoothing }: Setting) =>
    logistic(mul(beta, sub(sum(w), sum(l))), labelSmoothing),
  hinge: (w: Completion, l: Completion, { beta }: Setting) =>
    maximum(sub(1, mul(beta, sub(sum(w), sum(l)))), 0),
  ipo: (w: Completion, l: Completion, { beta }: Setting) =>
    square(sub(sub(average(w), average(l)), 1 / (2 * beta))),
  simpo: (w: Completion, l: Completion, { beta, labelSmoothing, simpoGamma }: Setting) =>
    logistic(sub(mul(beta, sub(average(w), average(l))), simpoGamma), labelSmoothing),
};

export const cpo = objective({
  id: "cpo",
  record: "pair",
  options: {
    beta: positive(0.1),
    lossType: oneOf(["sigmoid", "hinge", "ipo", "simpo"], "sigmoid"),
    /** Weight of the chosen completion's token-mean cross-entropy. */
    cpoAlpha: nonNegative(1),
    labelSmoothing: within(0, 0.5, 0),
    simpoGamma: nonNegative(0.5),
  },
  loss({ chosen, rejected }, { lossType, cpoAlpha, ...setting }, batch) {
    const preference = preferences[lossType](chosen, rejected, setting);
    if (cpoAlpha === 0) return preference;
    return add(
      preference,
      mul(cpoAlpha, mul(neg(chosen.policy.logp), div(batch.size, batch.tokens("chosen")))),
    );
  },
  rewards: ({ chosen, rejected }, { beta }) => ({
    chosen: mul(beta, sum(chosen)),
    rejected: mul(beta, sum(rejected)),
  }),
});
