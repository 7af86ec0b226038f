/** What is logged of ranked lists: how well the current scores order them. */
import { div, greater, mul, sub, toFloat } from "../../engine/ops/elementwise.ts";
import type { Tensor } from "../../engine/tensor.ts";
import type { Completions } from "../scores.ts";
import { crossed, overOthers, rankedBy, ranksOf } from "./list.ts";

/** Mean score, scores of the best and worst labelled completion, and the share of ordered pairs that scores order rightly: [records]. */
export function listMetrics(completions: Completions, scores: Tensor): Record<string, Tensor> {
  const { better, labels } = rankedBy(completions, "order");
  const ranks = ranksOf(completions, labels, "order");
  const size = completions.share(completions.count);
  const first = sub(1, toFloat(greater(ranks, 1)));
  const last = sub(1, toFloat(greater(size, ranks)));
  const pairs = completions.total(overOthers(better));
  const right = completions.total(overOthers(mul(better, toFloat(greater(...crossed(scores))))));
  const some = pairs.graph.node("Max", [pairs, pairs.graph.scalar(1)], { shape: pairs.shape });
  return {
    "rewards/mean": div(completions.total(scores), completions.count),
    "rewards/best": completions.total(mul(first, scores)),
    "rewards/worst": completions.total(mul(last, scores)),
    "rewards/accuracies": div(right, some),
  };
}
