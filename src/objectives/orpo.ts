/**
 * Odds Ratio Preference Optimization (Hong et al., arXiv:2403.07691): SFT on the chosen completion plus a logistic loss on the
 * log-odds of the two, in one stage and without a reference.
 */
import { add, div, mul, neg, softplus } from "../engine/ops/elementwise.ts";
import type { Tensor } from "../engine/tensor.ts";
import type { BatchView, Completion } from "./scores.ts";
import { logOdds } from "./log-odds.ts";
import { averageLogp, pairRewards, pooledNll } from "./log-ratio.ts";
import { objective } from "./objective.ts";
import { flag, positive } from "./options.ts";

export const orpo = objective({
  id: "orpo",
  record: "pair",
  options: {
    /** λ, the weight of the odds ratio. */
    beta: positive(0.1),
    /** Learn the prompt's tokens too, as the official code does by default; training only. */
    promptLoss: flag(false),
  },
  loss({ chosen, rejected }, { beta, promptLoss }, batch) {
    const preference = mul(beta, softplus(neg(logOdds(chosen, rejected))));
    return add(nllOf(chosen, promptLoss, batch), preference);
  },
  rewards: (pair, { beta }) => pairRewards(pair, beta, averageLogp),
  metrics: ({ chosen, rejected }, { promptLoss }, batch) => ({
    "loss/nll": nllOf(chosen, promptLoss, batch),
    logOdds: logOdds(chosen, rejected),
  }),
});

/** Mean negative log-likelihood of a token of the chosen answers, with those of their prompts where these count too. */
function nllOf(chosen: Completion, promptLoss: boolean, batch: BatchView): Tensor {
  const prompt = promptLoss ? chosen.prompt : undefined;
  if (!prompt) return pooledNll(chosen, "chosen", batch);
  const tokens = add(batch.tokens("chosen"), batch.tokens("chosen/prompt"));
  return mul(neg(add(chosen.policy.logp, prompt.policy.logp)), div(batch.size, tokens));
}
