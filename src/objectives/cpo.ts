/**
 * Contrastive Preference Optimization (Xu et al., arXiv:2401.08417): DPO with a uniform reference, held in place by an NLL term on
 * the chosen completion. `lossType: simpo` with its NLL term is CPO-SimPO.
 */
import { add, div, mul, neg } from "../engine/ops/elementwise.ts";
import { objective } from "./objective.ts";
import { nonNegative, oneOf, positive, within } from "./options.ts";
import { pairRewards } from "./log-ratio.ts";
import { comparedBy, preferences } from "./without-reference.ts";

/** Which preference each `lossType` is. */
const byLossType = { sigmoid: "sigmoid", hinge: "hinge", ipo: "ipo", simpo: "margin" } as const;

export const cpo = objective({
  id: "cpo",
  record: "pair",
  options: {
    beta: positive(0.1),
    lossType: oneOf(["sigmoid", "hinge", "ipo", "simpo"], "sigmoid"),
    /** Weight of the chosen completion's token-mean cross-entropy. */
    cpoAlpha: nonNegative(1),
    labelSmoothing: within(0, 0.5, 0),
    simpoGamma: nonNegative(0.5),
  },
  loss({ chosen, rejected }, { lossType, cpoAlpha, simpoGamma: gamma, ...setting }, batch) {
    const preference = preferences[byLossType[lossType]](chosen, rejected, { ...setting, gamma });
    if (cpoAlpha === 0) return preference;
    return add(
      preference,
      mul(cpoAlpha, mul(neg(chosen.policy.logp), div(batch.size, batch.tokens("chosen")))),
    );
  },
  rewards: (pair, { lossType, beta }) => pairRewards(pair, beta, comparedBy[byLossType[lossType]]),
});
