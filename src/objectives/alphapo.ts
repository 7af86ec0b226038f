/**
 * AlphaPO (Gupta et al., arXiv:2501.03884): SimPO whose reward bends the average log-probability, R = (1 - e^(-α p̄)) / α. α > 0
 * makes falling probabilities costlier, α = 0 is SimPO.
 */
import { z } from "zod";
import { div, expm1, mul, neg, softplus, sub } from "../engine/ops/elementwise.ts";
import type { Tensor } from "../engine/tensor.ts";
import { objective } from "./objective.ts";
import { nonNegative, positive, within } from "./options.ts";
import { smoothed } from "./pair-losses/smoothed.ts";
import type { Completion } from "./scores.ts";

export const alphapo = objective({
  id: "alphapo",
  record: "pair",
  options: {
    alpha: z.number().default(0.25),
    beta: positive(2.5),
    simpoGamma: nonNegative(0.1),
    labelSmoothing: within(0, 0.5, 0),
  },
  loss({ chosen, rejected }, { alpha, beta, simpoGamma, labelSmoothing }) {
    const lead = sub(mul(beta, sub(reward(chosen, alpha), reward(rejected, alpha))), simpoGamma);
    return smoothed(1 - labelSmoothing, softplus(neg(lead)), softplus(lead));
  },
  rewards: ({ chosen, rejected }, { alpha, beta }) => ({
    chosen: mul(beta, reward(chosen, alpha)),
    rejected: mul(beta, reward(rejected, alpha)),
  }),
});

/** (1 - e^(-α p̄)) / α, p̄ itself at α = 0; no cancellation where α is tiny: [records]. */
function reward(c: Completion, alpha: number): Tensor {
  const average = div(c.policy.logp, c.length);
  return alpha === 0 ? average : mul(-1 / alpha, expm1(mul(-alpha, average)));
}
