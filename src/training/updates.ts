/** One update of everything that a run trains: norms by group, clipping, and an optimizer for each. */
import type { Backend } from "../engine/backends/backend.ts";
import { type Optimizer, adamW } from "../optim/adamw.ts";
import { clipFactor, gradientNorm } from "../optim/gradient-norm.ts";
import type { StateArrays } from "./checkpoint.ts";
import type { Recipe } from "./recipe.ts";
import type { Trained } from "./trained.ts";

export interface Updates {
  /** Norm of all gradients together; those of each group are kept for the update that follows. */
  norm(): Promise<number>;
  /** One update, at the rate of the policy. `step` counts from 1. */
  update(step: number, learningRate: number): Promise<void>;
  /** Weights and moments by name, for checkpoints. */
  readonly state: StateArrays;
  /** Frees moments and programs. */
  release(): void;
}

export async function updatesOf(
  backend: Backend,
  trained: readonly Trained[],
  settings: Recipe["train"],
): Promise<Updates> {
  const parts = await Promise.all(
    trained.map(async (t) => ({
      ...t,
      optimizer: await adamW(backend, t.weights, t.gradients, settings),
      norm: await gradientNorm(backend, t.gradients),
    })),
  );
  const squares = new Map<string, number>();
  return {
    release() {
      for (const { norm, optimizer } of parts) {
        norm.release();
        optimizer.release();
      }
    },
    state: Object.assign(
      {},
      ...parts.map((p) => stateOf(p.name, p.weights.flat, p.optimizer)),
    ) as StateArrays,
    async norm() {
      squares.clear();
      for (const { group, norm } of parts) {
        const own = await norm.measure(); // a name, as the bundler loses the parentheses of (await …) ** 2
        squares.set(group, (squares.get(group) ?? 0) + own ** 2);
      }
      return Math.sqrt([...squares.values()].reduce((a, b) => a + b, 0));
    },
    async update(step, learningRate) {
      for (const { group, rate, optimizer } of parts) {
        const norm = Math.sqrt(squares.get(group) ?? 0);
        await optimizer.update(step, learningRate * rate, clipFactor(norm, settings.maxGradNorm));
      }
    },
  };
}

/** The policy's arrays have the plain names; those of what is trained beside it carry theirs. */
function stateOf(name: Trained["name"], weights: Float32Array, { state }: Optimizer): StateArrays {
  const arrays = { weights, ...state };
  if (name === "policy") return arrays;
  return Object.fromEntries(Object.entries(arrays).map(([key, array]) => [`${name}.${key}`, array]));
}
