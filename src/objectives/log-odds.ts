/**
 * Log-odds of average token probabilities (Hong et al., arXiv:2403.07691, Eq. 4 and 6): log(e^p̄ / (1 - e^p̄)), p̄ the mean
 * log-probability of a completion's tokens.
 */
import { div, exp, expm1, greater, log, minimum, mul, neg, sub, where } from "../engine/ops/elementwise.ts";
import type { Tensor } from "../engine/tensor.ts";
import { averageLogp } from "./log-ratio.ts";
import type { Completion } from "./scores.ts";

/** Log-odds of the first completion less those of the second: [units] */
export function logOdds(first: Completion, second: Completion): Tensor {
  const [w, l] = [first, second].map((c) => minimum(averageLogp(c), -1e-6)); // a certain completion has no odds
  return sub(sub(w, l), sub(log1mExp(w), log1mExp(l)));
}

/**
 * log(1 - e^x) for x < 0 (Mächler, 2012): log1p(-e^x) below -log 2, log(-expm1(x)) above. Its derivative -1/expm1(-x) is
 * written by hand: differentiating both branches gives NaN near 0.
 */
function log1mExp(x: Tensor): Tensor {
  const { graph } = x;
  const y = graph.untaped(() => log(oneMinusExp(x)));
  return graph.record(y, [x], (dy) => [neg(mul(dy, div(exp(x), oneMinusExp(x))))]);
}

/** 1 - e^x without cancellation near 0. */
function oneMinusExp(x: Tensor): Tensor {
  return where(greater(x, -Math.LN2), neg(expm1(x)), sub(1, exp(x)));
}
