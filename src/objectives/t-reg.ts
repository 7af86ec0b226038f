/**
 * Token-level Reward Regularization (Zhou et al., arXiv:2412.02685): DPO or SimPO plus a log-likelihood weighted token by token with
 * given rewards r̂, gated by the weight w that stands in the preference's own gradient. In effect each token is pulled with weight
 * 1 ± α r̂. That w carries no gradient, and the SimPO form, are our reading.
 */
import { add, div, mul, neg, sigmoid, softplus, stopGradient, sub } from "../engine/ops/elementwise.ts";
import type { Tensor } from "../engine/tensor.ts";
import { averageLogp, logRatio, pairRewards } from "./log-ratio.ts";
import { objective } from "./objective.ts";
import { nonNegative, oneOf } from "./options.ts";
import type { Completion } from "./scores.ts";
import { marginOptions, simpoMargin } from "./simpo-margin.ts";

export const tReg = objective({
  id: "t-reg",
  record: "pair",
  options: {
    base: oneOf(["dpo", "simpo"], "dpo"),
    ...marginOptions,
    regWeight: nonNegative(0.25),
    gate: oneOf(["dynamic", "static"], "dynamic"),
    regTarget: oneOf(["both", "chosenSft"], "both"),
  },
  check: simpoMargin.check,
  loss({ chosen, rejected }, o) {
    const simpo = o.base === "simpo";
    const beta = o.beta ?? (simpo ? 2 : 0.1);
    const score = simpo ? averageLogp : logRatio;
    const gamma = simpo ? simpoMargin.of(o, beta) : 0;
    const lead = sub(mul(beta, sub(score(chosen), score(rejected))), gamma);
    const preference = softplus(neg(lead));
    if (o.regWeight === 0) return preference;
    // -Σ_t (β or β/|y|) r̂_t log π(y_t)
    const regulariser = (c: Completion, rewards: Tensor | number): Tensor => {
      const agreement = c.sum(mul(rewards, c.policy.tokenLogps));
      return mul(-beta, simpo ? div(agreement, c.length) : agreement);
    };
    const pulls =
      o.regTarget === "chosenSft"
        ? regulariser(chosen, 1)
        : add(regulariser(chosen, chosen.tokenRewards), regulariser(rejected, rejected.tokenRewards));
    const gated = o.gate === "static" ? pulls : mul(stopGradient(sigmoid(neg(lead))), pulls);
    return add(preference, mul(o.regWeight, gated));
  },
  rewards: (pair, o) =>
    o.base === "simpo" ? pairRewards(pair, o.beta ?? 2, averageLogp) : pairRewards(pair, o.beta ?? 0.1),
});
