/**
 * Reverse-mode differentiation: walks the tape backwards and sums what each operation's backward rule returns.
 * Only paths that lead from the wanted tensors to the output are followed; frozen weights cost nothing.
 */
import type { InputGradient, TapeEntry } from "./graph.ts";
import type { Tensor } from "./tensor.ts";
import { RequestError } from "../errors.ts";

export interface GradientOptions {
  /** Instead of 1, where the output is no scalar: the gradient is the product of the seed with the Jacobian. */
  readonly seed?: Tensor;
  /** For each of `wrt` what its gradient is added to: the gradient of earlier pieces of a batch. */
  readonly onto?: readonly (Tensor | undefined)[];
}

/**
 * d(output)/d(wrt[i]), added to `onto[i]` where that is given. A tensor that does not reach the output has no gradient:
 * undefined, or what it would have been added to.
 */
export function gradients(
  output: Tensor,
  wrt: readonly Tensor[],
  { seed, onto = [] }: GradientOptions = {},
): (Tensor | undefined)[] {
  const { graph } = output;
  if (!seed && output.rank !== 0) {
    throw new RequestError({
      code: "gradient-of-non-scalar",
      what: "a gradient needs a scalar, or a seed of the output's shape",
      where: `gradient of ${output}`,
    });
  }
  return graph.untaped(() => backpropagate(graph.tape, output, wrt, seed ?? graph.scalar(1), onto));
}

/** The same along a given tape, as recomputation needs it. */
export function backpropagate(
  tape: readonly TapeEntry[],
  output: Tensor,
  wrt: readonly Tensor[],
  seed: Tensor,
  onto: readonly (Tensor | undefined)[] = [],
): (Tensor | undefined)[] {
  const reaches = new Set<Tensor>(wrt);
  for (const { output: y, inputs } of tape) if (inputs.some((x) => reaches.has(x))) reaches.add(y);

  const found = new Map<Tensor, Tensor>([[output, seed]]);
  wrt.forEach((x, i) => {
    const before = onto[i];
    if (before) found.set(x, before);
  });
  for (const { output: y, inputs, backward } of [...tape].reverse()) {
    const dy = found.get(y);
    if (!dy || !reaches.has(y)) continue;
    const wants = inputs.map((x) => reaches.has(x));
    const given = backward(dy, { wants, soFar: (t) => found.get(t) });
    inputs.forEach((x, i) => {
      if (wants[i]) accumulate(found, x, given[i]);
    });
  }
  return wrt.map((t) => found.get(t));
}

function accumulate(found: Map<Tensor, Tensor>, x: Tensor, given: InputGradient): void {
  if (!given) return;
  if ("including" in given) {
    found.set(x, given.including);
    return;
  }
  const before = found.get(x);
  found.set(x, before ? x.graph.node("Add", [before, given], { shape: x.shape }) : given);
}
