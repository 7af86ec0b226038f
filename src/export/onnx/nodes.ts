/**
 * Operators of the exported graph whose shapes the run decides: sizes read off tensors, masks, places of tokens. Nothing here has a
 * gradient.
 */
import type { Graph } from "../../engine/graph.ts";
import { type Dim, type Shape, type Tensor, dim } from "../../engine/tensor.ts";

/** "To the end", as Slice takes it. */
const end = 2 ** 53 - 1;
const one = dim("one", 1);

/** The size of a dimension as the run finds it: [1] int64. */
export function sizeOf(x: Tensor, axis: number): Tensor {
  return x.graph.node("Shape", [x], { dtype: "int64", shape: [one] }, { start: axis, end: axis + 1 });
}

/** x under a shape of which two sizes are free: `first`, [1] int64, is the first size, the other follows. */
export function reshapeFrom(x: Tensor, first: Tensor, shape: Shape): Tensor {
  const { graph } = x;
  const rest = graph.integers(shape.slice(1).map((d) => (d.free ? -1 : d.size)));
  const sizes = graph.node(
    "Concat",
    [first, rest],
    { dtype: "int64", shape: [dim("sizes", shape.length)] },
    { axis: 0 },
  );
  return graph.node("Reshape", [x, sizes], { dtype: x.dtype, shape });
}

/** The last `count` ([1] int64) elements of a dimension, which is `to` afterwards. */
export function lastOf(x: Tensor, axis: number, count: Tensor, to: Dim): Tensor {
  const { graph } = x;
  const start = graph.node("Sub", [graph.integers([0]), count], { dtype: "int64", shape: [one] });
  const shape = x.shape.map((d, i) => (i === axis ? to : d));
  const ends = [graph.integers([end]), graph.integers([axis])];
  return graph.node("Slice", [x, start, ...ends], { dtype: x.dtype, shape });
}

/** A dimension of size 1 put in at each of the axes of the result. */
export function widened(x: Tensor, ...axes: number[]): Tensor {
  const { graph } = x;
  const rest = [...x.shape];
  const shape = Array.from({ length: x.rank + axes.length }, (_, i) =>
    axes.includes(i) ? one : (rest.shift() ?? one),
  );
  return graph.node("Unsqueeze", [x, graph.integers(axes)], { dtype: x.dtype, shape });
}

/** An operator of integers or truth values. */
export function integer(graph: Graph, type: string, inputs: readonly Tensor[], shape: Shape): Tensor {
  return graph.node(type, inputs, { dtype: "int64", shape });
}

export function truth(graph: Graph, type: string, inputs: readonly Tensor[], shape: Shape): Tensor {
  return graph.node(type, inputs, { dtype: "bool", shape });
}
