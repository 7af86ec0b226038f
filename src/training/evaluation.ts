/**
 * Looking at a policy while it trains: loss on held-out records, and one sample for each of the same held-out prompts, scored
 * by the reward function, compared with the reference's samples and measured against it in KL.
 */
import { type TokenRow, promptOfRow } from "../data/token-row.ts";
import { RequestError } from "../errors.ts";
import { type Sample, sampleMetrics, sampleModel, sequenceKl } from "../evaluation/samples.ts";
import { type Interval, winRate } from "../evaluation/win-rate.ts";
import { type RewardFunction, rewardNamed } from "../feedback/reward.ts";
import { exists, joinPath, readJson, writeFileAtomic } from "../formats/files.ts";
import { readJsonl } from "../formats/jsonl.ts";
import type { LanguageModel } from "../models/language-model.ts";
import type { RowScores } from "../scoring/text-scorer.ts";
import type { BatchContext, BatchResult, ObjectivePrograms } from "./objective-programs.ts";
import type { Prepared } from "./prepare.ts";
import { batchMetrics, displacementMetrics } from "./metrics.ts";
import { heldOutBatches } from "./order.ts";

/** One line of evaluations.jsonl. */
export type Evaluation = {
  readonly step: number;
  /** Loss and rewards on held-out records, under the metric names of training behind `eval/`. */
  readonly [metric: `eval/${string}`]: number;
  readonly reward?: number;
  readonly rewardError?: number;
  readonly length?: number;
  readonly ended?: number;
  readonly repetition?: number;
  readonly distinct1?: number;
  readonly distinct2?: number;
  readonly kl?: number;
  readonly klError?: number;
  /** Of the policy against the reference, same prompts. */
  readonly winRate?: Interval;
};

export interface EvaluatorOptions {
  readonly prepared: Prepared;
  readonly programs: ObjectivePrograms;
  readonly referenceScores: readonly RowScores[] | undefined;
  readonly reference: LanguageModel | undefined;
  /** Folder for the samples of each evaluation. */
  readonly samples: string;
  /** File that keeps the log-probabilities of held-out records at the start. */
  readonly start: string;
}

export class Evaluator {
  readonly #options: EvaluatorOptions;
  readonly #prompts: readonly (readonly number[])[];
  #reward: RewardFunction | undefined;
  #baseline: readonly Sample[] | undefined;

