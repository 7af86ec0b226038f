/** The global L2 norm of a gradient, and clipping by it (Pascanu et al., arXiv:1211.5063, as torch.nn.utils.clip_grad_norm_). */
import type { Backend } from "../engine/backends/backend.ts";
import type { ParameterArray } from "../nn/parameters.ts";
import { ChunkedProgram } from "./chunked.ts";

/** Measures the norm: squares are summed per chunk in float32, chunks in double precision. */
export async function gradientNorm(
  backend: Backend,
  gradients: ParameterArray,
): Promise<{ measure: () => Promise<number>; release: () => void }> {
  const program = await ChunkedProgram.compile(
    backend,
    ({ array }) => {
      const g = array("g");
      return { squares: g.graph.node("ReduceSumSquare", [g], { shape: [] }, { keepdims: 0 }) };
    },
    { layout: gradients.layout, arrays: { g: gradients.flat } },
  );
  return {
    async measure() {
      await program.run();
      return Math.sqrt(program.total("squares"));
    },
    release: () => program.release(),
  };
}

/** The factor that brings a gradient of this norm to at most `maxNorm`; 0 or infinity means no clipping. */
export function clipFactor(norm: number, maxNorm: number): number {
  return maxNorm > 0 ? Math.min(1, maxNorm / (norm + 1e-6)) : 1;
}
