/**
 * Listwise Preference Optimization (Liu et al., arXiv:2402.01878): alignment as learning to rank. Lists of completions with graded labels
 * are ranked by s = βρ; LiPO-λ weighs each pair by what its order is worth in DCG, so that mistakes at the top cost most.
 */
import { z } from "zod";
import { div, mul } from "../engine/ops/elementwise.ts";
import type { Tensor } from "../engine/tensor.ts";
import { rankedBy } from "./list-losses/list.ts";
import { type ListLoss, listLosses } from "./list-losses/losses.ts";
import { listMetrics } from "./list-losses/metrics.ts";
import { logRatio } from "./log-ratio.ts";
import { objective } from "./objective.ts";
import { flag, oneOf, positive } from "./options.ts";
import type { BatchView } from "./scores.ts";

type LossType = keyof typeof listLosses;

export const lipo = objective({
  id: "lipo",
  record: "list",
  options: {
    lossType: oneOf(Object.keys(listLosses) as [LossType, ...LossType[]], "lambda"),
    beta: positive(0.05),
    /** RAX averages pairs over all lists of the batch, the paper sums over each list. */
    lipoReduction: oneOf(["raxPooled", "paperSum"], "raxPooled"),
    lambdaGain: oneOf(["exp2", "const"], "exp2"),
    lambdaDiscount: oneOf(["log", "const"], "log"),
    /** Base of the logarithm of the discount: 2 as in RAX, e as in the paper. */
    lambdaLogBase: z.number().gt(1).optional(),
    lambdaScaleByListSize: z.boolean().optional(),
    lambdaNormalize: flag(false),
    lambdaTopn: z.number().int().positive().optional(),
    rankTieBreak: oneOf(["random", "order"], "random"),
  },
  checkList(scores) {
    if (scores.length < 2) return `it has ${scores.length} completion, and one alone is no ranking`;
    return scores.some(Number.isNaN) ? "its completions have no scores" : undefined;
  },
  loss({ completions }, o, batch) {
    const pooled = o.lipoReduction === "raxPooled";
    const own: ListLoss = listLosses[o.lossType];
    const loss = own.loss(mul(o.beta, logRatio(completions)), rankedBy(completions, o.rankTieBreak), {
      ...o,
      logBase: o.lambdaLogBase ?? (pooled ? 2 : Math.E),
      scaleByListSize: o.lambdaScaleByListSize ?? pooled,
      lambdaTopn: o.lambdaTopn,
      normalizeLabels: !pooled,
    });
    return pooled ? mul(loss, reduction[own.unit](batch)) : loss;
  },
  metrics: ({ completions }, { beta }) => listMetrics(completions, mul(beta, logRatio(completions))),
});

/** Factors that turn sums over lists into shares of a mean over the batch: B / (how many there are). */
const reduction: Record<ListLoss["unit"], (batch: BatchView) => Tensor | number> = {
  pair: (batch) => div(batch.size, atLeastOne(batch.orderedPairs("completions"))),
  list: () => 1,
  item: (batch) => div(batch.size, batch.units("completions")),
};

/** A batch without any ordered pair has nothing to divide. */
const atLeastOne = (x: Tensor): Tensor => x.graph.node("Max", [x, x.graph.scalar(1)], { shape: x.shape });
