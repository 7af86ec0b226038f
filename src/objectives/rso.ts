/**
 * The losses of Statistical Rejection Sampling Optimization (Liu et al., arXiv:2309.06657): logistic and hinge losses on the
 * margin of log-ratios or of log-probabilities, with a temperature γ of their own, apart from the sampler's β. `slic` is the
 * original SLiC-HF with its cross-entropy on a gold answer.
 */
import { z } from "zod";
import { greater, maximum, mul, neg, softplus, sub, toFloat } from "../engine/ops/elementwise.ts";
import type { Tensor } from "../engine/tensor.ts";
import { logRatio, pairRewards } from "./log-ratio.ts";
import type { RecordView } from "./definition.ts";
import { objective } from "./objective.ts";
import { nonNegative, oneOf, positive } from "./options.ts";
import type { Scorer } from "./score-source.ts";

interface Setting {
  readonly gamma: number;
  readonly delta: number;
  readonly lambda: number;
}
type Record = RecordView<"triple">;

/** Δ of one model: log π(y_w) - log π(y_l), summed over tokens. */
const difference = ({ chosen, rejected }: Record, scorer: Scorer): Tensor =>
  sub(chosen[scorer].logp, rejected[scorer].logp);
/** γ (Δ_π - Δ_ref) */
const normalised = (r: Record, gamma: number): Tensor =>
  mul(gamma, sub(difference(r, "policy"), difference(r, "reference")));

const losses = {
  /** Eq. 8; DPO when γ = β */
  sigmoidNorm: (r: Record, { gamma }: Setting) => softplus(neg(normalised(r, gamma))),
  /** Eq. 10 */
  hingeNorm: (r: Record, { gamma }: Setting) => maximum(sub(1, normalised(r, gamma)), 0),
  /** Eq. 9; no reference */
  hinge: (r: Record, { gamma }: Setting) => maximum(sub(1, mul(gamma, difference(r, "policy"))), 0),
  /** Eq. 1; max(0, δ - Δ_π) - λ log π(y_gold) */
  slic(r: Record, { delta, lambda }: Setting) {
    const hinge = maximum(sub(delta, difference(r, "policy")), 0);
    return lambda === 0 ? hinge : sub(hinge, mul(lambda, r.gold.policy.logp));
  },
};

export const rso = objective({
  id: "rso",
  record: "triple",
  options: {
    lossType: oneOf(["sigmoidNorm", "hingeNorm", "hinge", "slic"], "sigmoidNorm"),
    lossGamma: positive(0.05),
    /** δ, 1/γ where it is not given. */
    slicDelta: z.number().positive().optional(),
    /** λ; above 0 the records need a gold answer. */
    slicLambda: nonNegative(0),
  },
  loss: (record, { lossType, lossGamma: gamma, slicDelta, slicLambda: lambda }) =>
    losses[lossType](record, { gamma, delta: slicDelta ?? 1 / gamma, lambda }),
  /** The share of pairs that a hinge still pulls. */
  metrics(record, { lossType, lossGamma: gamma, slicDelta }): { [name: string]: Tensor } {
    if (lossType === "sigmoidNorm") return {};
    const setting = { gamma, delta: slicDelta ?? 1 / gamma, lambda: 0 };
    return { "hinge/active": toFloat(greater(losses[lossType](record, setting), 0)) };
  },
  /** γρ, or γ log π where no reference is touched. */
  rewards: (record, { lossType, lossGamma }) =>
    pairRewards(record, lossGamma, lossType.endsWith("Norm") ? logRatio : (c) => c.policy.logp),
});
