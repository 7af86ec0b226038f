/**
 * A moving average of the weights (Polyak and Juditsky, 1992), in place, with the warm-up of diffusers' EMAModel: at its n-th
 * update the decay is min(decay, n/(9+n)), and 0 at the first, so that a short run is not held back by its start.
 */
import type { Backend } from "../engine/backends/backend.ts";
import { mul, sub } from "../engine/ops/elementwise.ts";
import type { ParameterArray } from "../nn/parameters.ts";
import { ChunkedProgram } from "./chunked.ts";

export interface WeightAverage {
  /** The averaged weights; those of training while they are swapped. For checkpoints. */
  readonly flat: Float32Array;
  /** Takes the weights in: `n` counts from 1. */
  update(n: number): Promise<void>;
  /** Exchanges averaged and trained weights, bit by bit; a second time brings them back. */
  swap(): void;
  release(): void;
}

/** The decay of update n ≥ 1: with k = n - 1, 0 for k = 0, else min(decay, (1+k)/(10+k)). */
export function decayAt(n: number, decay: number): number {
  const k = n - 1;
  return k === 0 ? 0 : Math.min(decay, (1 + k) / (10 + k));
}

export async function weightAverage(
  backend: Backend,
  weights: ParameterArray,
  decay: number,
): Promise<WeightAverage> {
  const { elements } = weights.layout;
  const flat = new Float32Array(backend.allocate(elements * 4), 0, elements);
  flat.set(weights.forReading().flat);
  const share = new Float32Array(1);
  const program = await ChunkedProgram.compile(
    backend,
    ({ array, scalar }) => {
      const [a, p] = ["a", "p"].map(array);
      return { aNew: sub(a, mul(sub(a, p), scalar("share"))) }; // a ← a - (1-decay)(a - p)
    },
    {
      layout: weights.layout,
      arrays: { a: flat, p: weights.flat },
      writes: { aNew: "a" },
      parts: [{ regions: [{ start: 0, end: elements }], scalars: { share } }],
    },
  );
  return {
    flat,
    async update(n) {
      share[0] = 1 - decayAt(n, decay);
      await program.run();
    },
    swap() {
      weights.forWriting();
      backend.resident?.beforeWrite(flat);
      const held = new Float32Array(Math.min(elements, swapElements));
      for (let start = 0; start < elements; start += held.length) {
        const [a, p] = [flat, weights.flat].map((x) => x.subarray(start, start + held.length));
        held.set(a);
        a.set(p);
        p.set(held.subarray(0, p.length));
      }
    },
    release() {
      program.release();
      backend.free(flat.buffer as ArrayBuffer);
    },
  };
}

/** Elements that change places at a time. */
const swapElements = 1 << 18;
