/** What nearly every objective is made of: log-ratios to the reference, averages over tokens, pooled cross-entropies. */
import { div, mul, neg, sub } from "../engine/ops/elementwise.ts";
import type { Tensor } from "../engine/tensor.ts";
import type { BatchView, Completion } from "./scores.ts";

/** ρ(y) = log π(y) - log π_ref(y), summed over tokens: [units] */
export const logRatio = (c: Completion): Tensor => sub(c.policy.logp, c.reference.logp);

/** p̄(y), the mean log-probability of the tokens: [units] */
export const averageLogp = (c: Completion): Tensor => div(c.policy.logp, c.length);

/** Implicit rewards of a pair, β times a score of each side. */
export const pairRewards = (
  { chosen, rejected }: { readonly chosen: Completion; readonly rejected: Completion },
  beta: number,
  score: (c: Completion) => Tensor = logRatio,
) => ({ chosen: mul(beta, score(chosen)), rejected: mul(beta, score(rejected)) });

/**
 * Token-mean cross-entropy of a role, pooled over the batch, as each record's share: B · (its sum) / (tokens of the batch). The mean over
 * the batch is then the mean over all tokens. [records]
 */
export const pooledNll = (c: Completion, role: string, batch: BatchView): Tensor =>
  mul(neg(c.policy.logp), div(batch.size, batch.tokens(role)));
