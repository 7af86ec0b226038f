/**
 * Token-level Reward Regularization (Zhou et al., arXiv:2412.02685): DPO or SimPO plus a log-likelihood weighted token by token with
 * given rewards r̂, gated by the weight w that stands in the preference's own gradient. In effect each token is pulled with weight
 * 1 ± α r̂. That w carries no gradient, and the SimPO form, are our reading.
 */
import { add, div, mul, neg, sigmoid, softplus, stopGradient, sub } from "../engine/ops/elementwise.ts";
import type { Tensor } from "../engine/tensor.ts";
import type { RecordView } from "./definition.ts";
import { averageLogp, logRatio, pairRewards } from "./log-ratio.ts";
import { objective } from "./objective.ts";
import { nonNegative, oneOf } from "./options.ts";
import type { Completion } from "./scores.ts";
import { type MarginSetting, marginOptions, simpoMargin } from "./simpo-margin.ts";

interface Setting extends MarginSetting {
  readonly base: "dpo" | "simpo";
  readonly gate: "dynamic" | "static";
  readonly regTarget: "both" | "chosenSft";
}

/** The preference, the gate w and what it is multiplied with. Token rewards are touched only where the last is asked for. */
function parts({ chosen, rejected }: RecordView<"pair">, o: Setting) {
  const simpo = o.base === "simpo";
  const beta = o.beta ?? (simpo ? 2 : 0.1);
  const score = simpo ? averageLogp : logRatio;
  const gamma = simpo ? simpoMargin.of(o, beta) : 0;
  const lead = sub(mul(beta, sub(score(chosen), score(rejected))), gamma);
  // -Σ_t (β or β/|y|) r̂_t log π(y_t)
  const regulariser = (c: Completion, rewards: Tensor | number): Tensor => {
    const agreement = c.sum(mul(rewards, c.policy.tokenLogps));
    return mul(-beta, simpo ? div(agreement, c.length) : agreement);
  };
  return {
    preference: softplus(neg(lead)),
    gate: o.gate === "static" ? 1 : stopGradient(sigmoid(neg(lead))),
    pulls: () =>
      o.regTarget === "chosenSft"
        ? regulariser(chosen, 1)
        : add(regulariser(chosen, chosen.tokenRewards), regulariser(rejected, rejected.tokenRewards)),
  };
}

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
  loss(pair, o) {
    const { preference, gate, pulls } = parts(pair, o);
    return o.regWeight === 0 ? preference : add(preference, mul(o.regWeight, mul(gate, pulls())));
  },
  metrics(pair, o) {
    const { preference, gate, pulls } = parts(pair, o);
    const own = { "loss/preference": preference };
    return o.regWeight === 0
      ? own
      : { ...own, "loss/reg": mul(gate, pulls()), ...(typeof gate !== "number" && { "reg/weight": gate }) };
  },
  rewards: (pair, o) =>
    o.base === "simpo" ? pairRewards(pair, o.beta ?? 2, averageLogp) : pairRewards(pair, o.beta ?? 0.1),
});
