/**
 * Uncertainty-enhanced Preference Optimization (Wang et al., arXiv:2409.11212): DPO whose labels are smoothed pair by pair, by how unsure
 * an estimator was of them, plus a likelihood term. How the paper's α follows from its uncertainty is printed inconsistently: `scaled`
 * is our reading, `literal` the print, `off` the released code.
 */
import { add, div, maximum, mul, neg, softplus, sub } from "../engine/ops/elementwise.ts";
import type { Tensor } from "../engine/tensor.ts";
import { averageLogp, logRatio, pairRewards } from "./log-ratio.ts";
import type { RecordView } from "./definition.ts";
import { objective } from "./objective.ts";
import { nonNegative, oneOf, positive } from "./options.ts";
import { smoothed } from "./pair-losses/smoothed.ts";

type Pair = RecordView<"pair">;

/** α_j, the probability that the label is wrong: [records]. */
const modes = {
  /** 1 / (1 + μ(1 - B̂)) */
  scaled: ({ required }: Pair, mu: number) => div(1, add(1, mul(mu, sub(1, required("bald"))))),
  off: () => 0,
  /** 1 / (P + 1): at least ½ for every pair, so that it trains on the reversed label. */
  literal: ({ required }: Pair) => div(1, add(1, required("probability"))),
  /** 1 - p̄ */
  meanProb: ({ required }: Pair) => sub(1, required("pMean")),
} as const satisfies Record<string, (pair: Pair, mu: number) => Tensor | number>;

export const upo = objective({
  id: "upo",
  record: "pair",
  options: {
    beta: positive(0.1),
    alphaMode: oneOf(["scaled", "off", "literal", "meanProb"], "scaled"),
    mu: positive(9),
    lambdaNll: nonNegative(0.2),
    /** Divide the chosen completion's log-probability by its length, or by its reward. */
    nllNorm: oneOf(["length", "reward"], "length"),
  },
  loss(pair, o) {
    const { preference, nll } = parts(pair, o);
    return nll ? add(preference, mul(o.lambdaNll, nll)) : preference;
  },
  rewards: (pair, { beta }) => pairRewards(pair, beta),
  metrics(pair, o) {
    const { preference, nll, flip } = parts(pair, o);
    return {
      "loss/preference": preference,
      ...(nll && { "loss/nll": nll }),
      ...(typeof flip !== "number" && { alpha: flip }),
    };
  },
});

interface Setting {
  readonly beta: number;
  readonly alphaMode: keyof typeof modes;
  readonly mu: number;
  readonly lambdaNll: number;
  readonly nllNorm: "length" | "reward";
}

/** The smoothed preference loss with its α, and the likelihood term where it counts. */
function parts(pair: Pair, { beta, alphaMode, mu, lambdaNll, nllNorm }: Setting) {
  const margin = mul(beta, sub(logRatio(pair.chosen), logRatio(pair.rejected)));
  // Where records bring an α of their own, it wins over the mode; then all of them must.
  const own = typeof pair.field("alpha", 0) !== "number";
  const flip: Tensor | number = own ? pair.required("alpha") : modes[alphaMode](pair, mu);
  const right = typeof flip === "number" ? 1 - flip : sub(1, flip);
  const preference = smoothed(right, softplus(neg(margin)), softplus(margin));
  if (lambdaNll === 0) return { preference, flip };
  const { chosen } = pair;
  const likelihood =
    nllNorm === "length"
      ? averageLogp(chosen)
      : div(chosen.policy.logp, maximum(absolute(chosen.value("reward")), 1e-2));
  return { preference, flip, nll: neg(likelihood) };
}

/** |x| of a constant. */
const absolute = (x: Tensor) => maximum(x, neg(x));
