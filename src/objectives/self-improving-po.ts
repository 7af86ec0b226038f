/**
 * Self-Improving Robust Preference Optimization (Choi et al., arXiv:2406.01660): one model learns to answer and to revise a draft it is
 * shown, by square losses whose optimum is the solution of a min-max game and does not depend on which policy produced the data.
 * The forms are those of the TRL branch, checked against the game's closed form; the paper's own display could not be read.
 */
import { add, mul, square, sub } from "../engine/ops/elementwise.ts";
import { greater, toFloat } from "../engine/ops/elementwise.ts";
import { logRatio } from "./log-ratio.ts";
import type { RecordView } from "./definition.ts";
import { objective } from "./objective.ts";
import { nonNegative, positive } from "./options.ts";
import { z } from "zod";

/** A = a(y_w | y_l), B = a(y_l | y_l), C = a(y_w | y_w), D = a(y_l | y_w), E = a(y_w), F = a(y_l): [records] each. */
const ratios = ({ wl, ll, ww, lw, w, l }: RecordView<"revision">) => ({
  A: logRatio(wl),
  B: logRatio(ll),
  C: logRatio(ww),
  D: logRatio(lw),
  E: logRatio(w),
  F: logRatio(l),
});

/** (β[(A + E) - (D + F)] - 1)² */
function generation(record: RecordView<"revision">, beta: number) {
  const { A, D, E, F } = ratios(record);
  return square(sub(mul(beta, sub(add(A, E), add(D, F))), 1));
}

/** (½ - β(A - B))² + (½ - β(C - D))² */
function improvement(record: RecordView<"revision">, beta: number) {
  const { A, B, C, D } = ratios(record);
  const half = (margin: typeof A) => square(sub(0.5, mul(beta, margin)));
  return add(half(sub(A, B)), half(sub(C, D)));
}

export const selfImprovingPo = objective({
  id: "self-improving-po",
  record: "revision",
  options: {
    beta: positive(0.01),
    /** α, the share of the reviser's loss; 1 trains only the reviser. */
    alpha: z.number().min(0).max(1).default(0.8),
    /** Factor of the generator's loss; 0.25 is the form that aims at p - ½. */
    genLossScale: nonNegative(1),
  },
  loss: (record, { beta, alpha, genLossScale }) =>
    add(mul((1 - alpha) * genLossScale, generation(record, beta)), mul(alpha, improvement(record, beta))),
  metrics(record, { beta }) {
    const r = ratios(record);
    return {
      lossGen: generation(record, beta),
      lossImp: improvement(record, beta),
      accGen: toFloat(greater(r.E, r.F)),
      accImprove: toFloat(greater(r.A, r.D)),
      accKeep: toFloat(greater(r.C, r.D)),
      "ratio/A": r.A,
      "ratio/B": r.B,
      "ratio/C": r.C,
      "ratio/D": r.D,
      "ratio/E": r.E,
      "ratio/F": r.F,
    };
  },
});
