/**
 * Binary Classifier Optimization for single completions (Jung et al., arXiv:2404.04656): implicit rewards are classified as good or bad
 * against δ, the mean reward of all batches so far, which keeps the classifier from pushing everything one way.
 */
import { mul, softplus, sub } from "../engine/ops/elementwise.ts";
import { logRatio } from "./log-ratio.ts";
import { objective } from "./objective.ts";
import { oneOf, positive } from "./options.ts";

export const bco = objective({
  id: "bco",
  record: "unpaired",
  options: { beta: positive(0.1), rewardShift: oneOf(["running", "none"], "running") },
  coupled: (o) => o.rewardShift === "running",
  leastRecords: () => 1,
  loss({ completion, required }, { beta, rewardShift }, batch) {
    const reward = mul(beta, logRatio(completion));
    const shift = rewardShift === "running" ? batch.runningMean("rewardShift", reward, "record") : 0;
    // -log σ(r - δ) for a thumb up, -log σ(-(r - δ)) for a thumb down
    const sign = sub(1, mul(2, required("label")));
    return softplus(mul(sign, sub(reward, shift)));
  },
  rewards: ({ completion }, { beta }) => ({ completion: mul(beta, logRatio(completion)) }),
});
