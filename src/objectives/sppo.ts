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

type Rate = Tensor | number;

/** (p - ½)/β: what a log-ratio should be. */
const targetOf = (rate: Rate, beta: number): Rate =>
  typeof rate === "number" ? (rate - 0.5) / beta : mul(1 / beta, sub(rate, 0.5));
/** (ρ - (p - ½)/β)² */
const pull = (c: Completion, rate: Rate, beta: number): Tensor =>
  square(sub(logRatio(c), targetOf(rate, beta)));

/** Win rates of the two sides of a pair, and what multiplies the sum of their squares. */
const pairVariants = {
  /** Best and worst of K samples, each with its win rate. */
  soft: {
    factor: 0.5,
    rates: ({ chosen, rejected }: View) => [chosen.value("winRate"), rejected.value("winRate")],
  },
  /** The pair's own probability instead of win rates. */
  single: {
    factor: 0.5,
    rates({ required }: View) {
      const p = required("chosenProb");
      return [p, sub(1, p)];
    },
  },
  /** Win rates 1 and 0, without the ½. */
  hard: { factor: 1, rates: () => [1, 0] },
} as const satisfies Record<string, { factor: number; rates: (record: View) => readonly [Rate, Rate] }>;

/** All K samples (Algorithm 1). */
const allK = ({ completions }: View, beta: number) =>
  div(completions.total(pull(completions, completions.value("winRate"), beta)), completions.count);

function pairLoss(record: View, variant: keyof typeof pairVariants, beta: number): Tensor {
  const { factor, rates } = pairVariants[variant];
  const [w, l] = rates(record);
  const squares = add(pull(record.chosen, w, beta), pull(record.rejected, l, beta));
  return factor === 1 ? squares : mul(factor, squares);
}

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
    const loss = o.variant === "allK" ? allK(record, beta) : pairLoss(record, o.variant, beta);
    return o.normalized ? mul(beta ** 2, loss) : loss;
  },
  rewards: (record, o) => (o.variant === "allK" ? {} : pairRewards(record, betaOf(o))),
  /** Log-ratios, which must move apart, and where they should go; of `hard` the targets are known. */
  metrics(record, o): Record<string, Tensor> {
    if (o.variant === "allK") return {};
    const { chosen, rejected } = record;
    const ratios = { "ratio/chosen": logRatio(chosen), "ratio/rejected": logRatio(rejected) };
    const [w, l] = pairVariants[o.variant].rates(record).map((rate) => targetOf(rate, betaOf(o)));
    if (typeof w === "number" || typeof l === "number") return ratios;
    return { ...ratios, "target/chosen": w, "target/rejected": l };
  },
});

const betaOf = ({ beta, eta }: { beta?: number; eta?: number }) =>
  beta ?? (eta === undefined ? 1e-3 : 1 / eta);