  constructor(options: EvaluatorOptions) {
    this.#options = options;
    this.#prompts = distinctPrompts(
      options.prepared.evalRows,
      options.prepared.recipe.evaluate?.prompts ?? 0,
    );
  }

  /** The number of prompts that are sampled. */
  get prompts(): number {
    return this.#samples ? this.#prompts.length : 0;
  }

  get #samples(): boolean {
    const metrics = this.#options.prepared.recipe.evaluate?.metrics ?? [];
    return metrics.some((m) => m !== "loss");
  }

  /** Evaluates the policy as it is now. At step 0 the policy is the starting model, whose samples are the baseline. */
  async run(
    step: number,
    running: BatchContext["running"],
    signal?: AbortSignal,
  ): Promise<{ evaluation: Evaluation; samples: readonly Sample[] }> {
    const { prepared } = this.#options;
    const held = await this.#heldOut(step, running);
    if (!this.#samples) return { evaluation: { step, ...held }, samples: [] };
    const samples = await this.#draw(prepared.model, signal);
    await this.#keep(step, samples);
    const evaluation = {
      step,
      ...held,
      ...sampleMetrics(samples),
      ...(await this.#compare(step, samples, signal)),
    };
    return { evaluation, samples };
  }

  /** Frees the programs of held-out losses. */
  release(): Promise<void> {
    return this.#options.programs.release();
  }

  /** Samples that an earlier evaluation kept; undefined where it kept none. */
  async keptSamples(step: number): Promise<readonly Sample[] | undefined> {
    const path = this.#pathOf(step);
    if (!(await exists(path))) return undefined;
    const samples: Sample[] = [];
    for await (const { value } of readJsonl(path)) samples.push(value as Sample);
    return samples;
  }

  async #heldOut(step: number, running: BatchContext["running"]): Promise<Record<`eval/${string}`, number>> {
    const { prepared, programs, referenceScores } = this.#options;
    const microBatch = Number(prepared.recipe.train.microBatch);
    const parts: { result: BatchResult; records: number }[] = [];
    // In batches of the training size, so that what is pooled over a batch is pooled as in training.
    const size = prepared.recipe.train.batchSize;
    const least = Math.max(...prepared.terms.map((t) => t.objective.leastRecords));
    for (const [start, end] of heldOutBatches(prepared.evalRows.length, size, least)) {
      const rows = prepared.evalRows.slice(start, end);
      parts.push({
        result: await programs.run(rows, referenceScores?.slice(start, end), microBatch, {
          step,
          epoch: 0,
          running,
          frozen: true,
        }),
        records: rows.length,
      });
    }
    const total = prepared.evalRows.length;
    const sums: Record<string, number> = {};
    for (const { result, records } of parts) {
      for (const [name, value] of Object.entries(batchMetrics(result)))
        sums[name] = (sums[name] ?? 0) + (value * records) / total;
    }
    const logps: Record<string, number[]> = {};
    for (const { result } of parts)
      for (const [role, values] of Object.entries(result.logps)) (logps[role] ??= []).push(...values);
    Object.assign(sums, displacementMetrics(await this.#atStart(step, logps), logps));
    return Object.fromEntries(Object.entries(sums).map(([name, value]) => [`eval/${name}`, value]));
  }

  /** Log-probabilities of the held-out records before the first step; none where the run was not evaluated then. */
  async #atStart(step: number, now: BatchResult["logps"]): Promise<BatchResult["logps"]> {
    const { start } = this.#options;
    if (step === 0) await writeFileAtomic(start, JSON.stringify(now));
    if (step === 0) return {};
    return (await exists(start)) ? ((await readJson(start)) as BatchResult["logps"]) : {};
  }

  async #compare(step: number, samples: readonly Sample[], signal?: AbortSignal) {
    const { reference, prepared } = this.#options;
    if (!reference) return {};
    const metrics = prepared.recipe.evaluate?.metrics ?? [];
    const isStart = step === 0 && prepared.recipe.reference === "same";
    if (isStart) this.#baseline = samples;
    const kl =
      metrics.includes("kl") && !isStart
        ? await sequenceKl(samples, prepared.model, reference)
        : metrics.includes("kl")
          ? { kl: 0, klError: 0 }
          : {};
    if (!metrics.includes("winRate")) return kl;
    this.#baseline ??= prepared.recipe.reference === "same" ? await this.keptSamples(0) : undefined;
    this.#baseline ??= await this.#draw(reference, signal);
    const rewards = (list: readonly Sample[]) => list.map((s) => s.reward);
    return { ...kl, winRate: winRate(rewards(samples), rewards(this.#baseline)) };
  }

  async #draw(model: LanguageModel, signal?: AbortSignal): Promise<Sample[]> {
    const { prepared } = this.#options;
    const settings = prepared.recipe.evaluate;
    if (!settings || !prepared.tokenizer) {
      throw new RequestError({
        code: "no-tokenizer",
        what: "samples cannot be judged",
        why: "the model has no tokenizer to write them with",
        fix: "Set evaluate.metrics to [loss], or leave evaluate out",
      });
    }
    this.#reward ??= await rewardNamed(settings.reward);
    return sampleModel(model, prepared.tokenizer, this.#prompts, {
      reward: this.#reward,
      maxTokens: settings.maxTokens,
      seed: prepared.recipe.train.seed,
      signal,
    });
  }

  #pathOf(step: number): string {
    return joinPath(this.#options.samples, `step-${String(step).padStart(7, "0")}.jsonl`);
  }

  async #keep(step: number, samples: readonly Sample[]): Promise<void> {
    await writeFileAtomic(this.#pathOf(step), samples.map((s) => `${JSON.stringify(s)}\n`).join(""));
  }
}

/** The first `count` different prompts, in the order of the data. */
function distinctPrompts(rows: readonly TokenRow[], count: number): (readonly number[])[] {
  const found = new Map<string, readonly number[]>();
  for (const row of rows) {
    if (found.size >= count) break;
    const prompt = promptOfRow(row);
    found.set(prompt.join(), prompt);
  }
  return [...found.values()];
}
