/**
 * Self-supervised Preference Optimization (Li et al., arXiv:2409.17791): beside any pair loss, a head on the model's hidden states
 * learns to tell how much of an answer's key content was removed. The form of the degree loss, its weight and the number of degrees
 * are ours: the paper's body could not be read.
 */
import { z } from "zod";
import { add, div, mul, neg, sub, toFloat } from "../engine/ops/elementwise.ts";
import { logSoftmax } from "../engine/ops/normalization.ts";
import { sum } from "../engine/ops/reduce.ts";
import { type Tensor } from "../engine/tensor.ts";
import { RequestError } from "../errors.ts";
import { dpo } from "./dpo.ts";
import type { Companions, ObjectiveFamily } from "./definition.ts";
import { objective } from "./objective.ts";
import { nonNegative, oneOf } from "./options.ts";
import type { Completions } from "./scores.ts";

const own = {
  /** A pair objective by its id, its options beside these. */
  base: z.string().default("dpo"),
  /** λ */
  degreeWeight: nonNegative(0.1),
  numDegrees: z.number().int().min(2).default(4),
  degreeOn: oneOf(["chosen", "both"], "chosen"),
  pooling: oneOf(["last", "mean"], "last"),
  rakeTopFraction: z
    .number()
    .gt(0)
    .max(1)
    .default(1 / 3),
  maxPhraseWords: z.number().int().positive().default(4),
  headLrMultiplier: z.number().positive().default(10),
};

/** Cross-entropy of each copy's degree: [units]. */
function degreeLosses(copies: Completions): Tensor {
  const logs = logSoftmax(copies.degreeLogits);
  return neg(sum(mul(oneHot(copies.value("degree"), logs), logs), logs.shape[1].name));
}

/** 1 at the place that each label names: [units, degrees]. */
function oneHot(labels: Tensor, like: Tensor): Tensor {
  const [, degrees] = like.shape;
  const { graph } = labels;
  const column = graph.node("Unsqueeze", [labels, graph.integers([1])], {
    shape: [labels.shape[0], { name: degrees.name, size: 1 }],
  });
  const places = graph.node(
    "Cast",
    [graph.integers(Array.from({ length: degrees.size }, (_, d) => d))],
    {
      shape: [degrees],
    },
    { to: graph.float === "float64" ? 11 : 1 },
  );
  return toFloat(graph.node("Equal", [column, places], { dtype: "bool", shape: like.shape }));
}

/** The objective on top of any pair objective that `named` finds. */
export function selfSupervisedPo(named: (id: string) => ObjectiveFamily): ObjectiveFamily {
  const family = (base: ReturnType<ObjectiveFamily["with"]>) =>
    objective({
      id: "self-supervised-po",
      record: "graded",
      options: own,
      coupled: () => base.coupled,
      leastRecords: () => base.leastRecords,
      unweighted: () => base.unweighted,
      companions: (o): Companions => ({
        ...base.companions,
        ...(o.degreeWeight > 0 && {
          head: {
            name: "degree",
            width: o.numDegrees,
            bias: true,
            pooling: o.pooling,
            rate: o.headLrMultiplier,
          },
        }),
      }),
      rows: (o) => ({
        degrees: {
          count: o.numDegrees,
          on: o.degreeOn,
          topFraction: o.rakeTopFraction,
          maxPhraseWords: o.maxPhraseWords,
        },
      }),
      loss(record, { degreeWeight }, batch) {
        const aligned = base.loss(record as never, batch);
        const { copies } = record;
        if (degreeWeight === 0 || !copies.present) return aligned;
        // Its share of the mean over all copies of the batch: B/|S| · (sum of its cross-entropies)
        const share = mul(copies.total(degreeLosses(copies)), div(batch.size, batch.units("copies")));
        return add(aligned, mul(degreeWeight, share));
      },
      rewards: (record, _, batch) => base.rewards?.(record as never, batch) ?? {},
      metrics: (record, { degreeWeight }, batch) => ({
        ...base.metrics?.(record as never, batch),
        ...(degreeWeight > 0 &&
          record.copies.present && {
            "degree/loss": div(
              record.copies.total(degreeLosses(record.copies)),
              add(record.copies.count, sub(1, minimumOne(record.copies.count))),
            ),
          }),
      }),
    });
  const plain = family(dpo.with());
  return {
    ...plain,
    with(given = {}, where) {
      const mine = Object.fromEntries(Object.entries(given).filter(([key]) => Object.hasOwn(own, key)));
      const rest = Object.fromEntries(Object.entries(given).filter(([key]) => !Object.hasOwn(own, key)));
      const id = typeof mine.base === "string" ? mine.base : "dpo";
      const base = named(id).with(rest, where ?? "options of objective self-supervised-po");
      if (base.record !== "pair") {
        throw new RequestError({
          code: "invalid-option",
          what: 'option "base" is not valid',
          where,
          why: `objective ${id} reads ${base.record} records, not pairs`,
        });
      }
      return family(base).with(mine, where);
    },
  };
}

/** min(x, 1) of counts */
const minimumOne = (x: Tensor) => x.graph.node("Min", [x, x.graph.scalar(1)], { shape: x.shape });
