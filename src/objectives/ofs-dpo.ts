/**
 * Online Fast-Slow chasing DPO (Qi et al., arXiv:2406.05534): two policies learn the same pairs at different rates, and a term between
 * them pulls both margins up as long as the slow one keeps close, so that the gradient does not vanish as DPO's does. Each sees the
 * other as a constant; without that the term would cancel.
 */
import { z } from "zod";
import { add, mul, maximum, minimum, neg, softplus, stopGradient, sub } from "../engine/ops/elementwise.ts";
import type { Tensor } from "../engine/tensor.ts";
import { pairRewards } from "./log-ratio.ts";
import type { RecordView } from "./definition.ts";
import { objective } from "./objective.ts";
import { nonNegative, positive } from "./options.ts";

interface Setting {
  readonly beta: number;
  readonly alpha: number;
  readonly marginClamp?: number;
}

/** m = β(ρ_w - ρ_l) of one of the two policies. */
const marginOf = ({ chosen, rejected }: RecordView<"pair">, who: "policy" | "slow", beta: number): Tensor =>
  mul(
    beta,
    sub(sub(chosen[who].logp, chosen.reference.logp), sub(rejected[who].logp, rejected.reference.logp)),
  );

/** The three logistic losses, margins clamped inside where that is asked for. */
function parts(pair: RecordView<"pair">, { beta, marginClamp: c }: Setting) {
  const logistic = (m: Tensor) => softplus(neg(c === undefined ? m : minimum(maximum(m, -c), c)));
  const [fast, slow] = [marginOf(pair, "policy", beta), marginOf(pair, "slow", beta)];
  return {
    fast: logistic(fast),
    slow: logistic(slow),
    /** -log σ(m_F - m_S) with one of the two held still (Eq. 6). */
    chase: (still: "fast" | "slow") =>
      logistic(still === "slow" ? sub(fast, stopGradient(slow)) : sub(stopGradient(fast), slow)),
  };
}

export const ofsDpo = objective({
  id: "ofs-dpo",
  record: "pair",
  options: {
    beta: positive(0.1),
    /** Weight of the chasing term. */
    alpha: nonNegative(0.1),
    /** Rate of the slow policy, as a multiple of the fast one's. */
    slowLrRatio: z.number().gt(0).max(1).default(0.3),
    marginClamp: z.number().positive().optional(),
  },
  companions: ({ slowLrRatio }) => ({ slow: { rate: slowLrRatio } }),
  /** L_F + L_S with L_F = DPO(F) + α L_FS(F, sg S) and L_S = DPO(S) - α L_FS(sg F, S) (Eqs. 3-4). */
  loss(pair, o) {
    const { fast, slow, chase } = parts(pair, o);
    if (o.alpha === 0) return add(fast, slow);
    return add(add(fast, slow), mul(o.alpha, sub(chase("slow"), chase("fast"))));
  },
  rewards: (pair, { beta }) => pairRewards(pair, beta),
  metrics(pair, o) {
    const { fast, slow, chase } = parts(pair, o);
    const between = chase("slow");
    return {
      "loss/fast": add(fast, mul(o.alpha, between)),
      "loss/slow": sub(slow, mul(o.alpha, between)),
      "loss/chase": between,
      "margins/fast": marginOf(pair, "policy", o.beta),
      "margins/slow": marginOf(pair, "slow", o.beta),
    };
  },
});
