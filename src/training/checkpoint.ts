/**
 * Checkpoints: weights and optimizer state of one step, in a folder that appears whole or not at all. What else a run needs to
 * go on (data order, schedule, random streams) follows from its recipe and the step.
 */
import {
  joinPath,
  listFolder,
  publishFolder,
  removePath,
  writeFileAtomic,
  readJson,
} from "../formats/files.ts";
import { openSafetensors, writeSafetensors } from "../formats/safetensors.ts";
import { RequestError } from "../errors.ts";
import type { RunningMean } from "../objectives/given-batch.ts";

export interface TrainingState {
  /** Steps done. */
  readonly step: number;
  /** Updates done: steps that were skipped are none. */
  readonly updates: number;
  /** Seconds spent on them. */
  readonly seconds: number;
  /** Means that objectives keep over batches. */
  readonly running: Readonly<Record<string, RunningMean>>;
}

/** Flat arrays by name: weights and the optimizer's moments. */
export type StateArrays = Readonly<Record<string, Float32Array>>;

const nameOf = (step: number) => `step-${String(step).padStart(7, "0")}`;

/** Steps of the checkpoints in a folder, oldest first. */
export async function checkpointSteps(folder: string): Promise<number[]> {
  return (await listFolder(folder)).flatMap((name) => /^step-(\d+)$/.exec(name)?.[1] ?? []).map(Number);
}

/** Writes a checkpoint and removes the oldest beyond `keep`. */
export async function saveCheckpoint(
  folder: string,
  state: TrainingState,
  arrays: StateArrays,
  keep: number,
): Promise<void> {
  await publishFolder(joinPath(folder, nameOf(state.step)), async (aside) => {
    const tensors = Object.entries(arrays).map(([name, data]) => ({ name, shape: [data.length], data }));
    await writeSafetensors(joinPath(aside, "state.safetensors"), tensors, {});
    await writeFileAtomic(joinPath(aside, "state.json"), `${JSON.stringify(state)}\n`);
  });
  const steps = await checkpointSteps(folder);
  for (const step of steps.slice(0, Math.max(0, steps.length - keep)))
    await removePath(joinPath(folder, nameOf(step)));
}

/** Loads the newest checkpoint into the arrays; undefined where there is none. */
export async function loadNewestCheckpoint(
  folder: string,
  arrays: StateArrays,
): Promise<TrainingState | undefined> {
  const step = (await checkpointSteps(folder)).at(-1);
  if (step === undefined) return undefined;
  const path = joinPath(folder, nameOf(step));
  const state = (await readJson(joinPath(path, "state.json"))) as TrainingState;
  const file = await openSafetensors(joinPath(path, "state.safetensors"));
  for (const [name, array] of Object.entries(arrays)) {
    const [size] = file.tensors.get(name)?.shape ?? [];
    if (size !== array.length) {
      throw new RequestError({
        code: "checkpoint-mismatch",
        what: `checkpoint does not belong to this run: ${name} has ${size ?? "no"} elements, the model ${array.length}`,
        where: path,
        fix: "Resume with the recipe that the run was started with",
      });
    }
    await file.readFloat32(name, array);
  }
  return state;
}
