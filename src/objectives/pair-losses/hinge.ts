/**
 * Normalised hinge of SLiC-HF (Zhao et al., arXiv:2305.10425; RSO, arXiv:2309.06657): max(0, 1 - βΔ). A constant pull until the
 * margin is 1/β, then none.
 */
import { maximum, mul, sub } from "../../engine/ops/elementwise.ts";
import type { PairLoss } from "./pair-loss.ts";

export const hinge: PairLoss = {
  id: "hinge",
  difference: true,
  loss: ({ chosen, rejected }, { beta }) => maximum(sub(1, mul(beta, sub(chosen.score, rejected.score))), 0),
};
