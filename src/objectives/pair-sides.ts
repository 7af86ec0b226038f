/**
 * The two sides of a pair as the DPO family sees them: log-probabilities under the options that change what that is, log-ratios,
 * scores under an f-divergence, and what is logged of them.
 */
import {
  add,
  div,
  exp,
  greater,
  less,
  minimum,
  mul,
  stopGradient,
  sub,
  toFloat,
} from "../engine/ops/elementwise.ts";
import type { Tensor } from "../engine/tensor.ts";
import type { RecordView } from "./definition.ts";
import type { Common } from "./dpo-options.ts";
import { divergences } from "./f-divergence.ts";
import { pooledNll } from "./log-ratio.ts";
import type { Side } from "./pair-losses/pair-loss.ts";
import type { Scorer } from "./score-source.ts";
import type { BatchView, Completion, Scores } from "./scores.ts";

/** w(y_w) w(y_l), w(y) = exp(1/|y| Σ_t [log p_t - log Σ_v p_v²]), a constant: [records]. */
export function wpoWeight({ chosen, rejected }: RecordView<"pair">, clamp: boolean): Tensor {
  const logWeight = (c: Completion) => div(c.sum(sub(c.policy.tokenLogps, c.policy.collision)), c.length);
  const product = exp(add(logWeight(chosen), logWeight(rejected)));
  return stopGradient(clamp ? minimum(product, 1) : product);
}

/** A completion's quantities, each made when a loss touches it. */
export function sideOf(
  pair: RecordView<"pair">,
  role: "chosen" | "rejected",
  o: Common,
  batch: BatchView,
): Side {
  const completion = pair[role];
  let ratio: Tensor | undefined;
  const side: Side = {
    get ratio() {
      return (ratio ??= logRatio(pair, completion, o));
    },
    get policy() {
      return logp(pair, completion, "policy", o);
    },
    get reference() {
      return o.referenceFree ? mul(0, side.policy) : logp(pair, completion, "reference", o);
    },
    get score() {
      const alpha = o.fAlpha ?? 1 - (o.fAlphaDivergenceCoef ?? 0.5);
      return divergences[o.fDivergenceType](side.ratio, { alpha, clamp: o.fExpClamp });
    },
    get length() {
      return o.averageLogProb ? 1 : completion.length;
    },
    get nll() {
      return pooledNll(completion, role, batch);
    },
  };
  return side;
}

/** ρ = log π(y) - log π_ref(y): [records]. */
function logRatio(pair: RecordView<"pair">, completion: Completion, o: Common): Tensor {
  const policy = logp(pair, completion, "policy", o);
  return o.referenceFree ? policy : sub(policy, logp(pair, completion, "reference", o));
}

/** A completion's log-probability, under the options that change what that is: [records]. */
function logp(pair: RecordView<"pair">, completion: Completion, scorer: Scorer, o: Common): Tensor {
  const scores = completion[scorer];
  const total = o.ldAlpha === 1 ? scores.logp : desensitised(pair, completion, scores, o.ldAlpha);
  return o.averageLogProb ? div(total, completion.length) : total;
}

/** Σ_{t≤m} log p_t + α Σ_{t>m} log p_t, m the length of the shorter completion of the pair. */
function desensitised(
  pair: RecordView<"pair">,
  completion: Completion,
  scores: Scores,
  alpha: number,
): Tensor {
  const shorter = completion.spread(stopGradient(minimum(pair.chosen.length, pair.rejected.length)));
  const inside = toFloat(less(completion.positions, shorter));
  return completion.sum(mul(scores.tokenLogps, add(alpha, mul(1 - alpha, inside))));
}

/** Under another divergence than reverse KL: the scores β s(ρ), and how many of them stand at the exponent's clamp. */
export function fMetrics(pair: RecordView<"pair">, o: Common): Record<string, Tensor> {
  if (o.fDivergenceType === "reverseKl") return {};
  const alpha = o.fAlpha ?? 1 - (o.fAlphaDivergenceCoef ?? 0.5);
  const factor = { forwardKl: 1, alphaDivergence: alpha, jsDivergence: 0 }[o.fDivergenceType];
  const ratio = (c: Completion) => logRatio(pair, c, o);
  const score = (c: Completion) =>
    mul(o.beta, divergences[o.fDivergenceType](ratio(c), { alpha, clamp: o.fExpClamp }));
  const clamped = (c: Completion) => toFloat(greater(mul(-factor, ratio(c)), o.fExpClamp));
  return {
    "fScores/chosen": score(pair.chosen),
    "fScores/rejected": score(pair.rejected),
    ...(factor > 0 && { "ratio/clampFraction": mul(0.5, add(clamped(pair.chosen), clamped(pair.rejected))) }),
  };
}

/** Logged rewards are always βρ, whatever the loss makes of ρ. */
export function rewards(pair: RecordView<"pair">, o: Common): { chosen: Tensor; rejected: Tensor } {
  const reward = (completion: Completion) => mul(o.beta, logRatio(pair, completion, o));
  return { chosen: reward(pair.chosen), rejected: reward(pair.rejected) };
}
