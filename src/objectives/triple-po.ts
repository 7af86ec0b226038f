/**
 * Triple Preference Optimization (Saeidi et al., arXiv:2405.16681): one stage instead of SFT followed by DPO. Cross-entropy on a
 * gold answer, pooled over the batch's gold tokens as in the authors' code, plus a preference between two others without a
 * reference. `tpo-l` compares average log-probabilities and asks for a margin γ. With tpoAlpha 0 no gold answer is needed.
 */
import { add, mul } from "../engine/ops/elementwise.ts";
import type { RecordView } from "./definition.ts";
import { objective } from "./objective.ts";
import { nonNegative, oneOf, positive, within } from "./options.ts";
import { pairRewards, pooledNll } from "./log-ratio.ts";
import { type PreferenceSetting, comparedBy, preferences, smoothingWarnings } from "./without-reference.ts";

/** Which preference each `lossType` is. */
const byLossType = { sigmoid: "sigmoid", hinge: "hinge", ipo: "ipo", "tpo-l": "margin" } as const;

type Setting = Omit<PreferenceSetting, "gamma"> & {
  readonly lossType: keyof typeof byLossType;
  readonly tpoLGamma: number;
};
const preferenceOf = (
  { chosen, rejected }: RecordView<"triple">,
  { lossType, tpoLGamma, ...setting }: Setting,
) => preferences[byLossType[lossType]](chosen, rejected, { ...setting, gamma: tpoLGamma });

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
  warnings: ({ labelSmoothing, lossType }) =>
    smoothingWarnings(labelSmoothing, lossType, byLossType[lossType]),
  loss(record, { tpoAlpha, ...o }, batch) {
    const preference = preferenceOf(record, o);
    return tpoAlpha === 0
      ? preference
      : add(preference, mul(tpoAlpha, pooledNll(record.gold, "gold", batch)));
  },
  metrics: (record, { tpoAlpha, ...o }, batch) => ({
    "loss/preference": preferenceOf(record, o),
    ...(tpoAlpha > 0 && { "loss/nllGold": pooledNll(record.gold, "gold", batch) }),
  }),
  rewards: (record, { lossType, beta }) => pairRewards(record, beta, comparedBy[byLossType[lossType]]),
});
