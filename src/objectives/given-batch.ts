/** What is known of a batch whose examples are all there: its counts, and means that a run keeps over its batches. */
import type { Graph } from "../engine/graph.ts";
import { add, div, mul } from "../engine/ops/elementwise.ts";
import type { Tensor } from "../engine/tensor.ts";
import type { Example } from "./example-shapes.ts";
import { tokenCount } from "./given-completion.ts";
import type { GivenInputs } from "./given-inputs.ts";
import type { ScoreSource } from "./score-source.ts";

/** A mean kept over the batches of a run. */
export interface RunningMean {
  readonly mean: number;
  /** Steps or records that went into it. */
  readonly count: number;
}

/** What is known beside the examples. */
export interface Surroundings {
  /** Numbers that the caller keeps for the batch. */
  readonly batch?: Readonly<Record<string, number>>;
  /** Means over earlier batches. */
  readonly running?: Readonly<Record<string, RunningMean>>;
  /** Take running means as they are, where there are any, instead of adding this batch: held-out data. */
  readonly frozen?: boolean;
  /** Names the random order of ties. */
  readonly seed?: number;
  readonly epoch?: number;
  /** The graph to build in; checks pass a special one. */
  readonly graph?: Graph;
}

export class GivenBatch implements NonNullable<ScoreSource["batch"]> {
  /** Running means with this batch added. */
  readonly running = new Map<string, { mean: Tensor; count: number }>();
  readonly #inputs: GivenInputs;
  readonly #examples: readonly Example[];
  readonly #around: Surroundings;

  constructor(inputs: GivenInputs, examples: readonly Example[], around: Surroundings) {
    this.#inputs = inputs;
    this.#examples = examples;
    this.#around = around;
  }

  size(): Tensor {
    return this.#scalar(this.#examples.length);
  }

  epoch(): Tensor {
    return this.#scalar(this.#around.epoch ?? 0);
  }

  tokens(role: string): Tensor {
    return this.#scalar(this.#inputs.units(role).reduce((n, u) => n + tokenCount(u.completion), 0));
  }

  units(role: string): Tensor {
    return this.#scalar(this.#inputs.units(role).length);
  }

  orderedPairs(role: string): Tensor {
    const scores = this.#examples.map((e) => (e.completions[role] ?? []).map((c) => c.score));
    return this.#scalar(scores.reduce((n, list) => n + orderedPairs(list), 0));
  }

  given(name: string): Tensor | undefined {
    const value = this.#around.batch?.[name];
    return value === undefined ? undefined : this.#scalar(value);
  }

  runningMean(name: string, batchMean: Tensor, weight: "step" | "record"): Tensor {
    const given = this.given(name);
    if (given) return given;
    const { running = {}, frozen } = this.#around;
    const before = Object.hasOwn(running, name) ? running[name] : undefined;
    if (frozen && before) return this.#scalar(before.mean);
    const own = weight === "step" ? 1 : this.#examples.length;
    const count = (before?.count ?? 0) + own;
    // (before · m + own · batch mean) / (before + own)
    const mean = before ? div(add(before.count * before.mean, mul(own, batchMean)), count) : batchMean;
    this.running.set(name, { mean, count });
    return mean;
  }

  #scalar(value: number): Tensor {
    return this.#inputs.graph.scalar(value);
  }
}

/** Pairs of a list whose scores differ. */
export function orderedPairs(scores: readonly (number | undefined)[]): number {
  let pairs = 0;
  scores.forEach((a, i) => scores.slice(i + 1).forEach((b) => (pairs += Number(a !== b))));
  return pairs;
}
