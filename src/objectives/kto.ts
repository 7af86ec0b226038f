/**
 * Kahneman-Tversky Optimization (Ethayarajh et al., arXiv:2402.01306): single completions with a thumb up or down, valued against z,
 * an estimate of KL(π ‖ π_ref) from mismatched prompts and completions. Gains and losses saturate, so neither sure wins nor hopeless
 * cases pull for long.
 */
import { add, maximum, mul, sigmoid, stopGradient, sub } from "../engine/ops/elementwise.ts";
import { mean } from "../engine/ops/reduce.ts";
import type { Tensor } from "../engine/tensor.ts";
import { logRatio } from "./log-ratio.ts";
import type { RecordView } from "./definition.ts";
import { objective } from "./objective.ts";
import { nonNegative, positive } from "./options.ts";

const options = {
  beta: positive(0.1),
  /** λ_D and λ_U; λ_D n_D / (λ_U n_U) is best kept in [1, 4/3]. */
  desirableWeight: nonNegative(1),
  undesirableWeight: nonNegative(1),
};

/** `up` where the label is a thumb up, else `down`. */
const byLabel = ({ required }: RecordView<"unpaired">, up: Tensor, down: Tensor): Tensor => {
  const label = required("label");
  return add(mul(label, up), mul(sub(1, label), down));
};

export const kto = objective({
  id: "kto",
  record: "unpaired",
  options,
  coupled: () => true,
  loss(record, { beta, desirableWeight, undesirableWeight }, batch) {
    // z = max(0, mean of ρ over mismatched pairs), a constant
    const estimate = batch.given("kl") ?? mean(logRatio(record.mismatched));
    const lead = sub(logRatio(record.completion), stopGradient(maximum(estimate, 0)));
    // λ_D (1 - σ(β(ρ - z))) or λ_U (1 - σ(β(z - ρ)))
    return byLabel(
      record,
      mul(desirableWeight, sigmoid(mul(-beta, lead))),
      mul(undesirableWeight, sigmoid(mul(beta, lead))),
    );
  },
  rewards: ({ completion }, { beta }) => ({ completion: mul(beta, logRatio(completion)) }),
  metrics: (record, _, batch) => ({
    kl: add(
      mul(0, record.required("label")),
      maximum(batch.given("kl") ?? mean(logRatio(record.mismatched)), 0),
    ),
  }),
});

/** Anchored preference optimization, zero, for single completions (D'Oosterlinck et al., arXiv:2408.06266): KTO without z. */
export const apoZeroUnpaired = objective({
  id: "apo-zero-unpaired",
  record: "unpaired",
  options,
  loss(record, { beta, desirableWeight, undesirableWeight }) {
    const reward = mul(beta, logRatio(record.completion));
    return byLabel(
      record,
      mul(desirableWeight, sigmoid(mul(-1, reward))),
      mul(undesirableWeight, sigmoid(reward)),
    );
  },
  rewards: ({ completion }, { beta }) => ({ completion: mul(beta, logRatio(completion)) }),
});
