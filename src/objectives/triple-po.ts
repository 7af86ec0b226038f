/**
 * Triple Preference Optimization (Saeidi et al., arXiv:2405.16681): one stage instead of SFT followed by DPO. Cross-entropy on a
 * gold answer, pooled over the batch's gold tokens as in the authors' code, plus a preference between two others without a
 * reference. `tpo-l` compares average log-probabilities and asks for a margin γ. With tpoAlpha 0 no gold answer is needed.
 */
import { add, div, mul, neg } from "../engine/ops/elementwise.ts";
import { objective } from "./objective.ts";
import { nonNegative, oneOf, positive, within } from "./options.ts";
import { pairRewards } from "./log-ratio.ts";
import { comparedBy, preferences } from "./without-reference.ts";

/** Which preference each `lossType` is. */
const byLossType = { sigmoid: "sigmoid", hinge: "hinge", ipo: "ipo", "tpo-l": "margin" } as const;

export const triplePo = objective({
  id: "triple-po",
  record: "triple",
  options: {
    lossType: oneOf(["sigmoid", "hinge", "ipo", "tpo-l"], "sigmoid"),
    beta: positive(0.01),
    /** Weight of the gold answer's cross-entropy. */
    tpoAlpha: nonNegative(1),
    tpoLGamma: nonNegative(0.5),
    labelSmoothing: within(0, 0.5, 0),
  },
  loss(record, { lossType, tpoAlpha, tpoLGamma: gamma, ...setting }, batch) {
    const preference = preferences[byLossType[lossType]](record.chosen, record.rejected, {
      ...setting,
      gamma,
    });
    if (tpoAlpha === 0) return preference;
    const nll = mul(neg(record.gold.policy.logp), div(batch.size, batch.tokens("gold")));
    return add(preference, mul(tpoAlpha, nll));
  },
  rewards: (record, { lossType, beta }) => pairRewards(record, beta, comparedBy[byLossType[lossType]]),
});
