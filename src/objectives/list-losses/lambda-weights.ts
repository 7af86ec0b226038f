/**
 * λ-weights: how much the discounted cumulative gain of a list would change if two of its completions swapped places in the order
 * of the current scores (LambdaRank; LiPO, arXiv:2402.01878, Eq. 8). Constants of the loss.
 */
import {
  abs,
  add,
  div,
  exp,
  greater,
  log,
  mul,
  stopGradient,
  sub,
  toFloat,
} from "../../engine/ops/elementwise.ts";
import type { Tensor } from "../../engine/tensor.ts";
import { type Ranking, crossed, differences, ranksOf, scoreRounding } from "./list.ts";

export interface LambdaOptions {
  readonly lambdaGain: "exp2" | "const";
  readonly lambdaDiscount: "log" | "const";
  /** Base of the logarithm in D(τ) = log(1 + τ). */
  readonly logBase: number;
  /** Multiply the discount factor by the length of the list. */
  readonly scaleByListSize: boolean;
  /** Divide gains by the ideal DCG of the list. */
  readonly lambdaNormalize: boolean;
  /** Ranks beyond it count nothing. */
  readonly lambdaTopn: number | undefined;
  readonly rankTieBreak: "order" | "random";
}

/** Δ_ij = |G_i - G_j| · |1/D(τ(i)) - 1/D(τ(j))|: [units, others]; G = 2^ψ - 1. */
export function lambdaWeights(scores: Tensor, ranking: Ranking, o: LambdaOptions): Tensor {
  const { completions, labels } = ranking;
  const discount = (values: Tensor) => {
    const ranks = ranksOf(completions, values, o.rankTieBreak, scoreRounding);
    const inverse = div(Math.log(o.logBase), log(add(1, ranks)));
    // 1/D is 0 beyond the first n
    return o.lambdaTopn === undefined ? inverse : mul(inverse, sub(1, toFloat(greater(ranks, o.lambdaTopn))));
  };
  const parts: Tensor[] = [];
  if (o.lambdaGain === "exp2") {
    const gains = sub(exp(mul(Math.LN2, labels)), 1);
    const ideal = () => completions.share(completions.total(mul(gains, discount(labels))));
    parts.push(abs(differences(o.lambdaNormalize ? div(gains, orOne(ideal())) : gains)));
  }
  if (o.lambdaDiscount === "log") {
    const factor = abs(differences(discount(scores)));
    const [size] = crossed(completions.share(completions.count));
    parts.push(o.scaleByListSize ? mul(factor, size) : factor);
  }
  if (parts.length === 0) return add(mul(0, ranking.better), 1);
  return stopGradient(parts.reduce((a, b) => mul(a, b)));
}

/** x, but 1 where it is 0. */
export function orOne(x: Tensor): Tensor {
  const sign = x.graph.node("Sign", [x], { shape: x.shape });
  return add(x, sub(1, mul(sign, sign)));
}
