/**
 * Unlearning losses (Zhang et al., arXiv:2404.05868, and its baselines; SimNPO, arXiv:2410.07163): NPO is DPO with only a rejected
 * completion, a bounded loss that lowers an answer below a frozen reference and fades once it is forgotten, where gradient ascent
 * goes on without end. Terms on what is to be kept hold the rest in place.
 */
import { z } from "zod";
import { add, div, mul, neg, sigmoid, softplus, stopGradient, sub } from "../engine/ops/elementwise.ts";
import { mean } from "../engine/ops/reduce.ts";
import type { Tensor } from "../engine/tensor.ts";
import { averageLogp, logRatio, pooledNll } from "./log-ratio.ts";
import type { ObjectiveFamily, RecordView } from "./definition.ts";
import { objective } from "./objective.ts";
import { flag, nonNegative, oneOf, positive } from "./options.ts";
import type { BatchView, Completion } from "./scores.ts";

type Item = RecordView<"unlearning">;
interface Setting {
  readonly beta: number;
  readonly simNpoDelta: number;
  readonly ktoScaleZ: boolean;
}

const forgetLosses = {
  /** (2/β) softplus(βρ), Eq. 3 */
  npo: ({ forget }: Item, { beta }: Setting) => mul(2 / beta, softplus(mul(beta, logRatio(forget)))),
  /** (2/β) softplus(-β(nll/|y| - δ)); no reference */
  simNpo: ({ forget }: Item, { beta, simNpoDelta }: Setting) =>
    mul(2 / beta, softplus(mul(beta, add(averageLogp(forget), simNpoDelta)))),
  /** The log-likelihood itself, token mean */
  ga: ({ forget }: Item, _: Setting, batch: BatchView) => neg(pooledNll(forget, "forget", batch)),
  idk: ({ idk }: Item, _: Setting, batch: BatchView) => pooledNll(idk, "idk", batch),
  dpo: ({ forget, idk }: Item, { beta }: Setting) =>
    mul(2 / beta, softplus(mul(-beta, sub(logRatio(idk), logRatio(forget))))),
  /** (2/β) softplus(-β(z - ρ)), z the batch's mean ρ of refusals, a constant; without scale softplus(βρ - z) */
  kto({ forget, idk }: Item, { beta, ktoScaleZ }: Setting) {
    const mark = stopGradient(mean(logRatio(idk)));
    return mul(2 / beta, softplus(sub(mul(beta, logRatio(forget)), ktoScaleZ ? mul(beta, mark) : mark)));
  },
} as const satisfies Record<string, (item: Item, setting: Setting, batch: BatchView) => Tensor>;

type ForgetLoss = keyof typeof forgetLosses;

/** KL(π_ref ‖ π) of a role's positions, pooled over the batch; `all` counts the prompt's as well. */
function pooledKl(c: Completion, role: string, batch: BatchView, mask: "completion" | "all"): Tensor {
  const prompt = mask === "all" ? c.prompt : undefined;
  const own = c.sum(c.policy.tokenKl);
  if (!prompt) return mul(own, div(batch.size, batch.tokens(role)));
  const total = add(own, prompt.sum(prompt.policy.tokenKl));
  return mul(total, div(batch.size, add(batch.tokens(role), batch.tokens(`${role}/prompt`))));
}

/** The objective under one of its names, which are presets of its options. */
function unlearning(
  id: string,
  preset: { forgetLoss?: ForgetLoss; beta?: number; forgetWeight?: number; retainWeight?: number },
): ObjectiveFamily {
  return objective({
    id,
    record: "unlearning",
    options: {
      forgetLoss: oneOf(
        Object.keys(forgetLosses) as [ForgetLoss, ...ForgetLoss[]],
        preset.forgetLoss ?? "npo",
      ),
      beta: positive(preset.beta ?? 0.1),
      forgetWeight: nonNegative(preset.forgetWeight ?? 1),
      retainWeight: nonNegative(preset.retainWeight ?? 1),
      retainKlWeight: nonNegative(0),
      forgetKlWeight: nonNegative(0),
      retainLossType: oneOf(["nll", "kl"], "nll"),
      simNpoDelta: z.number().default(0),
      ktoScaleZ: flag(true),
      klMask: oneOf(["completion", "all"], "completion"),
    },
    coupled: (o) => o.forgetLoss === "kto" && o.forgetWeight > 0,
    leastRecords: () => 1,
    check: (o) =>
      o.forgetWeight + o.retainWeight + o.retainKlWeight + o.forgetKlWeight === 0
        ? ["forgetWeight", "all weights are 0, so nothing is left of the loss"]
        : undefined,
    loss(item, o, batch) {
      const kl = (role: "forget" | "retain") => pooledKl(item[role], role, batch, o.klMask);
      const terms: readonly (readonly [weight: number, term: () => Tensor])[] = [
        [o.forgetWeight, () => forgetLosses[o.forgetLoss](item, o, batch)],
        [
          o.retainWeight,
          () => (o.retainLossType === "kl" ? kl("retain") : pooledNll(item.retain, "retain", batch)),
        ],
        [o.retainKlWeight, () => kl("retain")],
        [o.forgetKlWeight, () => kl("forget")],
      ];
      // A term of weight 0 is not computed and needs no data.
      return terms
        .filter(([weight]) => weight > 0)
        .map(([weight, term]) => mul(weight, term()))
        .reduce((a, b) => add(a, b));
    },
    metrics(item, o) {
      const metrics: Record<string, Tensor> = {};
      if (o.retainWeight > 0 && o.retainLossType === "nll")
        metrics["retain/nll"] = neg(averageLogp(item.retain));
      if (o.forgetWeight === 0 || o.forgetLoss === "idk") return metrics;
      metrics["forget/nll"] = neg(averageLogp(item.forget));
      if (o.forgetLoss !== "npo") return metrics;
      const ratio = logRatio(item.forget);
      return { ...metrics, "forget/logRatio": ratio, "forget/weight": mul(2, sigmoid(mul(o.beta, ratio))) };
    },
  });
}

export const npo = unlearning("npo", {});
export const simnpo = unlearning("simnpo", { forgetLoss: "simNpo", beta: 4.5, forgetWeight: 0.125 });
export const gradientAscent = unlearning("gradient-ascent", { forgetLoss: "ga", retainWeight: 0 });
export const gradientDifference = unlearning("gradient-difference", { forgetLoss: "ga" });
export const idk = unlearning("idk", { forgetLoss: "idk" });
