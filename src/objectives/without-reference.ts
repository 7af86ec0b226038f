/**
 * Preferences between two completions that need no reference: the logistic loss and hinge on summed log-probabilities, IPO and the
 * logistic loss with a margin on their averages. CPO and TPO add what holds the policy in place.
 */
import { maximum, mul, neg, softplus, square, sub } from "../engine/ops/elementwise.ts";
import type { Tensor } from "../engine/tensor.ts";
import { averageLogp } from "./log-ratio.ts";
import { smoothed } from "./pair-losses/smoothed.ts";
import type { Completion } from "./scores.ts";

export interface PreferenceSetting {
  readonly beta: number;
  /** ε of cDPO; the logistic losses know it, the others do not. */
  readonly labelSmoothing: number;
  /** γ, by which the chosen completion must lead where averages are compared. */
  readonly gamma: number;
}

/** log π(y): [records] */
const sumLogp = (c: Completion): Tensor => c.policy.logp;

/** What each preference compares; β times it is the reward that is logged. */
export const comparedBy = {
  sigmoid: sumLogp,
  hinge: sumLogp,
  ipo: averageLogp,
  margin: averageLogp,
};

const logistic = (z: Tensor, epsilon: number) => smoothed(1 - epsilon, softplus(neg(z)), softplus(z));

export const preferences = {
  sigmoid: (w: Completion, l: Completion, { beta, labelSmoothing }: PreferenceSetting) =>
    logistic(mul(beta, sub(sumLogp(w), sumLogp(l))), labelSmoothing),
  hinge: (w: Completion, l: Completion, { beta }: PreferenceSetting) =>
    maximum(sub(1, mul(beta, sub(sumLogp(w), sumLogp(l)))), 0),
  ipo: (w: Completion, l: Completion, { beta }: PreferenceSetting) =>
    square(sub(sub(averageLogp(w), averageLogp(l)), 1 / (2 * beta))),
  margin: (w: Completion, l: Completion, { beta, labelSmoothing, gamma }: PreferenceSetting) =>
    logistic(sub(mul(beta, sub(averageLogp(w), averageLogp(l))), gamma), labelSmoothing),
};
