/**
 * PRefLexOR (Buehler, arXiv:2410.12375): stage 1 teaches a thinking format by ORPO, stage 2 lets the model find its own thinking by EXO on
 * the answers alone; the arrays hold the tokens that stay after masking. Each stage is an objective of its own, with its own options.
 */
import { z } from "zod";
import { objective } from "./objective.ts";
import { pairObjective } from "./dpo-family.ts";
import { orpo } from "./orpo.ts";
import { exoPair } from "./pair-losses/exo-pair.ts";

const exo = pairObjective(exoPair);

/** The objective of a stage with its options. */
const stages = {
  1: ({ orpo: o }: StageOptions) => orpo.with(o, "options orpo of objective preflexor"),
  2: ({ exo: o }: StageOptions) =>
    exo.with({ beta: 0.1, labelSmoothing: 5e-3, ...o }, "options exo of objective preflexor"),
} as const;

interface StageOptions {
  readonly orpo?: Readonly<Record<string, unknown>>;
  readonly exo?: Readonly<Record<string, unknown>>;
}

export const preflexor = objective({
  id: "preflexor",
  record: "pair",
  options: {
    /** Must be given. */
    stage: z.union([z.literal(1), z.literal(2)]),
    orpo: z.record(z.string(), z.unknown()).optional(),
    exo: z.record(z.string(), z.unknown()).optional(),
  },
  check(o) {
    stages[o.stage](o); // throws where the stage's own options are wrong
    return undefined;
  },
  companions: (o) => stages[o.stage](o).companions,
  loss: (pair, o, batch) => stages[o.stage](o).loss(pair as never, batch),
  rewards: (pair, o, batch) => stages[o.stage](o).rewards?.(pair as never, batch) ?? {},
  metrics: (pair, o, batch) => stages[o.stage](o).metrics?.(pair as never, batch) ?? {},
});
