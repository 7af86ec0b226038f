/**
 * The DPO family: pair losses on log-ratios to a reference, with common options and modifiers. `dpo` takes any of them, or a
 * weighted mixture, as `lossType`; each also is an objective of its own name. Modifiers: reference-free and averaged log-ratios,
 * length desensitisation (LD-DPO, Liu et al., arXiv:2409.06411), an NLL term (RPO, Pang et al., arXiv:2404.19733), f-divergences.
 */
import { z } from "zod";
import { add, div, less, minimum, mul, neg, stopGradient, sub, toFloat } from "../engine/ops/elementwise.ts";
import type { Tensor } from "../engine/tensor.ts";
import { type Divergence, divergences } from "./f-divergence.ts";
import { type ObjectiveFamily, type Options, type RecordView, objective } from "./objective.ts";
import { flag, nonNegative, oneOf, positive } from "./options.ts";
import type { PairLoss, Side } from "./pair-losses/pair-loss.ts";
import { pairLossNamed, pairLosses } from "./pair-losses/table.ts";
import type { BatchView, Completion, Scorer, Scores } from "./scores.ts";

const common = {
  /** Strength of the tie to the reference. */
  beta: positive(0.1),
  /** ε, the probability that a label is wrong; what it may be depends on the loss. */
  labelSmoothing: z.number().min(0).lt(1).optional(),
  /** Every reference log-probability is 0. */
  referenceFree: flag(false),
  /** Means over the tokens instead of sums. */
  averageLogProb: flag(false),
  ipoAverage: flag(true),
  discopopTau: positive(0.05),
  /** Weight of the chosen completion's token-mean cross-entropy, added to the loss. */
  rpoAlpha: nonNegative(0),
  /** Weight of the tokens beyond the length of the shorter completion. */
  ldAlpha: z.number().min(0).max(1).default(1),
  fDivergenceType: oneOf(Object.keys(divergences) as [Divergence, ...Divergence[]], "reverseKl"),
  /** α of the α-divergence as the paper has it, and as TRL does (1 - α); one of them. */
  fAlpha: z.number().min(0).max(1).optional(),
  fAlphaDivergenceCoef: z.number().min(0).max(1).optional(),
  fExpClamp: positive(80),
};
const mixture = {
  lossType: z.union([z.string(), z.array(z.string()).min(1)]).default("sigmoid"),
  /** Factor of each loss of a list; 1 where not given. */
  lossWeights: z.array(z.number()).optional(),
};

type Common = Options<typeof common>;

/** The objective that takes every loss of the family by `lossType`. */
export function mixedPairObjective(id: string, aliases: readonly string[]): ObjectiveFamily {
  const namesOf = ({ lossType }: Options<typeof mixture>) => [lossType].flat();
  const lossesOf = (o: Options<typeof mixture>) => namesOf(o).flatMap((name) => pairLossNamed(name) ?? []);
  return objective({
    id,
    aliases,
    record: "pair",
    options: { ...common, ...mixture },
    check(o) {
      const unknown = namesOf(o).find((name) => !pairLossNamed(name));
      if (unknown !== undefined)
        return [
          "lossType",
          `there is no loss "${unknown}" here; known: ${pairLosses.map((l) => l.id).join(", ")}`,
        ];
      if (o.lossWeights && o.lossWeights.length !== namesOf(o).length)
        return ["lossWeights", "it must have one number for each loss"];
      return checkCommon(o, lossesOf(o));
    },
    coupled: (o) => lossesOf(o).some((loss) => loss.coupled),
    loss: (pair, o, batch) =>
      pairLoss(
        pair,
        o,
        batch,
        lossesOf(o).map((loss, k) => ({ loss, weight: o.lossWeights?.[k] ?? 1 })),
      ),
    rewards,
  });
}

/** One loss of the family under its own name. */
export function pairObjective(loss: PairLoss): ObjectiveFamily {
  return objective({
    id: loss.id,
    aliases: loss.aliases,
    record: "pair",
    options: common,
    coupled: () => loss.coupled ?? false,
    check: (o) => checkCommon(o, [loss]),
    loss: (pair, o, batch) => pairLoss(pair, o, batch, [{ loss, weight: 1 }]),
    rewards,
  });
}

