/**
 * Binary classifier optimization for pairs (Jung et al., arXiv:2404.04656): chosen rewards are classified as good and rejected
 * ones as bad, each by itself; with `rewardShift: running` against δ, the mean reward of all batches so far.
 */
import { add, mul, neg, softplus, sub } from "../../engine/ops/elementwise.ts";
import type { PairLoss } from "./pair-loss.ts";

export const bcoPair: PairLoss = {
  id: "bco-pair",
  difference: false,
  shifts: true,
  // -log σ(r_w - δ) - log σ(-(r_l - δ))
  loss({ chosen, rejected, shift }, { beta }) {
    const [w, l] = [mul(beta, chosen.ratio), mul(beta, rejected.ratio)];
    const delta = shift(mul(0.5, add(w, l)));
    return add(softplus(neg(sub(w, delta))), softplus(sub(l, delta)));
  },
};
