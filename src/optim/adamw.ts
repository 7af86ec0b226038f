/**
 * AdamW (Loshchilov and Hutter, arXiv:1711.05101), with the arithmetic of torch.optim.AdamW: decay first, bias-corrected
 * moments, ε added to the root of the corrected second moment. Weights and moments are updated in place, chunk by chunk.
 */
import type { Backend } from "../engine/backends/backend.ts";
import { add, div, mul, sqrt, sub } from "../engine/ops/elementwise.ts";
import type { ParameterArray } from "../nn/parameters.ts";
import { type ChunkKernel, ChunkedProgram } from "./chunked.ts";

export interface AdamWOptions {
  /** β₁ and β₂. */
  readonly betas: readonly [number, number];
  readonly epsilon: number;
  /** λ; applied to matrices only, never to biases and norms. */
  readonly weightDecay: number;
}

export interface Optimizer {
  /** Flat moments by name, for checkpoints. */
  readonly state: Readonly<Record<string, Float32Array>>;
  /** One update with the gradients multiplied by `gradientScale`. `step` counts from 1. */
  update(step: number, learningRate: number, gradientScale: number): Promise<void>;
  /** Frees moments and programs. */
  release(): void;
}

export async function adamW(
  backend: Backend,
  weights: ParameterArray,
  gradients: ParameterArray,
  options: AdamWOptions,
): Promise<Optimizer> {
  const { layout } = weights;
  const allocate = () => new Float32Array(backend.allocate(layout.elements * 4), 0, layout.elements);
  const state = { m: allocate(), v: allocate() };
  const [beta1, beta2] = options.betas;
  const one = () => new Float32Array(1);
  const shared = { rate: one(), rootCorrection: one(), m1: one(), v1: one() };
  const arrays = { p: weights.flat, g: gradients.flat, ...state };
  const writes = { pNew: "p", mNew: "m", vNew: "v" };
  const kernel: ChunkKernel = ({ array, scalar }) => {
    const [p, g, m, v] = ["p", "g", "m", "v"].map(array);
    const mNew = add(mul(m, beta1), mul(g, scalar("m1"))); // β₁ m + (1-β₁) g
    const vNew = add(mul(v, beta2), mul(mul(g, g), scalar("v1"))); // β₂ v + (1-β₂) g²
    const denominator = add(mul(sqrt(vNew), scalar("rootCorrection")), options.epsilon);
    const pNew = sub(mul(p, scalar("decay")), mul(div(mNew, denominator), scalar("rate")));
    return { pNew, mNew, vNew };
  };
  const regions = [
    { decays: true, region: { start: 0, end: layout.matrixElements } },
    { decays: false, region: { start: layout.matrixElements, end: layout.elements } },
  ];
  const groups = await Promise.all(
    regions.map(async ({ decays, region }) => {
      const decay = one();
      const scalars = { ...shared, decay };
      return {
        decays,
        decay,
        program: await ChunkedProgram.compile(backend, kernel, { arrays, scalars, writes, region }),
      };
    }),
  );
  return {
    state,
    release() {
      for (const { program } of groups) program.release();
      for (const moments of Object.values(state)) backend.free(moments.buffer as ArrayBuffer);
    },
    async update(step, learningRate, gradientScale) {
      shared.rate[0] = learningRate / (1 - beta1 ** step);
      shared.rootCorrection[0] = 1 / Math.sqrt(1 - beta2 ** step);
      shared.m1[0] = (1 - beta1) * gradientScale;
      shared.v1[0] = (1 - beta2) * gradientScale ** 2;
      for (const { decays, decay, program } of groups) {
        decay[0] = decays ? 1 - learningRate * options.weightDecay : 1;
        await program.run();
      }
    },
  };
}
