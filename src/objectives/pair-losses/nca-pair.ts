/**
 * Noise contrastive alignment for pairs (Chen et al., arXiv:2402.05369): besides ordering the two rewards it holds each to an
 * absolute level, so the chosen completion does not lose probability.
 */
import { mul, neg, softplus, sub } from "../../engine/ops/elementwise.ts";
import type { PairLoss } from "./pair-loss.ts";

export const ncaPair: PairLoss = {
  id: "nca-pair",
  difference: false,
  loss({ chosen, rejected }, { beta }) {
    const [w, l] = [mul(beta, chosen.ratio), mul(beta, rejected.ratio)];
    // -log σ(r_w) - ½ log σ(-r_w) - ½ log σ(-r_l)
    const held = sub(mul(-0.5, softplus(w)), mul(0.5, softplus(l)));
    return sub(softplus(neg(w)), held);
  },
};
