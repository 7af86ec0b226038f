/**
 * Alignment by optimal transport, unpaired (Melnyk et al., arXiv:2406.05882): the log-ratios of all chosen completions, sorted, should
 * lie above those of all rejected ones, sorted, whoever was compared with whom.
 */
import { mul, neg, softplus } from "../../engine/ops/elementwise.ts";
import type { PairLoss } from "./pair-loss.ts";
import { smoothed } from "./smoothed.ts";
import { byRank } from "./sorted.ts";

export const aotUnpaired: PairLoss = {
  id: "aot-unpaired",
  aliases: ["aot-pair"], // what older versions of TRL call this formula
  difference: false,
  coupled: true,
  ranked: true,
  smoothing: { least: 0, below: 0.5, unset: 0 },
  loss: ({ chosen, rejected }, { beta, labelSmoothing: epsilon = 0 }) =>
    byRank(chosen.ratio, rejected.ratio, (d) => {
      const z = mul(beta, d);
      return smoothed(1 - epsilon, softplus(neg(z)), softplus(z));
    }),
};
