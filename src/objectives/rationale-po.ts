/**
 * Preference optimization with rationales (RDPO, RORPO, RSimPO; Just et al., arXiv:2407.14477): a preference loss plus γ times the
 * negative log-likelihood of a rationale that says why the chosen answer is better, under a prompt that shows both. `logsigmoid` is
 * what the released code computes instead, -log σ(γ log p): at small γ about half of it.
 */
import { z } from "zod";
import { add, mul, neg, softplus, sub } from "../engine/ops/elementwise.ts";
import type { Tensor } from "../engine/tensor.ts";
import { averageLogp, logRatio, pairRewards, pooledNll } from "./log-ratio.ts";
import { logOdds } from "./log-odds.ts";
import type { RecordView } from "./definition.ts";
import { objective } from "./objective.ts";
import { nonNegative, oneOf } from "./options.ts";
import type { BatchView } from "./scores.ts";
import { marginOptions, simpoMargin } from "./simpo-margin.ts";

type Pair = RecordView<"rationale">;
interface Setting {
  readonly beta: number;
  readonly gamma: number;
}

/** The preference losses it can stand on; averages for all but DPO. */
const bases = {
  dpo: (r: Pair, { beta }: Setting) =>
    softplus(neg(mul(beta, sub(logRatio(r.chosen), logRatio(r.rejected))))),
  orpo: (r: Pair, { beta }: Setting, batch: BatchView) =>
    add(pooledNll(r.chosen, "chosen", batch), mul(beta, softplus(neg(logOdds(r.chosen, r.rejected))))),
  simpo: (r: Pair, { beta, gamma }: Setting) =>
    softplus(neg(sub(mul(beta, sub(averageLogp(r.chosen), averageLogp(r.rejected))), gamma))),
} as const satisfies Record<string, (r: Pair, s: Setting, batch: BatchView) => Tensor>;

export const rationalePo = objective({
  id: "rationale-po",
  record: "rationale",
  options: {
    base: oneOf(["dpo", "orpo", "simpo"], "dpo"),
    ...marginOptions,
    rationaleLoss: oneOf(["nll", "logsigmoid"], "nll"),
    /** γ: 1, but 0.001 for `logsigmoid` on dpo, where it is not given. */
    rationaleWeight: z.number().min(0).optional(),
    /** The rationale's log-probability: its sum for dpo, its mean for the others, where it is not given. */
    rationaleReduction: z.enum(["sum", "mean"]).optional(),
    preferenceWeight: nonNegative(1),
    /** Show the winner above or below at random; false: always above, as in the code. */
    swapComparison: z.boolean().default(true),
  },
  check: simpoMargin.check,
  rows: ({ swapComparison }) => ({ swapComparison }),
  loss: (record, o, batch) =>
    Object.values(parts(record, o, batch))
      .filter((part) => part !== undefined)
      .reduce((a, b) => add(a, b)),
  rewards: (record, o) =>
    o.base === "dpo"
      ? pairRewards(record, o.beta ?? 0.1)
      : pairRewards(record, o.beta ?? (o.base === "simpo" ? 2 : 0.1), averageLogp),
  metrics(record, o, batch) {
    const { preference, rationale } = parts(record, o, batch);
    return {
      ...(preference && { "loss/preference": preference }),
      ...(rationale && { "loss/rationale": rationale }),
      "rationale/logp": averageLogp(record.rationale),
    };
  },
});

interface Chosen {
  readonly base: keyof typeof bases;
  readonly beta?: number;
  readonly gammaBetaRatio?: number;
  readonly simpoGamma?: number;
  readonly rationaleLoss: "nll" | "logsigmoid";
  readonly rationaleWeight?: number;
  readonly rationaleReduction?: "sum" | "mean";
  readonly preferenceWeight: number;
}

/** The two terms of the loss, weights included, where they count. */
function parts(
  record: Pair,
  o: Chosen,
  batch: BatchView,
): { readonly preference?: Tensor; readonly rationale?: Tensor } {
  const beta = o.beta ?? (o.base === "simpo" ? 2 : 0.1);
  const setting = { beta, gamma: simpoMargin.of(o, beta) };
  const gamma = o.rationaleWeight ?? (o.base === "dpo" && o.rationaleLoss === "logsigmoid" ? 0.001 : 1);
  const preference =
    o.preferenceWeight > 0 ? mul(o.preferenceWeight, bases[o.base](record, setting, batch)) : undefined;
  if (gamma === 0 && preference) return { preference };
  const mean = (o.rationaleReduction ?? (o.base === "dpo" ? "sum" : "mean")) === "mean";
  const logp = mean ? averageLogp(record.rationale) : record.rationale.policy.logp;
  const rationale = o.rationaleLoss === "nll" ? mul(-gamma, logp) : softplus(mul(-gamma, logp));
  return { ...(preference && { preference }), rationale };
}
