/**
 * Length-normalised DPO (Tülu 3, Lambert et al., arXiv:2411.15124): the logistic loss on per-token averages of the log-ratios, so
 * that long completions do not weigh more. β is larger than DPO's, about 5.
 */
import { div, mul, neg, softplus, sub } from "../../engine/ops/elementwise.ts";
import type { PairLoss } from "./pair-loss.ts";
import { smoothed } from "./smoothed.ts";

export const sigmoidNorm: PairLoss = {
  id: "sigmoid-norm",
  difference: true,
  smoothing: { least: 0, below: 0.5, unset: 0 },
  loss({ chosen, rejected, rightness }, { beta }) {
    const margin = mul(beta, sub(div(chosen.score, chosen.length), div(rejected.score, rejected.length)));
    return smoothed(rightness, softplus(neg(margin)), softplus(margin));
  },
};
