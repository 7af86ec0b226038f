/**
 * The scores of f-DPO (Wang et al., arXiv:2309.16240): replacing the reverse KL behind DPO by another divergence replaces the
 * log-ratio ρ by s(ρ) = f'(e^ρ), constants dropped. All but reverse KL push less on what has gained mass and more on what lost it.
 */
import { add, exp, expm1, minimum, mul, neg, softplus } from "../engine/ops/elementwise.ts";
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
  /** -e^(-αρ) / α; its limits are the first two. Where α is tiny (1 - e^(-αρ)) / α, so that differences do not cancel. */
  alphaDivergence(ratio: Tensor, { alpha, clamp }: DivergenceOptions) {
    if (alpha === 0) return ratio;
    const exponent = minimum(mul(-alpha, ratio), clamp);
    return mul(-1 / alpha, alpha < 1e-3 ? expm1(exponent) : exp(exponent));
  },
} as const satisfies Record<string, (ratio: Tensor, options: DivergenceOptions) => Tensor>;

export type Divergence = keyof typeof divergences;
