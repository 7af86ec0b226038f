/**
 * What an optimizer is: options with their defaults, and a way to make one for the arrays of a model. Weights and moments are
 * updated in place. An optimizer stands in a file of its own and has one line in the table.
 */
import type { Backend } from "../engine/backends/backend.ts";
import type { ParameterArray } from "../nn/parameters.ts";
import type { ParameterGroup } from "./groups.ts";

/** Every option that some optimizer takes. Which of them one takes, its defaults say. */
export interface OptimizerOptions {
  /** β₁ and β₂: decay of the first and the second moment. */
  readonly betas?: readonly [number, number];
  /** ε; Adafactor has two, of the squared gradient and of the scale of a parameter. */
  readonly epsilon?: number | readonly [number, number];
  /** μ: share of the last direction that is kept. */
  readonly momentum?: number;
  readonly nesterov?: boolean;
  /** Decay of RMSprop's mean square. */
  readonly alpha?: number;
  /** Whether RMSprop takes the variance instead of the mean square. */
  readonly centered?: boolean;
  /** Adafactor's first moment; null: none. */
  readonly beta1?: number | null;
  readonly decayRate?: number;
  readonly clipThreshold?: number;
  readonly scaleParameter?: boolean;
  readonly relativeStep?: boolean;
  readonly warmupInit?: boolean;
}

export interface OptimizerContext {
  readonly backend: Backend;
  readonly weights: ParameterArray;
  readonly gradients: ParameterArray;
  /** Every parameter belongs to one. */
  readonly groups: readonly ParameterGroup[];
}

export interface Optimizer {
  /** Flat moments by name, for checkpoints. */
  readonly state: Readonly<Record<string, Float32Array>>;
  /** Update number `count` (from 1) with the gradients multiplied by `gradientScale`; groups multiply the rate. */
  update(count: number, learningRate: number, gradientScale: number): Promise<void>;
  /** Frees moments and programs. */
  release(): void;
}

export interface OptimizerKind {
  readonly defaults: OptimizerOptions;
  /** The rate of an update, counted from 1, where the optimizer sets it itself. */
  ownRate(options: OptimizerOptions): ((count: number) => number) | undefined;
  create(context: OptimizerContext, options: OptimizerOptions): Promise<Optimizer>;
}

/** Makes a kind of what one optimizer knows about itself. */
export function optimizer<O extends OptimizerOptions>(own: {
  readonly defaults: O;
  ownRate?(options: O): ((count: number) => number) | undefined;
  create(context: OptimizerContext, options: O): Promise<Optimizer>;
}): OptimizerKind {
  const filled = (given: OptimizerOptions): O => ({ ...own.defaults, ...given });
  return {
    defaults: own.defaults,
    ownRate: (given) => own.ownRate?.(filled(given)),
    create: (context, given) => own.create(context, filled(given)),
  };
}
