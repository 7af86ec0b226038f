/**
 * Identity Preference Optimization (Azar et al., arXiv:2310.12036, Eq. 17; β is its τ): a square loss that wants the margin at
 * 1/(2β) and no further, so sure labels cannot drive it off. On per-token averages as TRL does; `ipoAverage: false` for sums.
 */
import { div, square, sub } from "../../engine/ops/elementwise.ts";
import type { PairLoss, Side } from "./pair-loss.ts";

export const ipo: PairLoss = {
  id: "ipo",
  difference: true,
  loss({ chosen, rejected }, { beta, ipoAverage }) {
    const score = (side: Side) => (ipoAverage ? div(side.score, side.length) : side.score);
    return square(sub(sub(score(chosen), score(rejected)), 1 / (2 * beta)));
  },
};
