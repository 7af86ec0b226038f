/**
 * The DPO family: pair losses on log-ratios to a reference, with common options and modifiers. `dpo` takes any of them, or a
 * weighted mixture, as `lossType`; each also is an objective of its own name. Modifiers: reference-free and averaged log-ratios,
 * length desensitisation (LD-DPO, Liu et al., arXiv:2409.06411), an NLL term (RPO, Pang et al., arXiv:2404.19733), weights by how likely
 * the policy is to write such pairs itself (WPO, Zhou et al., arXiv:2406.11827), a reference that follows the policy (TR-DPO,
 * arXiv:2404.09656), f-divergences.
 */
import { add, mul } from "../engine/ops/elementwise.ts";
import type { Tensor } from "../engine/tensor.ts";
import type { Companions, ObjectiveFamily, Options, RecordView } from "./definition.ts";
import { type Common, checkCommon, common, mixture, warningsOf } from "./dpo-options.ts";
import { objective } from "./objective.ts";
import { chosenNll } from "./pair-losses/chosen-nll.ts";
import type { PairLoss } from "./pair-losses/pair-loss.ts";
import { pairLossNamed, pairLosses } from "./pair-losses/table.ts";
import { fMetrics, rewards, sideOf, wpoWeight } from "./pair-sides.ts";
import type { BatchView } from "./scores.ts";

/** The objective that takes every loss of the family by `lossType`. */
export function mixedPairObjective(id: string, aliases: readonly string[]): ObjectiveFamily {
  const namesOf = ({ lossType }: Options<typeof mixture>) => [lossType].flat();
  const lossesOf = (o: Options<typeof mixture>) => namesOf(o).flatMap((name) => pairLossNamed(name) ?? []);
  return objective({
    id,
    aliases,
    record: "pair",
    options: { ...common, ...mixture },
    check(o) {
      const unknown = namesOf(o).find((name) => !pairLossNamed(name));
      if (unknown !== undefined)
        return [
          "lossType",
          `there is no loss "${unknown}" here; known: ${pairLosses.map((l) => l.id).join(", ")}`,
        ];
      if (o.lossWeights && o.lossWeights.length !== namesOf(o).length)
        return ["lossWeights", "it must have one number for each loss"];
      return checkCommon(o, lossesOf(o));
    },
    ...shared<Common & Options<typeof mixture>>(lossesOf),
    loss: (pair, o, batch) =>
      pairLoss(
        pair,
        o,
        batch,
        lossesOf(o).map((loss, k) => ({ loss, weight: o.lossWeights?.[k] ?? 1 })),
      ),
  });
}

/** One loss of the family under its own name. */
export function pairObjective(loss: PairLoss): ObjectiveFamily {
  return objective({
    id: loss.id,
    aliases: loss.aliases,
    record: "pair",
    options: common,
    ...shared<Common>(() => [loss]),
    check: (o) => checkCommon(o, [loss]),
    loss: (pair, o, batch) => pairLoss(pair, o, batch, [{ loss, weight: 1 }]),
  });
}

/** What all objectives of the family have in common, given the losses that options ask for. */
function shared<O extends Common>(lossesOf: (o: O) => readonly PairLoss[]) {
  return {
    coupled: (o: O) => lossesOf(o).some((loss) => isCoupled(loss, o)),
    leastRecords: (o: O) => (lossesOf(o).some((loss) => loss.coupled) ? 2 : 1),
    unweighted: (o: O) => lossesOf(o).some((loss) => loss.ranked),
    companions: (o: O): Companions =>
      o.syncRefModel ? { syncReference: { every: o.refModelSyncSteps, mix: o.refModelMixupAlpha } } : {},
    warnings: (o: O) => warningsOf(o, lossesOf(o)),
    rewards,
    metrics: fMetrics,
  };
}

/** Whether a pair's loss depends on the other pairs of its batch. */
const isCoupled = (loss: PairLoss, o: Common) =>
  (loss.coupled ?? false) || (loss.shifts === true && o.rewardShift === "running");

function pairLoss(
  pair: RecordView<"pair">,
  o: Common,
  batch: BatchView,
  losses: readonly { readonly loss: PairLoss; readonly weight: number }[],
): Tensor {
  const seen = {
    chosen: sideOf(pair, "chosen", o, batch),
    rejected: sideOf(pair, "rejected", o, batch),
    get rightness() {
      return pair.field("chosenProb", 1 - (o.labelSmoothing ?? 0));
    },
    shift: (rewards: Tensor) =>
      o.rewardShift === "running" ? batch.runningMean("rewardShift", rewards, "step") : 0,
  };
  const likelihood = o.useWeighting ? wpoWeight(pair, o.wpoClamp) : undefined;
  const parts = losses.map(({ loss, weight }) => {
    const own = loss.loss(seen, { ...o, labelSmoothing: o.labelSmoothing });
    // Cross-entropy has no pair to be weighted.
    const weighed = likelihood && loss !== chosenNll ? mul(own, likelihood) : own;
    return weight === 1 ? weighed : mul(weight, weighed);
  });
  if (o.rpoAlpha > 0) parts.push(mul(o.rpoAlpha, seen.chosen.nll));
  return parts.reduce((a, b) => add(a, b));
}
