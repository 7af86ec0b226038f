/**
 * Binary classifier optimization for pairs (Jung et al., arXiv:2404.04656), without reward shift: chosen rewards are classified
 * as good and rejected ones as bad, each by itself.
 */
import { add, mul, neg, softplus } from "../../engine/ops/elementwise.ts";
import type { PairLoss } from "./pair-loss.ts";

export const bcoPair: PairLoss = {
  id: "bco-pair",
  difference: false,
  // -log σ(r_w) - log σ(-r_l)
  loss: ({ chosen, rejected }, { beta }) =>
    add(softplus(neg(mul(beta, chosen.ratio))), softplus(mul(beta, rejected.ratio))),
};
