/**
 * The scores of f-DPO (Wang et al., arXiv:2309.16240): replacing the reverse KL behind DPO by another divergence replaces the
 * log-ratio ρ by s(ρ) = f'(e^ρ), constants dropped. All but reverse KL push less on what has gained mass and more on what lost it.
 */
import { add, exp, minimum, mul, neg, softplus } from "../engine/ops/elementwise.ts";
import type { Tensor } from "../engine/tensor.ts";

export interface DivergenceOptions {
  /** α of the α-divergence, 0 (reverse KL) to 1 (forward KL). */
  readonly alpha: number;
  /** Upper bound of the exponents -ρ and -αρ. */
  readonly clamp: number;
}

/** s(ρ) by the divergence's name. */
export const divergences = {
  reverseKl: (ratio: Tensor) => ratio,
  /** -e^-ρ */
  forwardKl: (ratio: Tensor, { clamp }: DivergenceOptions) => neg(exp(minimum(neg(ratio), clamp))),
  /** log 2 + log σ(ρ) */
  jsDivergence: (ratio: Tensor) => add(Math.LN2, neg(softplus(neg(ratio)))),
  /** -e^(-αρ) / α; its limits are the first two */
  alphaDivergence: (ratio: Tensor, { alpha, clamp }: DivergenceOptions) =>
    alpha === 0 ? ratio : mul(-1 / alpha, exp(minimum(mul(-alpha, ratio), clamp))),
} as const satisfies Record<string, (ratio: Tensor, options: DivergenceOptions) => Tensor>;

export type Divergence = keyof typeof divergences;
