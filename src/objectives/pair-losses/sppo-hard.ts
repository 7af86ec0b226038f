/**
 * Self-play preference optimization with hard labels (Wu et al., arXiv:2405.00675): square losses that want the chosen
 * log-ratio at 1/(2β) and the rejected one at -1/(2β).
 */
import { add, square, sub } from "../../engine/ops/elementwise.ts";
import type { PairLoss } from "./pair-loss.ts";

export const sppoHard: PairLoss = {
  id: "sppo-hard",
  difference: false,
  loss: ({ chosen, rejected }, { beta }) =>
    add(square(sub(chosen.ratio, 1 / (2 * beta))), square(add(rejected.ratio, 1 / (2 * beta)))),
};
