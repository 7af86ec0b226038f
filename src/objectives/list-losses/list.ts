/**
 * Lists as vectors: the completions of all lists of a batch stand in one vector, and matrices over pairs of them say which belong
 * together. What ranks and labels decide carries no gradient.
 */
import { add, greater, mul, stopGradient, sub, toFloat } from "../../engine/ops/elementwise.ts";
import { sum } from "../../engine/ops/reduce.ts";
import { reshape } from "../../engine/ops/shape.ts";
import { type Tensor, dim } from "../../engine/tensor.ts";
import type { Completions } from "../scores.ts";

/** A vector [units] against itself: column i, row j. [units, 1] and [1, others] */
export function crossed(values: Tensor): readonly [column: Tensor, row: Tensor] {
  const [units] = values.shape;
  const others = dim(`other ${units.name}`, units.size);
  return [reshape(values, [units, dim(others.name, 1)]), reshape(values, [dim(units.name, 1), others])];
}

/** v_i - v_j: [units, others] */
export function differences(values: Tensor): Tensor {
  const [column, row] = crossed(values);
  return sub(column, row);
}

/** Sums over j: [units, others] → [units] */
export const overOthers = (matrix: Tensor): Tensor => sum(matrix, matrix.shape[1].name);

/** What label decides the order of a list's completions; equal values in the order of `places`. */
export interface Ranking {
  /** Labels ψ, constants: [units] */
  readonly labels: Tensor;
  /** 1 where j stands at i's place or behind it in the list of i, ordered by label, best first: [units, others]. */
  readonly notBefore: Tensor;
  /** 1 where i and j belong to one list and ψ_i > ψ_j: [units, others]. */
  readonly better: Tensor;
  readonly completions: Completions;
}

/** The completions of each list in the order of their scores. */
export function rankedBy(completions: Completions, ties: "order" | "random"): Ranking {
  const labels = completions.value("score");
  const places = completions.places(ties);
  const same = completions.sameRecord;
  return {
    labels,
    completions,
    better: mul(same, toFloat(greater(...crossed(labels)))),
    notBefore: mul(same, sub(1, before(labels, places))),
  };
}

/** 1 where j stands before i: a larger value, or an equal one (closer than `within`) and an earlier place. [units, others] */
function before(values: Tensor, places: Tensor, within = 0): Tensor {
  const [vi, vj] = crossed(values);
  const [pi, pj] = crossed(places);
  const larger = toFloat(greater(sub(vj, vi), within));
  const equal = sub(1, add(larger, toFloat(greater(sub(vi, vj), within))));
  return add(larger, mul(equal, toFloat(greater(pi, pj))));
}

/**
 * Scores closer than this are equal. At the start of a run all are 0, but policy and reference are rounded each in its own way: without it
 * rounding would decide the order, where ties are to be broken at random.
 */
export const scoreRounding = 1e-4;

/** τ(i), the rank of each completion in its list by descending value, best 1, a constant: [units]. Values closer than `within` are equal. */
export function ranksOf(
  completions: Completions,
  values: Tensor,
  ties: "order" | "random",
  within = 0,
): Tensor {
  const places = completions.places(ties);
  const ahead = mul(completions.sameRecord, before(stopGradient(values), places, within));
  return stopGradient(add(1, overOthers(ahead)));
}