function checkCommon(o: Common, losses: readonly PairLoss[]): readonly [string, string] | undefined {
  const epsilon = o.labelSmoothing;
  for (const { id, smoothing } of losses) {
    if (epsilon === undefined || !smoothing) continue;
    if (epsilon < smoothing.least || epsilon >= smoothing.below) {
      return [
        "labelSmoothing",
        `${id} needs ${smoothing.least > 0 ? "more than 0" : "at least 0"} and less than ${smoothing.below}`,
      ];
    }
  }
  if (o.fAlpha !== undefined && o.fAlphaDivergenceCoef !== undefined)
    return ["fAlpha", "fAlphaDivergenceCoef = 1 - fAlpha says the same; give one of them"];
  const absolute = o.fDivergenceType === "reverseKl" ? undefined : losses.find((l) => !l.difference);
  if (absolute)
    return [
      "fDivergenceType",
      `${absolute.id} uses rewards by themselves, and only differences of them mean something under another divergence`,
    ];
  return undefined;
}

function pairLoss(
  pair: RecordView<"pair">,
  o: Common,
  batch: BatchView,
  losses: readonly { readonly loss: PairLoss; readonly weight: number }[],
): Tensor {
  const shared = {
    chosen: sideOf(pair, "chosen", o, batch),
    rejected: sideOf(pair, "rejected", o, batch),
    get rightness() {
      return pair.field("chosenProb", 1 - (o.labelSmoothing ?? 0));
    },
  };
  const parts = losses.map(({ loss, weight }) => {
    const own = loss.loss(shared, { ...o, labelSmoothing: o.labelSmoothing });
    return weight === 1 ? own : mul(weight, own);
  });
  if (o.rpoAlpha > 0) parts.push(mul(o.rpoAlpha, shared.chosen.nll));
  return parts.reduce((a, b) => add(a, b));
}

/** A completion's quantities, each made when a loss touches it. */
function sideOf(pair: RecordView<"pair">, role: "chosen" | "rejected", o: Common, batch: BatchView): Side {
  const completion = pair[role];
  let ratio: Tensor | undefined;
  const side: Side = {
    get ratio() {
      return (ratio ??= logRatio(pair, completion, o));
    },
    get policy() {
      return logp(pair, completion, "policy", o);
    },
    get reference() {
      return o.referenceFree ? mul(0, side.policy) : logp(pair, completion, "reference", o);
    },
    get score() {
      const alpha = o.fAlpha ?? 1 - (o.fAlphaDivergenceCoef ?? 0.5);
      return divergences[o.fDivergenceType](side.ratio, { alpha, clamp: o.fExpClamp });
    },
    get length() {
      return o.averageLogProb ? 1 : completion.length;
    },
    get nll() {
      return mul(neg(completion.policy.logp), div(batch.size, batch.tokens(role)));
    },
  };
  return side;
}

/** ρ = log π(y) - log π_ref(y): [records]. */
function logRatio(pair: RecordView<"pair">, completion: Completion, o: Common): Tensor {
  const policy = logp(pair, completion, "policy", o);
  return o.referenceFree ? policy : sub(policy, logp(pair, completion, "reference", o));
}

/** A completion's log-probability, under the options that change what that is: [records]. */
function logp(pair: RecordView<"pair">, completion: Completion, scorer: Scorer, o: Common): Tensor {
  const scores = completion[scorer];
  const total = o.ldAlpha === 1 ? scores.logp : desensitised(pair, completion, scores, o.ldAlpha);
  return o.averageLogProb ? div(total, completion.length) : total;
}

/** Σ_{t≤m} log p_t + α Σ_{t>m} log p_t, m the length of the shorter completion of the pair. */
function desensitised(
  pair: RecordView<"pair">,
  completion: Completion,
  scores: Scores,
  alpha: number,
): Tensor {
  const shorter = completion.spread(stopGradient(minimum(pair.chosen.length, pair.rejected.length)));
  const inside = toFloat(less(completion.positions, shorter));
  return completion.sum(mul(scores.tokenLogps, add(alpha, mul(1 - alpha, inside))));
}

/** Logged rewards are always βρ, whatever the loss makes of ρ. */
function rewards(pair: RecordView<"pair">, o: Common): { chosen: Tensor; rejected: Tensor } {
  const reward = (completion: Completion) => mul(o.beta, logRatio(pair, completion, o));
  return { chosen: reward(pair.chosen), rejected: reward(pair.rejected) };
}
