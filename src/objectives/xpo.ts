/**
 * Exploratory Preference Optimization (Xie et al., arXiv:2405.21046): DPO plus α log π(ỹ), to be minimised, on the completion ỹ that the
 * second sampler drew, whether it won or lost: probability is pushed off what the reference covers already. Unbounded below where ỹ lost;
 * α stays far below β.
 */
import { z } from "zod";
import {
  add,
  div,
  greater,
  less,
  mul,
  neg,
  softplus,
  square,
  sub,
  toFloat,
} from "../engine/ops/elementwise.ts";
import type { Tensor } from "../engine/tensor.ts";
import { logRatio, pairRewards } from "./log-ratio.ts";
import type { RecordView } from "./definition.ts";
import { objective } from "./objective.ts";
import { oneOf, positive } from "./options.ts";
import type { BatchView } from "./scores.ts";

type Pair = RecordView<"pair">;

/** a where ỹ is the chosen completion, b where it is the rejected one. */
const where = ({ required }: Pair, a: Tensor, b: Tensor): Tensor => {
  const chosen = required("explored");
  return add(mul(chosen, a), mul(sub(1, chosen), b));
};

const margin = ({ chosen, rejected }: Pair) => sub(logRatio(chosen), logRatio(rejected));

const bases = {
  sigmoid: (pair: Pair, beta: number) => softplus(neg(mul(beta, margin(pair)))),
  ipo: (pair: Pair, beta: number) => square(sub(margin(pair), 1 / (2 * beta))),
  /** (β[ρ(y) - ρ(ỹ)] - [r(y) - r(ỹ)])², arXiv:2412.01951, App. J.2; y is the completion that is not ỹ. */
  reward(pair: Pair, beta: number) {
    const reward = sub(pair.chosen.value("reward"), pair.rejected.value("reward"));
    // Both differences turn their sign with ỹ, and the square does not see it.
    return square(sub(mul(beta, margin(pair)), reward));
  },
} as const;

interface Bonus {
  readonly alpha: number | readonly number[];
  readonly beta: number;
  readonly bonusScale: "alpha" | "alphaBeta";
}

/** α log π(ỹ), or αβρ(ỹ). */
function bonus(pair: Pair, { alpha, beta, bonusScale }: Bonus, batch: BatchView): Tensor {
  const own = bonusScale === "alpha" ? [pair.chosen.policy.logp, pair.rejected.policy.logp] : undefined;
  const [w, l] = own ?? [mul(beta, logRatio(pair.chosen)), mul(beta, logRatio(pair.rejected))];
  return mul(inEpoch(alpha, batch), where(pair, w, l));
}

export const xpo = objective({
  id: "xpo",
  record: "pair",
  options: {
    /** A number, or one for each epoch, of which the last stays. */
    alpha: z.union([z.number().min(0), z.array(z.number().min(0)).min(1)]).default(1e-5),
    beta: positive(0.1),
    base: oneOf(["sigmoid", "ipo", "reward"], "sigmoid"),
    /** alphaBeta: αβρ(ỹ), value and gradient of SELM and online VPO. */
    bonusScale: oneOf(["alpha", "alphaBeta"], "alpha"),
  },
  loss: (pair, o, batch) => add(bases[o.base](pair, o.beta), bonus(pair, o, batch)),
  rewards: (pair, { beta }) => pairRewards(pair, beta),
  metrics: (pair, o, batch) => ({
    [`loss/${o.base === "sigmoid" ? "dpo" : o.base}`]: bases[o.base](pair, o.beta),
    "loss/xpo": bonus(pair, o, batch),
    "logps/explored": where(pair, pair.chosen.policy.logp, pair.rejected.policy.logp),
  }),
});

/** The number of this epoch. */
function inEpoch(alpha: number | readonly number[], batch: BatchView): Tensor | number {
  if (typeof alpha === "number") return alpha;
  const last = alpha.length - 1;
  return alpha
    .map((value, k) => {
      const begun = k === 0 ? 1 : toFloat(greater(batch.epoch, k - 0.5));
      const over = k === last ? 1 : toFloat(less(batch.epoch, k + 0.5));
      return typeof begun === "number" ? mul(value, div(over, 1)) : mul(value, mul(begun, over));
    })
    .reduce((a, b) => add(a, b));
}
