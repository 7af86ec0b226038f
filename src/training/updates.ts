/**
 * One update of everything that a run trains: norms by group, clipping, an optimizer for each, and the moving average of the
 * policy's weights where the recipe keeps one.
 */
import type { Backend } from "../engine/backends/backend.ts";
import { type WeightAverage, weightAverage } from "../optim/average.ts";
import { clipFactor, gradientNorm } from "../optim/gradient-norm.ts";
import { groupsOf } from "../optim/groups.ts";
import type { Optimizer } from "../optim/optimizer.ts";
import { schedule } from "../optim/schedule.ts";
import { optimizerNamed } from "../optim/table.ts";
import type { StateArrays } from "./checkpoint.ts";
import { type Recipe, optimizerSettings } from "./recipe.ts";
import { type Trained, prefixOf } from "./trained.ts";

export interface Updates {
  /** Norm of all gradients together; those of each group are kept for the update that follows. */
  norm(): Promise<number>;
  /** One update, at the rate of step `step` (from 1). */
  update(step: number): Promise<void>;
  /** The policy's rate at a step. */
  rate(step: number): number;
  /** Updates so far: steps that were skipped are none. */
  count: number;
  /** Weights, moments and average by name, for checkpoints. */
  readonly state: StateArrays;
  /** Runs an evaluation, with the averaged weights in place of the trained ones where the recipe says so. */
  evaluating<T>(work: () => Promise<T>): Promise<T>;
  /** Ends training: from here on the policy has the averaged weights, where the recipe makes them the model. */
  conclude(): void;
  /** Frees moments and programs. */
  release(): void;
}

/** Prepares the updates of a run of `steps` steps. Throws where `groups` do not fit the parameters. */
export async function updatesOf(
  backend: Backend,
  trained: readonly Trained[],
  settings: Recipe["train"],
  steps: number,
): Promise<Updates> {
  const kind = optimizerNamed(settings.optimizer);
  const options = optimizerSettings(settings);
  const ownRate = kind.ownRate(options);
  const layouts = trained.map((t) => ({ layout: t.weights.layout, prefix: prefixOf(t.name) }));
  const groups = groupsOf(layouts, settings);
  const scheduled = schedule(settings.schedule, {
    learningRate: settings.learningRate ?? 1,
    steps,
    warmup: settings.warmup,
  });
  const parts = await Promise.all(
    trained.map(async ({ weights, gradients, ...t }, i) => ({
      ...t,
      weights,
      optimizer: await kind.create({ backend, weights, gradients, groups: groups[i] }, options),
      norm: await gradientNorm(backend, gradients),
    })),
  );
  const { ema } = settings;
  const policy = trained.find((t) => t.name === "policy");
  const average = ema && policy && (await weightAverage(backend, policy.weights, ema.decay));
  /** The average, where it is used for this and there is one: before its first update it is only the start. */
  const averageFor = (use: "evaluation" | "model") =>
    ema?.use.includes(use) && updates.count >= ema.every ? average : undefined;
  const squares = new Map<string, number>();
  const updates: Updates = {
    count: 0,
    state: stateOf(parts, average),
    rate: (step) => ownRate?.(updates.count + 1) ?? scheduled(step),
    release() {
      for (const { norm, optimizer } of parts) {
        norm.release();
        optimizer.release();
      }
      average?.release();
    },
    async norm() {
      squares.clear();
      for (const { group, norm } of parts) {
        const own = await norm.measure(); // a name, as the bundler loses the parentheses of (await …) ** 2
        squares.set(group, (squares.get(group) ?? 0) + own ** 2);
      }
      return Math.sqrt([...squares.values()].reduce((a, b) => a + b, 0));
    },
    async update(step) {
      const learningRate = updates.rate(step);
      updates.count++;
      for (const { group, rate, optimizer } of parts) {
        const norm = Math.sqrt(squares.get(group) ?? 0);
        await optimizer.update(updates.count, learningRate * rate, clipFactor(norm, settings.maxGradNorm));
      }
      if (average && ema && updates.count % ema.every === 0) await average.update(updates.count / ema.every);
    },
    async evaluating(work) {
      const used = averageFor("evaluation");
      used?.swap();
      try {
        return await work();
      } finally {
        used?.swap();
      }
    },
    conclude: () => averageFor("model")?.swap(),
  };
  return updates;
}

/** The policy's arrays have the plain names; those of what is trained beside it carry theirs. */
function stateOf(
  parts: readonly (Pick<Trained, "name" | "weights"> & { readonly optimizer: Optimizer })[],
  average: WeightAverage | undefined,
): StateArrays {
  const arrays = parts.flatMap(({ name, weights, optimizer }) => {
    const prefix = name === "policy" ? "" : `${name}.`;
    const own = Object.entries({ weights: weights.flat, ...optimizer.state });
    return own.map(([key, array]) => [prefix + key, array] as const);
  });
  return { ...Object.fromEntries(arrays), ...(average && { ema: average.flat }) };
}
