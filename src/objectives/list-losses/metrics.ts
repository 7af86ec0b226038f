/** What is logged of ranked lists: how well the current scores order them. */
import { add, div, exp, greater, log, mul, sub, toFloat } from "../../engine/ops/elementwise.ts";
import type { Tensor } from "../../engine/tensor.ts";
import type { Completions } from "../scores.ts";
import { orOne } from "./lambda-weights.ts";
import { crossed, overOthers, rankedBy, ranksOf, scoreRounding } from "./list.ts";

/**
 * Mean score, scores of the best and worst labelled completion, the share of ordered pairs that scores order rightly; whether the highest
 * score is a best labelled one's, Kendall's τ over pairs with different labels, and NDCG with gains 2^ψ - 1 and log2: [records].
 */
export function listMetrics(completions: Completions, scores: Tensor): Record<string, Tensor> {
  const { better, labels } = rankedBy(completions, "order");
  const ranks = ranksOf(completions, labels, "order");
  const size = completions.share(completions.count);
  const first = sub(1, toFloat(greater(ranks, 1)));
  const last = sub(1, toFloat(greater(size, ranks)));
  const pairs = completions.total(overOthers(better));
  const right = completions.total(overOthers(mul(better, toFloat(greater(...crossed(scores))))));
  const wrong = completions.total(overOthers(mul(better, toFloat(greater(...turned(scores))))));
  const byScore = ranksOf(completions, scores, "order", scoreRounding);
  const leader = sub(1, toFloat(greater(byScore, 1)));
  const best = completions.total(mul(first, labels));
  const gains = sub(exp(mul(Math.LN2, labels)), 1);
  const dcg = (by: Tensor) => completions.total(mul(gains, div(Math.LN2, log(add(1, by)))));
  const some = pairs.graph.node("Max", [pairs, pairs.graph.scalar(1)], { shape: pairs.shape });
  return {
    "rewards/mean": div(completions.total(scores), completions.count),
    "rewards/best": completions.total(mul(first, scores)),
    "rewards/worst": completions.total(mul(last, scores)),
    "rewards/accuracies": div(right, some),
    topOne: sub(1, toFloat(greater(best, completions.total(mul(leader, labels))))),
    kendallTau: div(sub(right, wrong), some),
    ndcg: div(dcg(byScore), orOne(dcg(ranks))),
  };
}

/** A vector against itself, the other way round. */
function turned(values: Tensor): readonly [Tensor, Tensor] {
  const [column, row] = crossed(values);
  return [row, column];
}
