/** target += source over flat arrays: how the gradients of several pieces of a batch become one. */
import type { Backend } from "../engine/backends/backend.ts";
import { add } from "../engine/ops/elementwise.ts";
import type { ParameterArray } from "../nn/parameters.ts";
import { ChunkedProgram } from "./chunked.ts";

export async function accumulator(
  backend: Backend,
  target: ParameterArray,
  source: ParameterArray,
): Promise<{ run: () => Promise<void>; release: () => void }> {
  const program = await ChunkedProgram.compile(
    backend,
    ({ array }) => ({ sum: add(array("target"), array("source")) }),
    {
      arrays: { target: target.flat, source: source.flat },
      writes: { sum: "target" },
    },
  );
  return { run: () => program.run(), release: () => program.release() };
}
