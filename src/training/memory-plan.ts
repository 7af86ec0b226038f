/**
 * How a run stays within its memory: what its programs will need is read off their graphs, and where that is more than there is, layers
 * are computed twice instead of being kept, and then fewer records at a time. Neither changes what is learned.
 */
import { availableBytes, residentBytes } from "../engine/backends/host-memory.ts";
import { arenaBytes } from "../engine/memory.ts";
import { RequestError } from "../errors.ts";
import { parameterCounts } from "../models/declare.ts";
import type { TokenRow } from "../data/token-row.ts";
import type { ProgramOptions } from "./objective-graph.ts";
import { ObjectivePrograms } from "./objective-programs.ts";
import { batchIndices } from "./order.ts";
import type { RunShapes } from "./batch-layouts.ts";
import { mostPrograms } from "../scoring/program-cache.ts";
import { bytesOfSetting } from "./memory-setting.ts";
import type { Prepared } from "./prepare.ts";
import { copiedModels } from "./references.ts";
import type { Trained } from "./trained.ts";

export interface MemoryPlan {
  readonly microBatch: number;
  readonly recompute: boolean;
  /** Bytes that the process will hold at most. */
  readonly peak: number;
  /** What is not to be exceeded. */
  readonly budget: number;
  /** What the peak is made of, in bytes. */
  readonly parts: Readonly<Record<"resident" | "copies" | "sampling" | "programs" | "step", number>>;
}

/** Steps that shapes are planned from. */
const plannedSteps = 512;
/** What a compiled program holds for each node of its graph (measured: 25 MB for 30 layers of 140 nodes). */
const nodeBytes = 6000;
/** What building and compiling them leaves behind in both heaps, JavaScript's and that of the C library (measured: 30 to 60 MB). */
const buildingBytes = 30e6;
/** Part of the free memory that `auto` takes. */
const share = 0.8;

/** Batches that shapes are planned from, and the part of the run that they are. */
export function plannedBatches({ rows, recipe, steps }: Prepared): {
  batches: readonly (readonly TokenRow[])[];
  share: number;
} {
  const { batchSize, seed } = recipe.train;
  const count = Math.min(steps, plannedSteps);
  const batches = Array.from({ length: count }, (_, i) =>
    batchIndices(i + 1, rows.length, batchSize, seed, recipe.data.shuffle).map((k) => rows[k]),
  );
  return { batches, share: count / steps };
}

/**
 * Plans a run whose model, gradients and moments are in memory already. Settings that the recipe makes are kept; `auto` ones are those
 * that need least time within the budget. Throws where a budget that the recipe names is too small whatever is done; `resumed` runs go on
 * with what they began with. On a device with memory of its own nothing is known of the budget: then only a named one counts.
 */
export function planMemory(prepared: Prepared, trained: readonly Trained[], resumed = false): MemoryPlan {
  const { recipe, backend } = prepared;
  const resident = residentBytes();
  const given = bytesOfSetting(recipe.memory);
  const budget = given ?? (backend.resident ? Infinity : resident + share * availableBytes());
  const { batches, share: part } = plannedBatches(prepared);
  const kinds = prepared.terms.some((t) => t.objective.coupled) ? 2 : 1;
  const copies = copiedModels(prepared) * 4 * parameterCounts(prepared.model).all;
  const sampling = samplingBytes(prepared);
  const recomputing = recipe.train.recompute === "auto" ? [false, true] : [recipe.train.recompute];
  const largest = Number(recipe.train.microBatch);
  let least: MemoryPlan | undefined;
  for (let microBatch = largest; microBatch >= 1; microBatch = Math.floor(microBatch / 2)) {
    const add = batches.some((rows) => rows.length > microBatch);
    let shapes: RunShapes | undefined;
    for (const recompute of recomputing) {
      const programs = new ObjectivePrograms(programOptions(prepared, trained, recompute));
      shapes ??= programs.plan(batches, microBatch, part);
      const predicted = shapes.largest.map((shape) => programs.predict(shape, add));
      const [values, nodes] = [Math.max(...predicted.map((p) => p.values)), predicted[0].nodes];
      const parts = {
        resident,
        copies,
        sampling,
        programs: buildingBytes + Math.min(kinds * shapes.programs, mostPrograms) * nodes * nodeBytes,
        step: arenaBytes(values),
      };
      const peak = Object.values(parts).reduce((a, b) => a + b, 0);
      const plan = { microBatch, recompute, peak, budget, parts };
      if (peak <= budget) return plan;
      if (!least || peak < least.peak) least = plan;
    }
    if (!prepared.automatic.has("microBatch")) break;
  }
  if (!least) throw new RangeError("nothing was planned");
  if (given === undefined || resumed) return least;
  throw new RequestError({
    code: "memory-budget",
    what: `memory: ${recipe.memory} is not enough`,
    why: `the run needs about ${gigabytes(least.peak)}, ${gigabytes(resident)} of it for the model, its gradients and the optimizer`,
    fix: prepared.model.adapter
      ? "Give it more, shorten data.maxLength, or hold the model in fewer bits (adapter.base: int8)"
      : "Give it more, shorten data.maxLength, or train an adapter (adapter: {})",
  });
}

/** What programs of a run are made with, as far as memory depends on it. */
function programOptions(
  { model, terms, touched, kind, fields, present, recipe }: Prepared,
  trained: readonly Trained[],
  recompute: boolean,
): ProgramOptions {
  return {
    ...{ model, terms, touched, kind, fields, present, trained, recompute },
    computeGradients: true,
    reference: touched.referenceVocabulary ? model : undefined,
    maxLength: Number(recipe.data.maxLength),
    seed: recipe.train.seed,
  };
}

/** Caches of the samples that evaluations draw. */
function samplingBytes({ recipe, model }: Prepared): number {
  const samples = recipe.evaluate?.metrics.some((m) => m !== "loss") ?? false;
  if (!samples || !recipe.evaluate) return 0;
  const { layers, attention } = model.architecture;
  const tokens = Number(recipe.data.maxLength) + recipe.evaluate.maxTokens;
  const slots = Math.min(64, recipe.evaluate.prompts);
  return Math.min(2 ** 29, slots * tokens * layers * 2 * attention.kvHeads * attention.headDim * 4);
}

/** "2.35 GB" */
export const gigabytes = (bytes: number): string => `${(bytes / 1e9).toFixed(2)} GB`;
