/**
 * A run from start to finish: prepares it, walks through its steps and tells what happens as it happens. Killed at any
 * instant and resumed, it ends with the same bytes; interrupted, it saves first.
 */
import { showSource } from "../data/load-records.ts";
import { holdYoungGeneration } from "../engine/backends/young-generation.ts";
import { WorkError } from "../errors.ts";
import type { Sample } from "../evaluation/samples.ts";
import { exists, joinPath, publishFolder, readJson, writeFileAtomic } from "../formats/files.ts";
import { appendJsonl, truncateJsonl } from "../formats/jsonl.ts";
import { writeSafetensors } from "../formats/safetensors.ts";
import { saveAdapter, saveLanguageModel } from "../models/language-model.ts";
import { loadNewestCheckpoint, saveCheckpoint } from "./checkpoint.ts";
import { Doctor, type Finding, examine } from "./doctor/doctor.ts";
import { type Evaluation, Evaluator } from "./evaluation.ts";
import { type MemoryPlan, planMemory, plannedBatches } from "./memory-plan.ts";
import { stepMetrics } from "./metrics.ts";
import { type BatchResult, ObjectivePrograms } from "./objective-programs.ts";
import { batchIndices } from "./order.ts";
import { type Given, type Prepared, prepare } from "./prepare.ts";
import { type Progress, withProgress } from "./progress.ts";
import type { Recipe } from "./recipe.ts";
import { bringsReference } from "./given-reference.ts";
import { constantRoles, follow, referencesOf } from "./references.ts";
import { type RunResult, resultOf } from "./result.ts";
import { writeReport } from "./report/write-report.ts";
import { companionsOf, headFile, keptHead, releaseTrained, trainedBy } from "./trained.ts";
import { updatesOf } from "./updates.ts";
import { fetchSources } from "./sources.ts";
import { type RunFolder, keepRecipe, openRunFolder, resumedRecipe } from "./run-folder.ts";

export interface TrainOptions extends Given {
  readonly recipe: Recipe;
  /** The run's folder. */
  readonly out: string;
  /** Go on with the run in the folder. */
  readonly resume?: boolean;
  /** Saves a checkpoint and stops after the current step. */
  readonly signal?: AbortSignal;
}

export type TrainEvent =
  | { readonly type: "phase"; readonly text: string; readonly done?: number; readonly total?: number }
  | { readonly type: "prepared"; readonly prepared: Prepared }
  | { readonly type: "memory"; readonly memory: MemoryPlan }
  | {
      readonly type: "step";
      readonly step: number;
      readonly steps: number;
      readonly metrics: Readonly<Record<string, number>>;
      readonly secondsLeft: number;
    }
  | { readonly type: "evaluation"; readonly evaluation: Evaluation; readonly samples: readonly Sample[] }
  | { readonly type: "checkpoint"; readonly step: number }
  | { readonly type: "warning"; readonly text: string }
  | { readonly type: "finding"; readonly finding: Finding }
  | { readonly type: "end"; readonly result: RunResult };

/** Raised after an interrupted run has saved; exit status 130. */
export class Interrupted extends Error {
  readonly step: number;

  constructor(step: number, folder: string) {
    super(`interrupted after step ${step}; go on with --resume --out ${folder}`);
    this.name = "Interrupted";
    this.step = step;
  }
}

/** Runs a recipe and yields what happens; the last event is `end` with the result. */
export async function* train(options: TrainOptions): AsyncGenerator<TrainEvent, RunResult> {
  const { folder, earlier } = await openRunFolder(options.out, options.resume ?? false);
  try {
    if (earlier && (await exists(folder.result)) && (await exists(folder.model))) {
      yield { type: "phase", text: `the run in ${folder.path} is complete already` };
      const result = (await readJson(folder.result)) as RunResult;
      yield { type: "end", result };
      return result;
    }
    const recipe = earlier ? resumedRecipe(options.recipe, earlier, folder.recipe) : options.recipe;
    if (options.resume && !earlier)
      yield { type: "phase", text: `there is no run in ${folder.path} yet: starting from the beginning` };
    return yield* runIn(folder, recipe, options);
  } finally {
    folder.release();
  }
}

/** Runs, and frees what the run has allocated, however it ends. */
async function* runIn(
  folder: RunFolder,
  recipe: Recipe,
  options: TrainOptions,
): AsyncGenerator<TrainEvent, RunResult> {
  const releases: Release[] = [];
  try {
    return yield* runAndCollect(folder, recipe, options, releases);
  } finally {
    await releaseAll(releases.reverse());
  }
}

type Release = () => void | Promise<void>;

/** Frees everything, also where something cannot be freed: the first error is thrown at the end. */
async function releaseAll(releases: readonly Release[]): Promise<void> {
  const errors: unknown[] = [];
  for (const release of releases) {
    try {
      await release();
    } catch (error) {
      errors.push(error);
    }
  }
  if (errors.length > 0) throw errors[0];
}

