/**
 * Contrastive Preference Optimization (Xu et al., arXiv:2401.08417): DPO with a uniform reference, held in place by an NLL term on
 * the chosen completion. `lossType: simpo` with its NLL term is CPO-SimPO.
 */
import { add, mul } from "../engine/ops/elementwise.ts";
import type { RecordView } from "./definition.ts";
import { objective } from "./objective.ts";
import { nonNegative, oneOf, positive, within } from "./options.ts";
import { pairRewards, pooledNll } from "./log-ratio.ts";
import { type PreferenceSetting, comparedBy, preferences, smoothingWarnings } from "./without-reference.ts";

/** Which preference each `lossType` is. */
const byLossType = { sigmoid: "sigmoid", hinge: "hinge", ipo: "ipo", simpo: "margin" } as const;

type Setting = Omit<PreferenceSetting, "gamma"> & {
  readonly lossType: keyof typeof byLossType;
  readonly simpoGamma: number;
};
const preferenceOf = (
  { chosen, rejected }: RecordView<"pair">,
  { lossType, simpoGamma, ...setting }: Setting,
) => preferences[byLossType[lossType]](chosen, rejected, { ...setting, gamma: simpoGamma });

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
  warnings: ({ labelSmoothing, lossType }) =>
    smoothingWarnings(labelSmoothing, lossType, byLossType[lossType]),
  loss(pair, { cpoAlpha, ...o }, batch) {
    const preference = preferenceOf(pair, o);
    return cpoAlpha === 0
      ? preference
      : add(preference, mul(cpoAlpha, pooledNll(pair.chosen, "chosen", batch)));
  },
  metrics: (pair, { cpoAlpha, ...o }, batch) => ({
    "loss/preference": preferenceOf(pair, o),
    ...(cpoAlpha > 0 && { "loss/nll": pooledNll(pair.chosen, "chosen", batch) }),
  }),
  rewards: (pair, { lossType, beta }) => pairRewards(pair, beta, comparedBy[byLossType[lossType]]),
});
