/** Expected loss under an uncertain label: p a + (1 - p) b (cDPO, Mitchell's note on noisy preferences, 2023, Eq. 3). */
import { add, mul, sub } from "../../engine/ops/elementwise.ts";
import type { Tensor } from "../../engine/tensor.ts";

/** `right` where the label is right with probability p, else `wrong`; p = 1 leaves `right` alone. */
export function smoothed(p: Tensor | number, right: Tensor, wrong: Tensor): Tensor {
  if (p === 1) return right;
  return add(mul(p, right), mul(typeof p === "number" ? 1 - p : sub(1, p), wrong));
}
