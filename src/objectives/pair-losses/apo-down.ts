/**
 * Anchored preference optimization, down (D'Oosterlinck et al., arXiv:2408.06266): for chosen answers worse than the model's
 * own. Pushes both down, the rejected one more.
 */
import { add, mul, neg, sigmoid, sub } from "../../engine/ops/elementwise.ts";
import type { PairLoss } from "./pair-loss.ts";

export const apoDown: PairLoss = {
  id: "apo-down",
  difference: false,
  // σ(r_w) + 1 - σ(βΔ)
  loss({ chosen, rejected }, { beta }) {
    const margin = mul(beta, sub(chosen.ratio, rejected.ratio));
    return add(sigmoid(mul(beta, chosen.ratio)), sigmoid(neg(margin)));
  },
};
