/**
 * Robust DPO (Chowdhury et al., arXiv:2403.00409): unbiased when labels are flipped with rate ε; the flipped term is subtracted,
 * so single losses can be negative.
 */
import { mul, neg, softplus, sub } from "../../engine/ops/elementwise.ts";
import type { PairLoss } from "./pair-loss.ts";

export const robust: PairLoss = {
  id: "robust",
  difference: true,
  smoothing: { least: 0, below: 0.5, unset: 0 },
  loss({ chosen, rejected }, { beta, labelSmoothing: epsilon = 0 }) {
    const z = mul(beta, sub(chosen.score, rejected.score));
    // [-(1-ε) log σ(z) + ε log σ(-z)] / (1-2ε)
    const unbiased = sub(mul(1 - epsilon, softplus(neg(z))), mul(epsilon, softplus(z)));
    return mul(unbiased, 1 / (1 - 2 * epsilon));
  },
};
