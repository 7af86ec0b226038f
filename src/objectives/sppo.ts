/**
 * Self-Play Preference Optimization (Wu et al., arXiv:2405.00675): square losses that want the log-ratio of a completion to the round's
 * sampler at η times its estimated win rate less ½, each completion by itself: winners go up and losers down, which DPO does not
 * guarantee.
 */
import { z } from "zod";
import { add, div, mul, square, sub } from "../engine/ops/elementwise.ts";
import type { Tensor } from "../engine/tensor.ts";
import { logRatio, pairRewards } from "./log-ratio.ts";
import type { RecordView } from "./definition.ts";
import { objective } from "./objective.ts";
import { flag, oneOf } from "./options.ts";
import type { Completion } from "./scores.ts";

type View = RecordView<"pair" | "list">;

/** (ρ - (p - ½)/β)² */
const pull = (c: Completion, rate: Tensor | number, beta: number): Tensor => {
  const target = typeof rate === "number" ? (rate - 0.5) / beta : mul(1 / beta, sub(rate, 0.5));
  return square(sub(logRatio(c), target));
};
const half = (a: Tensor, b: Tensor) => mul(0.5, add(a, b));

const variants = {
  /** Best and worst of K samples, each with its win rate. */
  soft: ({ chosen, rejected }: View, beta: number) =>
    half(pull(chosen, chosen.value("winRate"), beta), pull(rejected, rejected.value("winRate"), beta)),
  /** The pair's own probability instead of win rates. */
  single({ chosen, rejected, required }: View, beta: number) {
    const p = required("chosenProb");
    return half(pull(chosen, p, beta), pull(rejected, sub(1, p), beta));
  },
  /** Win rates 1 and 0, without the ½. */
  hard: ({ chosen, rejected }: View, beta: number) => add(pull(chosen, 1, beta), pull(rejected, 0, beta)),
  /** All K samples (Algorithm 1). */
  allK: ({ completions }: View, beta: number) =>
    div(completions.total(pull(completions, completions.value("winRate"), beta)), completions.count),
} as const;

export const sppo = objective({
  id: "sppo",
  record: ({ variant }): "pair" | "list" => (variant === "allK" ? "list" : "pair"),
  options: {
    variant: oneOf(["soft", "single", "hard", "allK"], "soft"),
    /** β = 1/η, 0.001 where neither is given. */
    beta: z.number().positive().optional(),
    eta: z.number().positive().optional(),
    /** Multiplied by β²: the same minimiser, losses of order 1. */
    normalized: flag(false),
  },
  check: ({ beta, eta }) =>
    beta !== undefined && eta !== undefined
      ? ["eta", "eta = 1 / beta says the same; give one of them"]
      : undefined,
  loss(record, o) {
    const beta = betaOf(o);
    const loss = variants[o.variant](record, beta);
    return o.normalized ? mul(beta ** 2, loss) : loss;
  },
  rewards: (record, o) => (o.variant === "allK" ? {} : pairRewards(record, betaOf(o))),
});

const betaOf = ({ beta, eta }: { beta?: number; eta?: number }) =>
  beta ?? (eta === undefined ? 1e-3 : 1 / eta);
