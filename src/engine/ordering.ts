/**
 * When things are computed. ONNX Runtime orders nodes from the graph's leaves backwards and would compute weight
 * gradients last, keeping every activation alive until then. These operations change no value, only the order.
 */
import { backpropagate } from "./gradient.ts";
import type { InputGradient, TapeEntry } from "./graph.ts";
import { piecesOf } from "./pieces.ts";
import { type Tensor, relabel } from "./tensor.ts";

/**
 * x, but only once every dependency has been computed. A zero made from the dependencies is added to x;
 * it is made in integers, so that NaN or infinity in a dependency leaves x as it is.
 */
export function after(x: Tensor, ...dependencies: Tensor[]): Tensor {
  if (dependencies.length === 0) return x;
  const { graph } = x;
  return graph.untaped(() => {
    const totals = byRank(dependencies).map(([first, ...more]) => {
      const firsts = [first, ...more].map(firstOf);
      const shape = firsts[0].shape.map((d, i) => ({ ...d, size: i === 0 ? firsts.length : d.size }));
      const together = firsts.length === 1 ? firsts[0] : graph.node("Concat", firsts, { shape }, { axis: 0 });
      const whole = graph.node("Cast", [together], { dtype: "int64", shape }, { to: 7 });
      return graph.node("ReduceSum", [whole], { dtype: "int64", shape: [] }, { keepdims: 0 });
    });
    const total = totals.reduce((a, b) => graph.node("Add", [a, b], { dtype: "int64", shape: [] }));
    const zero = graph.node("Mul", [total, graph.scalar(0, "int64")], { dtype: "int64", shape: [] });
    const to = graph.float === "float64" ? 11 : 1;
    const own = x.dtype === "int64" ? zero : graph.node("Cast", [zero], { shape: [] }, { to });
    return graph.node("Add", [x, own], { dtype: x.dtype, shape: x.shape });
  });
}

/** The first element of a tensor, in its rank; of a scalar it is a vector. */
function firstOf(x: Tensor): Tensor {
  const { graph } = x;
  const shape = (x.rank === 0 ? [0] : x.shape).map(() => ({ name: "first", size: 1 }));
  const all = (n: number) => graph.integers(shape.map(() => n));
  if (x.rank === 0) return graph.node("Reshape", [x, all(1)], { shape });
  return graph.node("Slice", [x, all(0), all(1)], { shape });
}

/** Tensors of equal rank together, as Concat wants them. */
function byRank(tensors: readonly Tensor[]): [Tensor, ...Tensor[]][] {
  const groups = new Map<number, [Tensor, ...Tensor[]]>();
  for (const t of tensors) {
    const group = groups.get(Math.max(t.rank, 1));
    if (group) group.push(t);
    else groups.set(Math.max(t.rank, 1), [t]);
  }
  return [...groups.values()];
}

/** Lets a value be made anew by `make`, which is to begin only once its dependency is there. */
export function remakeBy(x: Tensor, make: (dependency: Tensor) => Tensor): Tensor {
  if (!x.graph.keeping) x.graph.remakes.set(x.id, make);
  return x;
}

/** A value made anew, once `dependency` is there, where its graph knows how; else the value. */
export function madeAgain(x: Tensor, dependency: Tensor): Tensor {
  return x.graph.untaped(() => x.graph.remakes.get(x.id)?.(dependency)) ?? x;
}

/**
 * Marks where a layer begins: in the backward, the gradient flows on past this point only after the gradients of
 * `weights` (those of the layer that follows) are done, so that the layer's activations can be freed.
 */
export function layerBoundary(x: Tensor, weights: () => readonly Tensor[]): Tensor {
  const y = relabel(x, x.shape);
  return x.graph.record(y, [x], (dy, { soFar }) => {
    // Of what comes in pieces, the pieces: the whole is put together nowhere.
    const done = weights().flatMap((w) => {
      const found = soFar(w);
      return found ? (piecesOf(found) ?? [found]) : [];
    });
    return [after(dy, ...done)];
  });
}

/**
 * build(x) without keeping its inner activations: they are computed a second time in the backward, once the incoming
 * gradient is there. `weights` are the tensors besides x that need gradients inside.
 */
export function recomputed(x: Tensor, weights: readonly Tensor[], build: (x: Tensor) => Tensor): Tensor {
  const { graph } = x;
  const whole = (input: Tensor) => graph.keepingAll(() => build(input));
  const y = graph.untaped(() => whole(x));
  return graph.record(y, [x, ...weights], (dy, { wants, soFar }) => {
    const again = after(x, dy);
    return gradientsAgain(
      graph.taped(() => whole(again)),
      [x, ...weights],
      again,
      dy,
      wants,
      soFar,
    );
  });
}

/**
 * build(first, ...others), of which nothing is kept, for what is cheap: inner activations are computed again in the backward, and so is
 * the result where a weight's gradient needs it (`madeAgain`), both at once. What puts the second
 * computation off is a copy of the first input: the smallest should come first. Within layers that are `recomputed` as a whole it is build itself.
 */
export function remade(
  inputs: readonly [Tensor, ...Tensor[]],
  build: (...inputs: Tensor[]) => Tensor,
): Tensor {
  const [first, ...others] = inputs;
  const { graph } = first;
  if (graph.keeping) return build(...inputs);
  const y = graph.untaped(() => build(...inputs));
  let again: { input: Tensor; value: Tensor; tape: TapeEntry[] } | undefined;
  const make = (dependency: Tensor) => {
    if (!again) {
      const input = after(first, dependency);
      again = { input, ...graph.taped(() => build(input, ...others)) };
    }
    return again;
  };
  graph.remakes.set(y.id, (dependency) => make(dependency).value);
  return graph.record(y, inputs, (dy, { wants, soFar }) => {
    const { input, ...taped } = make(dy);
    return gradientsAgain(taped, inputs, input, dy, wants, soFar);
  });
}

/** Gradients along a tape that was made again, with `again` in the place of the first input. */
function gradientsAgain(
  { value, tape }: { value: Tensor; tape: readonly TapeEntry[] },
  [, ...others]: readonly Tensor[],
  again: Tensor,
  dy: Tensor,
  wants: readonly boolean[],
  soFar: (t: Tensor) => Tensor | undefined,
): InputGradient[] {
  const inputs = [again, ...others];
  const wanted = inputs.filter((_, i) => wants[i]);
  const before = wanted.map((t) => (t === again ? undefined : soFar(t)));
  const given = backpropagate(tape, value, wanted, dy, before);
  return inputs.map((t) => {
    const at = wanted.indexOf(t);
    const found = given[at];
    return found && before[at] ? { including: found } : found;
  });
}
