/**
 * Simple Preference Optimization (Meng et al., arXiv:2405.14734, Eq. 6): the average log-probability of a completion is its
 * reward, and the chosen one must lead by a margin γ. There is no reference model; nothing but the learning rate bounds how far the
 * policy moves. Each token of a pair gets the same pull whatever the length.
 */
import { z } from "zod";
import { add, div, maximum, mul, neg, softplus, sub } from "../engine/ops/elementwise.ts";
import { objective } from "./objective.ts";
import { nonNegative, oneOf, positive, within } from "./options.ts";
import { smoothed } from "./pair-losses/smoothed.ts";
import type { Completion } from "./scores.ts";

export const simpo = objective({
  id: "simpo",
  record: "pair",
  options: {
    beta: positive(2),
    /** γ/β, 0.25 where neither is given. */
    gammaBetaRatio: z.number().min(0).optional(),
    /** γ itself. */
    simpoGamma: z.number().min(0).optional(),
    lossType: oneOf(["sigmoid", "hinge"], "sigmoid"),
    labelSmoothing: within(0, 0.5, 0),
    /** Weight of the chosen completion's token-mean cross-entropy. */
    sftWeight: nonNegative(0),
  },
  check: (o) =>
    o.gammaBetaRatio !== undefined && o.simpoGamma !== undefined
      ? ["simpoGamma", "gammaBetaRatio = simpoGamma / beta says the same; give one of them"]
      : undefined,
  loss(
    { chosen, rejected },
    { beta, gammaBetaRatio, simpoGamma, lossType, labelSmoothing, sftWeight },
    batch,
  ) {
    const gamma = simpoGamma ?? beta * (gammaBetaRatio ?? 0.25);
    const lead = sub(mul(beta, sub(average(chosen), average(rejected))), gamma); // z = β(p̄_w - p̄_l) - γ
    const preference =
      lossType === "hinge"
        ? maximum(sub(1, lead), 0)
        : smoothed(1 - labelSmoothing, softplus(neg(lead)), softplus(lead));
    if (sftWeight === 0) return preference;
    const nll = mul(neg(chosen.policy.logp), div(batch.size, batch.tokens("chosen")));
    return add(preference, mul(sftWeight, nll));
  },
  rewards: ({ chosen, rejected }, { beta }) => ({
    chosen: mul(beta, average(chosen)),
    rejected: mul(beta, average(rejected)),
  }),
});

/** p̄, the mean log-probability of a completion's tokens: [records]. */
const average = (c: Completion) => div(c.policy.logp, c.length);