async function* runAndCollect(
  folder: RunFolder,
  recipe: Recipe,
  options: TrainOptions,
  releases: Release[],
): AsyncGenerator<TrainEvent, RunResult> {
  const { signal } = options;
  /** Phases of work before the first step; stopped, it begins anew next time with what has been kept of it. */
  async function* telling<T>(work: AsyncGenerator<Progress, T>): AsyncGenerator<TrainEvent, T> {
    for (;;) {
      const next = await work.next().catch((error: unknown) => {
        throw signal?.aborted ? new Interrupted(0, folder.path) : error;
      });
      if (next.done) return next.value;
      yield { type: "phase", ...next.value };
      if (signal?.aborted) throw new Interrupted(0, folder.path);
    }
  }
  const fetched = yield* telling(fetchSources(recipe, options));
  yield { type: "phase", text: "loading the model" };
  const first = yield* telling(
    withProgress((tell) =>
      prepare(fetched, options, { signal, onProgress: (text, done) => tell({ text, done }) }),
    ),
  );
  yield { type: "prepared", prepared: first };
  for (const text of first.warnings) yield { type: "warning", text };
  const { model, backend, steps } = first;
  const { train: settings, run, evaluate } = first.recipe;

  const companions = companionsOf(first.terms);
  const trained = trainedBy(model, companions, settings.seed);
  releases.push(() => releaseTrained(backend, trained));
  const updates = await updatesOf(backend, trained, settings, steps);
  releases.push(() => updates.release());
  const memory = planMemory(first, trained, options.resume);
  const { microBatch, recompute } = memory;
  yield { type: "memory", memory };
  const prepared = { ...first, recipe: { ...first.recipe, train: { ...settings, microBatch, recompute } } };
  await keepRecipe(folder, prepared.recipe);
  backend.reserve?.(memory.parts.step);

  const asked = [...prepared.rows, ...prepared.evalRows].some((row) => !bringsReference(row));
  if (asked && constantRoles(prepared).length > 0)
    yield { type: "phase", text: "scoring with the reference" };
  const references = await referencesOf(prepared);
  releases.push(() => references.release());
  if (references.cached) yield { type: "phase", text: "reference scores taken from the cache" };

  const shared = {
    ...prepared,
    trained,
    reference: references.live,
    liveReference: references.sync !== undefined,
    maxLength: Number(prepared.recipe.data.maxLength),
    seed: settings.seed,
    recompute,
  };
  releases.push(holdYoungGeneration());
  const programs = new ObjectivePrograms({ ...shared, computeGradients: true });
  releases.push(() => programs.release());
  const batchAt = (step: number) =>
    batchIndices(step, prepared.rows.length, settings.batchSize, settings.seed, prepared.recipe.data.shuffle);
  const planned = plannedBatches(prepared);
  programs.plan(planned.batches, microBatch, planned.share);
  const evaluator =
    evaluate &&
    new Evaluator({
      prepared,
      programs: new ObjectivePrograms({
        ...shared,
        computeGradients: false,
        placements: programs.placements,
      }),
      referenceScores: references.held,
      reference: references.base,
      samples: folder.samples,
      start: folder.start,
    });

  if (evaluator) releases.push(() => evaluator.release());

  const state = {
    ...updates.state,
    ...(references.sync && references.live && { reference: references.live.weights.flat }),
  };
  if (options.resume) for (const array of Object.values(state)) backend.resident?.beforeWrite(array);
  const resumed = options.resume ? await loadNewestCheckpoint(folder.checkpoints, state) : undefined;
  let step = resumed?.step ?? 0;
  updates.count = resumed?.updates ?? step;
  let running = resumed?.running ?? {};
  if (options.resume)
    yield {
      type: "phase",
      text: resumed
        ? `going on after step ${step}`
        : "there is no checkpoint yet: starting from the beginning",
    };
  const upTo = (line: Record<string, unknown>) => Number(line.step) <= step;
  const lines = await truncateJsonl(folder.metrics, upTo);
  const evaluations = (await truncateJsonl(folder.evaluations, upTo)) as unknown as Evaluation[];
  const doctor = new Doctor();
  const began = performance.now() - (resumed?.seconds ?? 0) * 1000;
  const seconds = () => (performance.now() - began) / 1000;
  const save = () => {
    for (const array of Object.values(state)) backend.resident?.beforeRead(array);
    return saveCheckpoint(
      folder.checkpoints,
      { step, updates: updates.count, seconds: seconds(), running },
      state,
      run.keep,
    );
  };

  const evaluateNow = async function* (): AsyncGenerator<TrainEvent> {
    if (!evaluator || evaluations.some((e) => e.step === step)) return;
    yield {
      type: "phase",
      text: evaluator.prompts > 0 ? `sampling ${evaluator.prompts} held-out prompts` : "evaluating",
    };
    const { evaluation, samples } = await updates.evaluating(() => evaluator.run(step, running, signal));
    evaluations.push(evaluation);
    await appendJsonl(folder.evaluations, evaluation);
    yield { type: "evaluation", evaluation, samples };
    for (const finding of doctor.news({ steps: lines, evaluations })) yield { type: "finding", finding };
  };
  const stopIfAsked = async () => {
    if (!signal?.aborted) return;
    if (step > 0) await save();
    throw new Interrupted(step, folder.path);
  };

  let concluded = false;
  try {
    if (step === 0) yield* evaluateNow();
    let paced = { at: performance.now(), step };
    while (step < steps) {
      await stopIfAsked();
      const started = performance.now();
      const indices = batchAt(step + 1);
      const rows = indices.map((i) => prepared.rows[i]);
      const known = references.train;
      const result = await programs.run(rows, known && indices.map((i) => known[i]), microBatch, {
        step: step + 1,
        epoch: Math.floor(step / Math.ceil(prepared.rows.length / settings.batchSize)),
        running,
      });
      const gradNorm = await updates.norm();
      const learningRate = updates.rate(step + 1);
      const finite = Number.isFinite(result.loss) && Number.isFinite(gradNorm);
      if (!finite) {
        const text = nonFinite(
          step + 1,
          result,
          rows.map((r) => showSource(r.source)),
        );
        if (settings.nonFinite === "stop")
          throw new WorkError({
            code: "non-finite",
            what: text,
            fix: "Lower the learning rate, remove these records, or set train.nonFinite: skip",
          });
        yield { type: "warning", text: `${text}; the step is skipped` };
      } else {
        await updates.update(step + 1);
        running = { ...running, ...result.running };
      }
      step++;
      if (references.sync && references.live && step % references.sync.every === 0)
        follow(references.live, model, references.sync.mix);
      const elapsed = (performance.now() - started) / 1000;
      const metrics = {
        ...stepMetrics(result),
        grad_norm: gradNorm,
        lr: learningRate,
        tokens_per_second: result.tokens / elapsed,
        "layout/padding": result.padded / result.tokens - 1,
        "layout/shared_prompts": Number(result.sharedPrompts),
      };
      lines.push({ step, ...metrics });
      await appendJsonl(folder.metrics, { step, ...metrics });
      const pace = (performance.now() - paced.at) / 1000 / (step - paced.step);
      yield { type: "step", step, steps, metrics, secondsLeft: pace * (steps - step) };
      const last = step === steps;
      if (evaluate && (last || step % evaluate.every === 0)) {
        const before = performance.now();
        yield* evaluateNow();
        paced = { ...paced, at: paced.at + performance.now() - before };
      }
      if (last || step % run.checkpointEvery === 0) {
        await save();
        yield { type: "checkpoint", step };
      }
    }
    await stopIfAsked();
    for (const finding of doctor.news({ steps: lines, evaluations })) yield { type: "finding", finding };
    yield { type: "phase", text: "saving the model" };
    updates.conclude();
    concluded = true;
    const head = keptHead(trained, companions);
    await publishFolder(folder.model, async (aside) => {
      await (model.adapter ? saveAdapter(model, aside) : saveLanguageModel(model, aside));
      if (head) await writeSafetensors(joinPath(aside, headFile), head);
    });
  } catch (error) {
    // A sampling that was cut short by the signal ends here: what was trained is saved all the same.
    // Once the averaged weights are the model there is nothing left to save: the last checkpoint has it all.
    if (signal?.aborted && !concluded && !(error instanceof Interrupted)) await stopIfAsked();
    throw error;
  }

  const samples = { before: await evaluator?.keptSamples(0), after: await evaluator?.keptSamples(steps) };
  const result = resultOf({ prepared, evaluations, run: folder.path, seconds: seconds(), memory });
  const findings = examine({ steps: lines, evaluations });
  await writeReport(folder, { prepared, result, evaluations, samples, findings });
  await writeFileAtomic(folder.result, `${JSON.stringify(result)}\n`);
  yield { type: "end", result };
  return result;
}

/** Names the records whose loss is not a number, or says that only the gradient is not. */
function nonFinite(step: number, result: BatchResult, sources: readonly string[]): string {
  const guilty = sources.filter((_, i) => !Number.isFinite(result.losses[i]));
  if (guilty.length === 0) return `step ${step}: the gradient is not finite`;
  const shown = guilty.slice(0, 5).join(", ") + (guilty.length > 5 ? `, … (${guilty.length})` : "");
  return `step ${step}: the loss is not finite for ${shown}`;
}
