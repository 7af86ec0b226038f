/**
 * Simple Preference Optimization (Meng et al., arXiv:2405.14734, Eq. 6): the average log-probability of a completion is its
 * reward, and the chosen one must lead by a margin γ. There is no reference model; nothing but the learning rate bounds how far the
 * policy moves. Each token of a pair gets the same pull whatever the length.
 */
import { z } from "zod";
import { add, maximum, mul, neg, softplus, sub } from "../engine/ops/elementwise.ts";
import type { Named } from "./definition.ts";
import { averageLogp as average, pooledNll } from "./log-ratio.ts";
import { objective } from "./objective.ts";
import { nonNegative, oneOf, positive, within } from "./options.ts";
import { smoothed } from "./pair-losses/smoothed.ts";

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
    return sftWeight === 0 ? preference : add(preference, mul(sftWeight, pooledNll(chosen, "chosen", batch)));
  },
  warnings: ({ lossType, labelSmoothing }) =>
    lossType === "hinge" && labelSmoothing > 0
      ? ["option labelSmoothing has no effect on lossType hinge"]
      : [],
  metrics: ({ chosen }, { sftWeight }, batch): Named =>
    sftWeight === 0 ? {} : { sft_loss: pooledNll(chosen, "chosen", batch) },
  rewards: ({ chosen, rejected }, { beta }) => ({
    chosen: mul(beta, average(chosen)),
    rejected: mul(beta, average(rejected)),
  }),
});
