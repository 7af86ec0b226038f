/**
 * Odds Ratio Preference Optimization (Hong et al., arXiv:2403.07691): SFT on the chosen completion plus a logistic loss on the
 * log-odds of the two, in one stage and without a reference. Log-odds of the average token probability p̄:
 * log(e^p̄ / (1 - e^p̄)).
 */
import {
  add,
  div,
  exp,
  greater,
  log,
  mul,
  neg,
  softplus,
  stopGradient,
  sub,
  where,
} from "../engine/ops/elementwise.ts";
import type { Tensor } from "../engine/tensor.ts";
import { objective } from "./objective.ts";
import { positive } from "./options.ts";
import type { Completion } from "./scores.ts";

export const orpo = objective({
  id: "orpo",
  record: "pair",
  options: {
    /** λ, the weight of the odds ratio. */
    beta: positive(0.1),
  },
  loss({ chosen, rejected }, { beta }, batch) {
    const [w, l] = [average(chosen), average(rejected)];
    const odds = sub(sub(w, l), sub(log1mExp(w), log1mExp(l)));
    const nll = mul(neg(chosen.policy.logp), div(batch.size, batch.tokens("chosen")));
    return add(nll, mul(beta, softplus(neg(odds))));
  },
  rewards: ({ chosen, rejected }, { beta }) => ({
    chosen: mul(beta, average(chosen)),
    rejected: mul(beta, average(rejected)),
  }),
});

const average = (c: Completion) => div(c.policy.logp, c.length);

/**
 * log(1 - e^x) for x < 0 (Mächler, 2012): log1p(-e^x) below -log 2, log(-expm1(x)) above. Its derivative -1/expm1(-x) is
 * written by hand: differentiating both branches gives NaN near 0.
 */
function log1mExp(x: Tensor): Tensor {
  const { graph } = x;
  const y = graph.untaped(() => log(oneMinusExp(x)));
  return graph.record(y, [x], (dy) => [neg(mul(dy, div(exp(x), oneMinusExp(x))))]);
}

/** 1 - e^x without cancellation near 0: -expm1(x), with expm1(x) = tanh(x/2)(e^x + 1). */
function oneMinusExp(x: Tensor): Tensor {
  const near = neg(mul(tanhOf(mul(0.5, x)), add(exp(x), 1)));
  return stopGradient(where(greater(x, -Math.LN2), near, sub(1, exp(x))));
}

const tanhOf = (x: Tensor): Tensor => x.graph.node("Tanh", [x], { shape: x.shape });
