/**
 * Token-level Direct Preference Optimization (Zeng et al., arXiv:2404.11999): DPO's margin is corrected by the difference of the
 * two completions' sequential forward KLs D = Σ_t KL(π_ref ‖ π) over whole next-token distributions. It pushes the divergence of the
 * rejected completion down; TDPO2 weighs the correction by α and stops its gradient on the chosen side, whose divergence TDPO1 pushes up.
 */
import {
  add,
  div,
  greater,
  mul,
  neg,
  softplus,
  stopGradient,
  sub,
  toFloat,
} from "../engine/ops/elementwise.ts";
import type { Tensor } from "../engine/tensor.ts";
import { logRatio } from "./log-ratio.ts";
import type { RecordView } from "./definition.ts";
import { objective } from "./objective.ts";
import { flag, nonNegative, oneOf, positive } from "./options.ts";
import type { Completion } from "./scores.ts";

interface Setting {
  readonly tdpoVariant: "tdpo1" | "tdpo2";
  readonly tdpoAlpha: number;
  readonly averageLogProb: boolean;
}

const perToken = (x: Tensor, c: Completion, average: boolean) => (average ? div(x, c.length) : x);
const ratio = (c: Completion, o: Setting) => perToken(logRatio(c), c, o.averageLogProb);
/** D(x, y) = Σ_t KL(π_ref ‖ π)(s_t): [records] */
const divergence = (c: Completion, o: Setting) => perToken(c.sum(c.policy.tokenKl), c, o.averageLogProb);

/** z = ρ_w - ρ_l - (D_l - D_w), or z = ρ_w - ρ_l - α (D_l - sg D_w) (Eq. 14 and 16). */
function logit({ chosen, rejected }: RecordView<"pair">, o: Setting): Tensor {
  const [dw, dl] = [divergence(chosen, o), divergence(rejected, o)];
  const correction = o.tdpoVariant === "tdpo1" ? sub(dl, dw) : mul(o.tdpoAlpha, sub(dl, stopGradient(dw)));
  return sub(sub(ratio(chosen, o), ratio(rejected, o)), correction);
}

export const tdpo = objective({
  id: "tdpo",
  record: "pair",
  options: {
    tdpoVariant: oneOf(["tdpo1", "tdpo2"], "tdpo2"),
    beta: positive(0.1),
    tdpoAlpha: nonNegative(0.5),
    averageLogProb: flag(false),
  },
  // softplus(-β z)
  loss: (pair, o) => softplus(neg(mul(o.beta, logit(pair, o)))),
  /** β(ρ + D) for both variants, as the authors log them: not the sign of TDPO2's logit. */
  rewards: ({ chosen, rejected }, o) => ({
    chosen: mul(o.beta, add(ratio(chosen, o), divergence(chosen, o))),
    rejected: mul(o.beta, add(ratio(rejected, o), divergence(rejected, o))),
  }),
  metrics(pair, o) {
    const [dw, dl] = [divergence(pair.chosen, o), divergence(pair.rejected, o)];
    return {
      "kl/chosen": dw,
      "kl/rejected": dl,
      "kl/margin": sub(dw, dl),
      "logits/accuracy": toFloat(greater(logit(pair, o), 0)),
    };
  },
});
