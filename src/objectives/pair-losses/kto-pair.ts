/**
 * KTO on pairs, as TRL 0.8 had it (Ethayarajh et al., arXiv:2402.01306): each completion is valued against the batch's mean
 * log-ratio of the other kind, which stands for a KL and carries no gradient.
 */
import { add, maximum, mul, sigmoid, stopGradient, sub } from "../../engine/ops/elementwise.ts";
import { mean } from "../../engine/ops/reduce.ts";
import type { Tensor } from "../../engine/tensor.ts";
import type { PairLoss } from "./pair-loss.ts";

export const ktoPair: PairLoss = {
  id: "kto-pair",
  difference: false,
  coupled: true,
  loss({ chosen, rejected }, { beta }) {
    const kl = (ratio: Tensor) => stopGradient(maximum(mean(ratio), 0)); // K = max(0, mean ρ)
    const value = (difference: Tensor) => sub(1, sigmoid(mul(beta, difference)));
    const good = value(sub(chosen.ratio, kl(rejected.ratio)));
    const bad = value(sub(kl(chosen.ratio), rejected.ratio));
    return mul(0.5, add(good, bad)); // 2B values, so a pair's loss is the mean of its two
  },
};
