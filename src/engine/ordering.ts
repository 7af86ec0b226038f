/**
 * When things are computed. ONNX Runtime orders nodes from the graph's leaves backwards and would compute weight
 * gradients last, keeping every activation alive until then. These operations change no value, only the order.
 */
import { backpropagate } from "./gradient.ts";
import { type Tensor, relabel } from "./tensor.ts";

/**
 * x, but only once every dependency has been computed. A zero made from the dependencies is added to x;
 * it is made in integers, so that NaN or infinity in a dependency leaves x as it is.
 */
export function after(x: Tensor, ...dependencies: Tensor[]): Tensor {
  if (dependencies.length === 0) return x;
  const { graph } = x;
  const one = [{ name: "first", size: 1 }];
  return graph.untaped(() => {
    const firsts = dependencies.map((d) => {
      const flat = graph.node("Reshape", [d, graph.integers([-1])], {
        shape: [{ name: "flat", size: d.elements }],
      });
      const first = graph.node("Slice", [flat, graph.integers([0]), graph.integers([1])], { shape: one });
      return graph.node("Cast", [first], { dtype: "int64", shape: one }, { to: 7 });
    });
    const total = firsts.reduce((a, b) => graph.node("Add", [a, b], { dtype: "int64", shape: one }));
    const zero = graph.node("Mul", [total, graph.integers([0])], { dtype: "int64", shape: one });
    const float = graph.node("Cast", [zero], { shape: one }, { to: graph.float === "float64" ? 11 : 1 });
    return graph.node("Add", [x, float], { shape: x.shape });
  });
}

/**
 * Marks where a layer begins: in the backward, the gradient flows on past this point only after the gradients of
 * `weights` (those of the layer that follows) are done, so that the layer's activations can be freed.
 */
export function layerBoundary(x: Tensor, weights: () => readonly Tensor[]): Tensor {
  const y = relabel(x, x.shape);
  return x.graph.record(y, [x], (dy, { soFar }) => {
    const done = weights().flatMap((w) => soFar(w) ?? []);
    return [after(dy, ...done)];
  });
}

/**
 * build(x) without keeping its inner activations: they are computed a second time in the backward, once the incoming
 * gradient is there. `weights` are the tensors besides x that need gradients inside.
 */
export function recomputed(x: Tensor, weights: readonly Tensor[], build: (x: Tensor) => Tensor): Tensor {
  const { graph } = x;
  const y = graph.untaped(() => build(x));
  return graph.record(y, [x, ...weights], (dy, { wants, soFar }) => {
    const again = after(x, dy);
    const { value, tape } = graph.taped(() => build(again));
    const wanted = [again, ...weights].filter((_, i) => wants[i]);
    const before = wanted.map((t) => (t === again ? undefined : soFar(t)));
    const given = backpropagate(tape, value, wanted, dy, before);
    return [again, ...weights].map((t) => {
      const at = wanted.indexOf(t);
      const found = given[at];
      return found && before[at] ? { including: found } : found;
    });
  });
}
