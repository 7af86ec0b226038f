/**
 * Alignment by optimal transport, paired (Melnyk et al., arXiv:2406.05882): the policy's margins, sorted over the batch, should lie
 * above the reference's margins, sorted: distributional instead of pair-by-pair dominance.
 */
import { mul, neg, softplus, sub } from "../../engine/ops/elementwise.ts";
import type { PairLoss } from "./pair-loss.ts";
import { smoothed } from "./smoothed.ts";
import { byRank } from "./sorted.ts";

export const aot: PairLoss = {
  id: "aot",
  difference: false,
  coupled: true,
  ranked: true,
  smoothing: { least: 0, below: 0.5, unset: 0 },
  loss: ({ chosen, rejected }, { beta, labelSmoothing: epsilon = 0 }) =>
    byRank(sub(chosen.policy, rejected.policy), sub(chosen.reference, rejected.reference), (d) => {
      const z = mul(beta, d);
      return smoothed(1 - epsilon, softplus(neg(z)), softplus(z));
    }),
};
