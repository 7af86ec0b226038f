/**
 * EXO for pairs (Ji et al., arXiv:2402.00856): reverse KL from the policy's preference q = σ(βΔ) to the smoothed label. Where DPO
 * covers the label's distribution, this seeks its mode; the gradient flows through q.
 */
import { add, logSigmoid, mul, neg, sigmoid, sub } from "../../engine/ops/elementwise.ts";
import type { PairLoss } from "./pair-loss.ts";

/** ε where it is not set. */
const unset = 1e-3;

export const exoPair: PairLoss = {
  id: "exo-pair",
  difference: true,
  smoothing: { least: Number.MIN_VALUE, below: 1, unset },
  loss({ chosen, rejected }, { beta, labelSmoothing: epsilon = unset }) {
    const z = mul(beta, sub(chosen.score, rejected.score));
    // q [log σ(z) - log(1-ε)] + (1-q) [log σ(-z) - log ε]
    const right = mul(sigmoid(z), sub(logSigmoid(z), Math.log(1 - epsilon)));
    return add(right, mul(sigmoid(neg(z)), sub(logSigmoid(neg(z)), Math.log(epsilon))));
  },
};
