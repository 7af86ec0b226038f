/**
 * Direct Preference Optimization (Rafailov et al., arXiv:2305.18290, Eq. 7), with label smoothing after Mitchell's note
 * "A note on DPO with noisy preferences" (2023, Eq. 3). Raises the log-ratio of the chosen completion over that of the
 * rejected one, hardest where the implicit reward orders the pair wrongly, not at all once it is sure.
 */
import { add, div, mul, neg, softplus, sub } from "../engine/ops/elementwise.ts";
import type { Tensor } from "../engine/tensor.ts";
import { objective } from "./objective.ts";
import { flag, positive, within } from "./options.ts";
import type { Completion, Scores } from "./scores.ts";

interface RatioOptions {
  /** Every reference log-probability is 0. */
  readonly referenceFree: boolean;
  /** Means over the tokens instead of sums. */
  readonly averageLogProb: boolean;
}

export const dpo = objective({
  id: "dpo",
  aliases: ["sigmoid"],
  record: "pair",
  options: {
    beta: positive(0.1),
    labelSmoothing: within(0, 0.5, 0),
    referenceFree: flag(false),
    averageLogProb: flag(false),
  },
  loss(pair, { beta, labelSmoothing, ...ratio }) {
    // βΔ = β(ρ_w - ρ_l)
    const margin = mul(beta, sub(logRatio(pair.chosen, ratio), logRatio(pair.rejected, ratio)));
    return smoothed(pair.field("chosenProb", 1 - labelSmoothing), softplus(neg(margin)), softplus(margin));
  },
  rewards: ({ chosen, rejected }, { beta, ...ratio }) => ({
    chosen: mul(beta, logRatio(chosen, ratio)),
    rejected: mul(beta, logRatio(rejected, ratio)),
  }),
});

/** ρ = log π(y) - log π_ref(y): [records] */
function logRatio(completion: Completion, { referenceFree, averageLogProb }: RatioOptions): Tensor {
  const logp = (s: Scores) => (averageLogProb ? div(s.logp, completion.length) : s.logp);
  return referenceFree ? logp(completion.policy) : sub(logp(completion.policy), logp(completion.reference));
}

/** p a + (1 - p) b: the expected loss when the label is right with probability p. */
function smoothed(p: Tensor | number, a: Tensor, b: Tensor): Tensor {
  if (p === 1) return a;
  return add(mul(p, a), mul(typeof p === "number" ? 1 - p : sub(1, p), b));
}
