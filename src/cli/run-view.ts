/** Shows a run while it happens: phases, a progress line, evaluations, and the table at its end. */
import type { Backend } from "../engine/backends/backend.ts";
import type { Sample } from "../evaluation/samples.ts";
import { parameterCounts } from "../models/declare.ts";
import type { Evaluation } from "../training/evaluation.ts";
import { type MemoryPlan, gigabytes } from "../training/memory-plan.ts";
import type { RunResult } from "../training/result.ts";
import { Interrupted, type TrainEvent, type TrainOptions, train } from "../training/train.ts";
import { duration, styled, table } from "./output.ts";
import { ProgressLine } from "./progress.ts";

export interface View {
  /** Where passing states and lines go. */
  readonly stream: NodeJS.WriteStream;
}

export interface ShownRun {
  readonly result: RunResult;
  readonly before: readonly Sample[];
  readonly after: readonly Sample[];
}

/** Runs a recipe and shows it. Ctrl-C saves and stops; a second one stops at once. */
export async function runAndShow(options: Omit<TrainOptions, "signal">, { stream }: View): Promise<ShownRun> {
  const abort = new AbortController();
  const progress = new ProgressLine(stream);
  const onInterrupt = () => {
    if (abort.signal.aborted) process.exit(130);
    progress.line("stopping after this step; the run is saved first (Ctrl-C again stops at once)");
    abort.abort();
  };
  process.on("SIGINT", onInterrupt).on("SIGTERM", onInterrupt);
  const shown: { before: readonly Sample[]; after: readonly Sample[] } = { before: [], after: [] };
  try {
    for await (const event of train({ ...options, signal: abort.signal })) {
      show(event, progress);
      if (event.type === "evaluation")
        shown[event.evaluation.step === 0 ? "before" : "after"] = event.samples;
      if (event.type === "end") return { result: event.result, ...shown };
    }
    throw new Error("the run ended without a result");
  } catch (error) {
    if (error instanceof Interrupted) progress.clear();
    throw error;
  } finally {
    progress.clear();
    process.off("SIGINT", onInterrupt).off("SIGTERM", onInterrupt);
  }
}

function show(event: TrainEvent, progress: ProgressLine): void {
  switch (event.type) {
    case "phase":
      // What says how far it is comes again and again.
      progress.update(event.text, event.done === undefined);
      break;
    case "prepared":
      for (const line of planLines(event.prepared)) progress.line(line);
      break;
    case "memory":
      progress.line(memoryLine(event.memory));
      break;
    case "step":
      progress.update(stepLine(event), event.step === event.steps);
      break;
    case "evaluation":
      progress.line(evaluationLine(event.evaluation));
      break;
    case "warning":
      progress.line(styled("yellow", `warning: ${event.text}`, process.stderr));
      break;
    case "finding":
      progress.line(`doctor: ${event.finding.text}`);
      break;
    case "checkpoint":
    case "end":
      break;
  }
}

/** What the run will need. */
const memoryLine = ({ peak, budget, microBatch, recompute }: MemoryPlan) =>
  `about ${gigabytes(peak)} of memory${Number.isFinite(budget) ? ` (${gigabytes(budget)} may be used)` : ""}, ${microBatch} records at a time` +
  (recompute ? ", layers are computed twice to save memory" : "");

const placeOf = ({ device, threads }: Backend) => (device === "cpu" ? `${threads} threads` : device);

