/**
 * Anchored preference optimization, zero (D'Oosterlinck et al., arXiv:2408.06266): for chosen answers better than the model's
 * own. Pushes the chosen one up and the rejected one down, each with a pull that fades on its own.
 */
import { add, mul, neg, sigmoid } from "../../engine/ops/elementwise.ts";
import type { PairLoss } from "./pair-loss.ts";

export const apoZero: PairLoss = {
  id: "apo-zero",
  difference: false,
  // (1 - σ(r_w)) + σ(r_l)
  loss: ({ chosen, rejected }, { beta }) =>
    add(sigmoid(neg(mul(beta, chosen.ratio))), sigmoid(mul(beta, rejected.ratio))),
};
