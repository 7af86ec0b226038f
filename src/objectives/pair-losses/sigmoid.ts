/**
 * DPO itself (Rafailov et al., arXiv:2305.18290, Eq. 7): a logistic loss on the margin. Pulls hardest on pairs that the
 * implicit reward orders wrongly and lets go of those it is sure of.
 */
import { mul, neg, softplus, sub } from "../../engine/ops/elementwise.ts";
import type { PairLoss } from "./pair-loss.ts";
import { smoothed } from "./smoothed.ts";

export const sigmoid: PairLoss = {
  id: "sigmoid",
  difference: true,
  smoothing: { least: 0, below: 0.5, unset: 0 },
  loss({ chosen, rejected, rightness }, { beta }) {
    const margin = mul(beta, sub(chosen.score, rejected.score)); // βΔ
    return smoothed(rightness, softplus(neg(margin)), softplus(margin));
  },
};
