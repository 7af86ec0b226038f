/** Comparing two distributions by their order: values of rank k against values of rank k, each term given to the record it came from. */
import { argsort, gatherRows } from "../../engine/ops/indexing.ts";
import { sub, toFloat } from "../../engine/ops/elementwise.ts";
import type { Tensor } from "../../engine/tensor.ts";

/**
 * loss(sort(a)_k - sort(b)_k), [records]: the k-th term stands at the record whose a is the k-th smallest. Equal values keep the
 * order of the batch.
 */
export function byRank(a: Tensor, b: Tensor, loss: (difference: Tensor) => Tensor): Tensor {
  const order = argsort(a);
  const terms = loss(sub(gatherRows(a, order), gatherRows(b, argsort(b))));
  const rankOfRecord = argsort(toFloat(order)); // the inverse of a permutation sorts it
  return gatherRows(terms, rankOfRecord);
}
