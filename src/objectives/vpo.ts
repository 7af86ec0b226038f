/**
 * Value-Incentivized Preference Optimization (Cen et al., arXiv:2405.19320): DPO regularised by the value of the reward it implies, which
 * in closed form is ±αβ times the mean log-ratio of samples of a calibration policy: plus online (optimism: off what they cover),
 * minus offline (pessimism: keep it). Offline without samples the chosen completion stands for them.
 */
import { add, div, maximum, minimum, mul, neg, softplus, sub } from "../engine/ops/elementwise.ts";
import { z } from "zod";
import type { Tensor } from "../engine/tensor.ts";
import { logRatio, pairRewards } from "./log-ratio.ts";
import type { RecordView } from "./definition.ts";
import { objective } from "./objective.ts";
import { positive } from "./options.ts";

/** Mean ρ of the calibration samples: [records]. */
function calibrated({ chosen, calibration }: RecordView<"calibrated">, offline: boolean): Tensor {
  if (!calibration.present) return logRatio(chosen);
  const { count } = calibration;
  const mean = div(calibration.total(logRatio(calibration)), maximum(count, 1));
  if (!offline) return mean;
  // Records without samples: the chosen completion.
  const has = minimum(count, 1);
  return add(mul(has, mean), mul(sub(1, has), logRatio(chosen)));
}

/** ±αβ */
const weightOf = ({ mode, alpha, beta }: { mode: "offline" | "online"; alpha?: number; beta: number }) =>
  mode === "offline" ? -(alpha ?? 0.5) * beta : (alpha ?? 1e-3) * beta;

export const vpo = objective({
  id: "vpo",
  record: "calibrated",
  options: {
    /** Must be given: the sign turns exploration into its opposite. */
    mode: z.enum(["offline", "online"]),
    /** α of the mean form: 0.5 offline, 0.001 online, where it is not given. */
    alpha: z.number().min(0).optional(),
    beta: positive(0.1),
  },
  /** Online, what is pushed off must be said; offline the chosen completion stands for it. */
  needs: (o) => (o.mode === "online" && weightOf(o) !== 0 ? ["calibration"] : []),
  loss(record, { mode, alpha, beta }) {
    const { chosen, rejected } = record;
    const preference = softplus(neg(mul(beta, sub(logRatio(chosen), logRatio(rejected)))));
    const weight = weightOf({ mode, alpha, beta });
    return weight === 0 ? preference : add(preference, mul(weight, calibrated(record, mode === "offline")));
  },
  rewards: (record, { beta }) => pairRewards(record, beta),
  metrics: (record, { mode, beta }) =>
    mode === "offline" || record.calibration.present
      ? { value: mul(-beta, calibrated(record, mode === "offline")) }
      : {},
});
