/** Sums, means and maxima over named dimensions. */
import type { Shape, Tensor } from "../tensor.ts";
import { div, exp, mul, sub } from "./elementwise.ts";
import { axisOf, reshape } from "./shape.ts";

/** The axes of the named dimensions, all of them when none is named; the shape without them, and with size 1 instead. */
function reduction(operation: string, x: Tensor, names: readonly string[]) {
  const axes = names.length ? names.map((n) => axisOf(operation, x, n)) : x.shape.map((_, i) => i);
  const shape: Shape = x.shape.filter((_, i) => !axes.includes(i));
  const kept: Shape = x.shape.map((d, i) => (axes.includes(i) ? { name: d.name, size: 1 } : d));
  return { axes, shape, kept };
}

function ones(shape: Shape, x: Tensor): Tensor {
  return x.graph.node("Expand", [x.graph.scalar(1), x.graph.integers(shape.map((d) => d.size))], { shape });
}

/** The sum over the named dimensions; over all of them when none is named. */
export function sum(x: Tensor, ...names: string[]): Tensor {
  if (x.rank === 0) return x;
  const { axes, shape, kept } = reduction("sum", x, names);
  const y = x.graph.node("ReduceSum", [x, x.graph.integers(axes)], { shape }, { keepdims: 0 });
  return x.graph.record(y, [x], (dy) => [mul(ones(x.shape, x), reshape(dy, kept))]);
}

/** The mean over the named dimensions; over all of them when none is named. */
export function mean(x: Tensor, ...names: string[]): Tensor {
  const total = sum(x, ...names);
  return div(total, x.elements / total.elements);
}

/** The largest value over the named dimensions. No gradient. */
export function max(x: Tensor, ...names: string[]): Tensor {
  const { axes, shape } = reduction("max", x, names);
  return x.graph.node("ReduceMax", [x, x.graph.integers(axes)], { shape }, { keepdims: 0 });
}

/** ln Σ e^x over one named dimension; its gradient is the softmax. */
export function logSumExp(x: Tensor, name: string): Tensor {
  const { axes, shape, kept } = reduction("logSumExp", x, [name]);
  const { graph } = x;
  // ReduceLogSumExp does not subtract the maximum on every back end; this does.
  const y = graph.untaped(() => {
    const top = graph.node("ReduceMax", [x, graph.integers(axes)], { shape: kept }, { keepdims: 1 });
    const total = graph.node(
      "ReduceSum",
      [exp(sub(x, top)), graph.integers(axes)],
      { shape: kept },
      { keepdims: 1 },
    );
    return reshape(
      graph.node("Add", [graph.node("Log", [total], { shape: kept }), top], { shape: kept }),
      shape,
    );
  });
  return graph.record(y, [x], (dy) => [mul(exp(sub(x, reshape(y, kept))), reshape(dy, kept))]);
}
