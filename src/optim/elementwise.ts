/**
 * Optimizers that treat every element alike: a rule says which moments there are, what one chunk becomes, and which numbers a
 * step needs. The rest (memory, groups, chunks) is the same for all of them and stands here.
 */
import type { Tensor } from "../engine/tensor.ts";
import { ChunkedProgram } from "./chunked.ts";
import type { Optimizer, OptimizerContext } from "./optimizer.ts";

/** Numbers of one update of one group. */
export interface UpdateNumbers {
  /** Updates, this one included. */
  readonly count: number;
  readonly rate: number;
  readonly weightDecay: number;
  /** Factor of the gradients, of clipping. */
  readonly gradientScale: number;
}

export interface ElementwiseRule {
  /** Names of the moments, zero at the start. */
  readonly moments: readonly string[];
  /**
   * From `p`, `g`, the moments and the scalars: the new `p` and the new moments, under their own names. They are written over
   * the old ones, so whatever else reads an old one must be something that the new one depends on. Where nothing `decays`, one
   * pass over memory can be left out.
   */
  readonly kernel: (
    inputs: { readonly array: (name: string) => Tensor; readonly scalar: (name: string) => Tensor },
    decays: boolean,
  ) => Readonly<Record<string, Tensor>>;
  /** The scalars of an update. */
  readonly scalars: (numbers: UpdateNumbers) => Readonly<Record<string, number>>;
}

export async function elementwise(context: OptimizerContext, rule: ElementwiseRule): Promise<Optimizer> {
  const { backend, weights, gradients } = context;
  const { elements } = weights.layout;
  const state = Object.fromEntries(
    rule.moments.map((name) => [name, new Float32Array(backend.allocate(elements * 4), 0, elements)]),
  );
  const names = Object.keys(rule.scalars({ count: 1, rate: 0, weightDecay: 0, gradientScale: 1 }));
  const parts = context.groups.map(({ rate, weightDecay, regions }) => ({
    rate,
    weightDecay,
    regions,
    variant: weightDecay > 0 ? "decays" : "",
    scalars: Object.fromEntries(names.map((name) => [name, new Float32Array(1)])),
  }));
  const written = ["p", ...rule.moments];
  const program = await ChunkedProgram.compile(
    backend,
    (inputs, variant) => {
      const made = rule.kernel(inputs, variant === "decays");
      return Object.fromEntries(written.map((name) => [after(name), made[name]]));
    },
    {
      layout: weights.layout,
      arrays: { p: weights.flat, g: gradients.flat, ...state },
      writes: Object.fromEntries(written.map((name) => [after(name), name])),
      parts,
    },
  );
  return {
    state,
    async update(count, learningRate, gradientScale) {
      for (const { rate, weightDecay, scalars } of parts) {
        const numbers = rule.scalars({ count, rate: learningRate * rate, weightDecay, gradientScale });
        for (const name of names) scalars[name][0] = numbers[name];
      }
      await program.run();
    },
    release() {
      program.release();
      for (const moment of Object.values(state)) backend.free(moment.buffer as ArrayBuffer);
    },
  };
}

/** The name of an output that replaces an input. */
const after = (name: string) => `new ${name}`;
