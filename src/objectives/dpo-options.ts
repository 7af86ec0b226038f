/** Options that all losses of the DPO family have in common, and the combinations of them that make no sense. */
import { z } from "zod";
import type { Options } from "./definition.ts";
import { type Divergence, divergences } from "./f-divergence.ts";
import { flag, nonNegative, oneOf, positive } from "./options.ts";
import type { PairLoss } from "./pair-losses/pair-loss.ts";

export const common = {
  /** Strength of the tie to the reference. */
  beta: positive(0.1),
  /** ε, the probability that a label is wrong; what it may be depends on the loss. */
  labelSmoothing: z.number().min(0).lt(1).optional(),
  /** Every reference log-probability is 0. */
  referenceFree: flag(false),
  /** Means over the tokens instead of sums. */
  averageLogProb: flag(false),
  ipoAverage: flag(true),
  discopopTau: positive(0.05),
  /** Weight of the chosen completion's token-mean cross-entropy, added to the loss. */
  rpoAlpha: nonNegative(0),
  /** Weight of the tokens beyond the length of the shorter completion. */
  ldAlpha: z.number().min(0).max(1).default(1),
  fDivergenceType: oneOf(Object.keys(divergences) as [Divergence, ...Divergence[]], "reverseKl"),
  /** α of the α-divergence as the paper has it, and as TRL does (1 - α); one of them. */
  fAlpha: z.number().min(0).max(1).optional(),
  fAlphaDivergenceCoef: z.number().min(0).max(1).optional(),
  fExpClamp: positive(80),
  /** Weight each pair by how likely the policy is to write it, at most 1 where clamped. */
  useWeighting: flag(false),
  wpoClamp: flag(true),
  /** δ of BCO: none, or the mean reward over all batches so far. */
  rewardShift: oneOf(["none", "running"], "none"),
  /** Every so many steps reference ← mixup · policy + (1 - mixup) · reference. */
  syncRefModel: flag(false),
  refModelSyncSteps: z.number().int().positive().default(512),
  refModelMixupAlpha: z.number().gt(0).max(1).default(0.6),
};
/** Several losses of the family at once. */
export const mixture = {
  lossType: z.union([z.string(), z.array(z.string()).min(1)]).default("sigmoid"),
  /** Factor of each loss of a list; 1 where not given. */
  lossWeights: z.array(z.number()).optional(),
};

export type Common = Options<typeof common>;

/** Options that are allowed and do nothing with these losses. */
export function warningsOf(o: Common, losses: readonly PairLoss[]): string[] {
  const deaf = losses.filter((l) => !l.smoothing).map((l) => l.id);
  return o.labelSmoothing !== undefined && o.labelSmoothing > 0 && deaf.length > 0
    ? [`option labelSmoothing has no effect on ${deaf.join(", ")}`]
    : [];
}

/** What no single option says: the name of the one that is wrong, and why. */
export function checkCommon(o: Common, losses: readonly PairLoss[]): readonly [string, string] | undefined {
  const epsilon = o.labelSmoothing;
  for (const { id, smoothing } of losses) {
    if (epsilon === undefined || !smoothing) continue;
    if (epsilon < smoothing.least || epsilon >= smoothing.below) {
      return [
        "labelSmoothing",
        `${id} needs ${smoothing.least > 0 ? "more than 0" : "at least 0"} and less than ${smoothing.below}`,
      ];
    }
  }
  if (o.useWeighting && losses.some((l) => l.ranked))
    return [
      "useWeighting",
      "losses of aot belong to ranks of the batch and not to pairs, which cannot be weighted",
    ];
  if (o.rewardShift !== "none" && !losses.some((l) => l.shifts))
    return ["rewardShift", "only bco-pair shifts rewards"];
  if (o.referenceFree && o.fDivergenceType !== "reverseKl")
    return ["referenceFree", "other divergences than reverseKl mean nothing without a reference"];
  if (o.referenceFree && o.syncRefModel)
    return ["syncRefModel", "there is no reference to follow the policy"];
  if (o.fAlpha !== undefined && o.fAlphaDivergenceCoef !== undefined)
    return ["fAlpha", "fAlphaDivergenceCoef = 1 - fAlpha says the same; give one of them"];
  const absolute = o.fDivergenceType === "reverseKl" ? undefined : losses.find((l) => !l.difference);
  if (absolute)
    return [
      "fDivergenceType",
      `${absolute.id} uses rewards by themselves, and only differences of them mean something under another divergence`,
    ];
  return undefined;
}
