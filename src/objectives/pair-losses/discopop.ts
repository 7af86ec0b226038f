/**
 * DiscoPOP (Lu et al., arXiv:2406.08414), a loss found by a language model: logistic where the pair is ordered wrongly, exponential
 * where it is ordered rightly, blended by m = σ(βΔ/τ).
 */
import { add, exp, logSigmoid, mul, neg, sigmoid, softplus, sub } from "../../engine/ops/elementwise.ts";
import type { PairLoss } from "./pair-loss.ts";

export const discopop: PairLoss = {
  id: "discopop",
  difference: true,
  loss({ chosen, rejected }, { beta, discopopTau }) {
    const z = mul(beta, sub(chosen.score, rejected.score));
    const gate = mul(z, 1 / discopopTau);
    // (1-m) softplus(-z) + m e^-z; the second as exp(log m - z), as m e^-z would be 0·∞ far to the left
    return add(mul(sigmoid(neg(gate)), softplus(neg(z))), exp(sub(logSigmoid(gate), z)));
  },
};
