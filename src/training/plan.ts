/** What a run will do before it does it: records, tokens, steps, memory and time. Loads what a run loads, computes nothing of it, and writes nothing. */
import type { Backend } from "../engine/backends/backend.ts";
import { Graph } from "../engine/graph.ts";
import { matmul } from "../engine/ops/matmul.ts";
import { compile } from "../engine/program.ts";
import { dim } from "../engine/tensor.ts";
import { tokensOf } from "../data/token-row.ts";
import { parameterCounts } from "../models/declare.ts";
import { type MemoryPlan, planMemory } from "./memory-plan.ts";
import { type Given, type Prepared, prepare } from "./prepare.ts";
import type { Recipe } from "./recipe.ts";
import { constantRoles } from "./references.ts";
import { companionsOf, releaseTrained, trainedBy } from "./trained.ts";
import { type Updates, updatesOf } from "./updates.ts";

export interface RunPlan {
  readonly prepared: Prepared;
  readonly memory: MemoryPlan;
  /** Tokens of an epoch, padding not counted. */
  readonly tokens: number;
  readonly parameters: { readonly all: number; readonly trained: number };
  /** Seconds of all steps, and of the reference's scores before them; evaluations not counted. */
  readonly seconds: { readonly steps: number; readonly reference: number };
  /** Billion operations a second that matrix products run at here, from which the seconds are estimated. */
  readonly gflops: number;
}

/** Part of the rate of large matrix products that a step reaches (docs/performance.md). */
const fraction = 0.75;

/** Plans a run. Throws what the run would throw before its first step. */
export async function planRun(recipe: Recipe, given: Given): Promise<RunPlan> {
  const prepared = await prepare(recipe, given);
  const { model, backend, rows, steps } = prepared;
  const { train } = prepared.recipe;
  const trained = trainedBy(model, companionsOf(prepared.terms), train.seed);
  let updates: Updates | undefined;
  try {
    updates = await updatesOf(backend, trained, train, steps);
    const memory = planMemory(prepared, trained);
    const parameters = parameterCounts(model);
    const tokens = rows.reduce((n, r) => n + tokensOf(r), 0);
    const gflops = await productRate(backend);
    const passes = (model.adapter ? 4 : 6) + (memory.recompute ? 2 : 0);
    const perToken = (factor: number) => (factor * parameters.all) / (gflops * 1e9 * fraction);
    const ofSteps = (steps * train.batchSize * tokens) / rows.length;
    const scored = constantRoles(prepared).length > 0 ? tokens : 0;
    return {
      prepared,
      memory,
      tokens,
      parameters,
      gflops,
      seconds: { steps: ofSteps * perToken(passes), reference: scored * perToken(2) },
    };
  } finally {
    updates?.release();
    releaseTrained(backend, trained);
  }
}

/** Billion operations a second of a product of 1024³, the best of a few. */
async function productRate(backend: Backend): Promise<number> {
  const n = 1024;
  const graph = new Graph();
  const y = matmul(
    graph.input("a", "float", [dim("n", n), dim("k", n)]),
    graph.input("b", "float", [dim("k", n), dim("m", n)]),
  );
  const program = await compile(backend, graph, { y });
  const bound = program.bind({ a: new Float32Array(n * n), b: new Float32Array(n * n) });
  let best = 0;
  for (let i = 0; i < 5; i++) {
    const started = performance.now();
    await bound.run();
    best = Math.max(best, (2 * n ** 3) / (performance.now() - started) / 1e6);
  }
  program.release();
  return best;
}
