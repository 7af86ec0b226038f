/**
 * ListMLE, the Plackett-Luce likelihood of a ranking: -Σ_k [s_(k) - ln Σ_{j≥k} e^{s_(j)}], summed over the list
 * (Xia et al., 2008; LiPO, arXiv:2402.01878, Eq. 7).
 */
import { add, exp, log, minimum, mul, sub } from "../../engine/ops/elementwise.ts";
import { max } from "../../engine/ops/reduce.ts";
import { reshape } from "../../engine/ops/shape.ts";
import { type Tensor, dim } from "../../engine/tensor.ts";
import { type Ranking, crossed, overOthers } from "./list.ts";

/** The negative log-likelihood of each list: [records]. */
export function listMle(scores: Tensor, { notBefore, completions }: Ranking): Tensor {
  return completions.total(sub(logSumExpWhere(scores, notBefore), scores));
}

/** Far below any score, so that e^ of it is 0. */
const nowhere = -1e30;

/** ln Σ_j m_ij e^{s_j} for a mask m of zeros and ones in which m_ii = 1: [units]. */
export function logSumExpWhere(scores: Tensor, mask: Tensor): Tensor {
  const { graph } = scores;
  const [, row] = crossed(scores);
  const masked = add(mul(mask, row), mul(sub(1, mask), nowhere));
  // The largest of each row is taken out first; it is a constant of the sum.
  const top = graph.untaped(() => {
    const largest = max(masked, masked.shape[1].name);
    return reshape(largest, [masked.shape[0], dim(masked.shape[1].name, 1)]);
  });
  const total = overOthers(mul(mask, exp(sub(masked, top))));
  // Completion slots that nothing fills have an empty mask: their logarithm is taken of 1 instead.
  const empty = graph.untaped(() => sub(1, minimum(overOthers(mask), 1)));
  return add(log(add(total, empty)), reshape(top, [scores.shape[0]]));
}
