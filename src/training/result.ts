/** What a run came to: the last line of `--json` and the run's result.json. */
import { peakResidentBytes } from "../engine/backends/host-memory.ts";
import type { Interval } from "../evaluation/win-rate.ts";
import type { Evaluation } from "./evaluation.ts";
import type { MemoryPlan } from "./memory-plan.ts";
import type { Prepared } from "./prepare.ts";

export interface RunResult {
  /** Mean reward of samples on held-out prompts, before and after. */
  readonly rewardBefore?: number;
  readonly rewardAfter?: number;
  /** Policy against reference, same prompts. */
  readonly winRate?: Interval;
  /** Sequence-level KL to the reference, nats. */
  readonly kl?: number;
  readonly distinct2Before?: number;
  readonly distinct2After?: number;
  readonly distinct1Before?: number;
  readonly distinct1After?: number;
  /** Tokens of a sample, end token included. */
  readonly lengthBefore?: number;
  readonly lengthAfter?: number;
  readonly repetitionBefore?: number;
  readonly repetitionAfter?: number;
  /** Folder of the model the run started from. */
  readonly base: string;
  /** The run's folder; the trained model is in its `model`. */
  readonly run: string;
  readonly steps: number;
  readonly seconds: number;
  /** The most memory that the process held, and what was predicted before the first step, in bytes. */
  readonly peakBytes: number;
  readonly predictedBytes: number;
}

export function resultOf(from: {
  prepared: Prepared;
  evaluations: readonly Evaluation[];
  run: string;
  seconds: number;
  memory: MemoryPlan;
}): RunResult {
  const { prepared, evaluations } = from;
  const before = evaluations.find((e) => e.step === 0);
  const after = evaluations.find((e) => e.step === prepared.steps);
  return {
    rewardBefore: before?.reward,
    rewardAfter: after?.reward,
    winRate: after?.winRate,
    kl: after?.kl,
    distinct2Before: before?.distinct2,
    distinct2After: after?.distinct2,
    distinct1Before: before?.distinct1,
    distinct1After: after?.distinct1,
    lengthBefore: before?.length,
    lengthAfter: after?.length,
    repetitionBefore: before?.repetition,
    repetitionAfter: after?.repetition,
    base: prepared.recipe.model,
    run: from.run,
    steps: prepared.steps,
    seconds: Math.round(from.seconds * 10) / 10,
    peakBytes: peakResidentBytes(),
    predictedBytes: Math.round(from.memory.peak),
  };
}
