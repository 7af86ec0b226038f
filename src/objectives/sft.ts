/**
 * Supervised fine-tuning: cross-entropy of the completion tokens (stage 1 of arXiv:2305.18290; the NLL term of many others).
 * Raises the probability of every shown token, most where it is smallest.
 * `token` pools over all completion tokens of the batch, `sum` adds up each example and averages over examples.
 */
import { div, mul, neg } from "../engine/ops/elementwise.ts";
import { objective } from "./objective.ts";
import { oneOf } from "./options.ts";

export const sft = objective({
  id: "sft",
  record: "plain",
  options: { reduction: oneOf(["token", "sum"], "token") },
  loss({ completion }, { reduction }, batch) {
    const nll = neg(completion.policy.logp);
    // The mean over B examples of B · nll_i / (tokens of the batch) is the mean over tokens.
    return reduction === "sum" ? nll : mul(nll, div(batch.size, batch.tokens("completion")));
  },
});
