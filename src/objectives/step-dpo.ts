/**
 * Step-DPO (Lai et al., arXiv:2406.18629, Eq. 2): DPO on one reasoning step, the right next one against the first wrong one, both
 * after the same correct steps. What the two share cancels, so a shared prefix in both completions changes nothing; no end token
 * belongs to a step that is not the last.
 */
import { mul, neg, softplus, sub } from "../engine/ops/elementwise.ts";
import { logRatio, pairRewards } from "./log-ratio.ts";
import { objective } from "./objective.ts";
import { flag, positive } from "./options.ts";

export const stepDpo = objective({
  id: "step-dpo",
  record: "pair",
  options: {
    beta: positive(0.5),
    /** End a step that holds the final answer in an end token. */
    eosOnFinalStep: flag(false),
  },
  rows: ({ eosOnFinalStep }) => ({ endOnFinalStep: eosOnFinalStep }),
  // softplus(-β [ρ(s_w) - ρ(s_l)]), ρ summed over the step's tokens
  loss: ({ chosen, rejected }, { beta }) =>
    softplus(neg(mul(beta, sub(logRatio(chosen), logRatio(rejected))))),
  rewards: (pair, { beta }) => pairRewards(pair, beta),
});