/** What the run is about to do. */
function planLines(prepared: Extract<TrainEvent, { type: "prepared" }>["prepared"]): string[] {
  const { model, rows, evalRows, steps, recipe, skipped, truncated, reading } = prepared;
  const counts = parameterCounts(model);
  const millions = (n: number) => `${(n / 1e6).toFixed(1)}M`;
  const adapter = model.adapter ? ` (an adapter of ${millions(counts.trained)} trains)` : "";
  const lines = [
    `${millions(counts.all)} parameters${adapter}, ${rows.length} records to train on${evalRows.length > 0 ? `, ${evalRows.length} held out` : ""}; ` +
      `${steps} steps of ${recipe.train.batchSize}, ${placeOf(prepared.backend)}`,
    ...reading,
  ];
  if (skipped.length > 0) {
    const [{ source, field, why }] = skipped;
    lines.push(`${skipped.length} records skipped; the first: ${source.file}:${source.line} ${field} ${why}`);
  }
  if (truncated.records > 0)
    lines.push(
      `${truncated.records} records truncated by ${truncated.tokens} tokens in all (${recipe.data.truncation})`,
    );
  return lines;
}

function stepLine({ step, steps, metrics, secondsLeft }: Extract<TrainEvent, { type: "step" }>): string {
  const parts = [`step ${step}/${steps}`, `loss ${metrics.loss.toFixed(4)}`];
  const accuracy = metrics["rewards/accuracies"];
  const margin = metrics["rewards/margins"];
  if (accuracy !== undefined) parts.push(`accuracy ${accuracy.toFixed(2)}`);
  if (margin !== undefined) parts.push(`margin ${margin.toFixed(3)}`);
  parts.push(`${Math.round(metrics.tokens_per_second)} tokens/s`, `${duration(secondsLeft)} left`);
  return parts.join("  ");
}

function evaluationLine(e: Evaluation): string {
  const parts = [`evaluation at step ${e.step}`, `held-out loss ${e["eval/loss"].toFixed(4)}`];
  const accuracy = e["eval/rewards/accuracies"];
  if (accuracy !== undefined) parts.push(`accuracy ${accuracy.toFixed(2)}`);
  if (e.reward !== undefined) parts.push(`reward ${e.reward.toFixed(3)}`);
  if (e.kl !== undefined) parts.push(`KL ${e.kl.toFixed(2)} nats`);
  if (e.winRate) parts.push(`win rate ${(100 * e.winRate.mean).toFixed(0)} %`);
  return parts.join("  ");
}

/** The table of a run's end: before and after, on held-out prompts. */
export function resultTable(r: RunResult): string {
  const f = (value: number | undefined, digits: number) => (value === undefined ? "" : value.toFixed(digits));
  const percent = (value: number) => `${(100 * value).toFixed(1)} %`;
  const rows = [
    ["", "before", "after"],
    ["mean reward", f(r.rewardBefore, 3), f(r.rewardAfter, 3)],
    [
      "win rate against the base model",
      "",
      r.winRate
        ? `${percent(r.winRate.mean)} (95 %: ${percent(r.winRate.low)} to ${percent(r.winRate.high)})`
        : "",
    ],
    ["KL to the base model, nats a sequence", "", f(r.kl, 2)],
    ["length, tokens", f(r.lengthBefore, 1), f(r.lengthAfter, 1)],
    ["repetition (4-grams seen before)", f(r.repetitionBefore, 3), f(r.repetitionAfter, 3)],
    ["distinct-2", f(r.distinct2Before, 3), f(r.distinct2After, 3)],
  ];
  return table(rows.filter(([, a, b]) => a !== "" || b !== ""));
}

/** Samples of the same prompts, side by side one under the other. */
export function sampleLines(before: readonly Sample[], after: readonly Sample[], count: number): string {
  const oneLine = (text: string) => text.replaceAll(/\s+/g, " ");
  return before
    .slice(0, count)
    .flatMap((b, i) => {
      const a = after[i];
      if (!a) return [];
      const line = (label: string, s: Sample) =>
        `  ${label} (${s.reward >= 0 ? "+" : ""}${s.reward.toFixed(2)}) ${styled("dim", oneLine(s.prompt))}${oneLine(s.completion)}`;
      return [styled("bold", oneLine(b.prompt)), line("before", b), line("after ", a)];
    })
    .join("\n");
}
