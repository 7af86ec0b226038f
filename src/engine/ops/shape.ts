/**
 * Operations that move elements without computing: reshape, transpose, slice, concatenate. Dimensions are named by
 * their names, not by position.
 */
import {
  type Dim,
  type Shape,
  type Tensor,
  dim,
  elementsOf,
  relabel,
  sameDim,
  shapeError,
  showShape,
} from "../tensor.ts";

/** The position of the dimension called `name`. Throws when there is none, or more than one. */
export function axisOf(operation: string, x: Tensor, name: string): number {
  const found = x.shape.flatMap((d, i) => (d.name === name ? [i] : []));
  if (found.length !== 1) {
    throw shapeError(operation, `${showShape(x.shape)} has ${found.length || "no"} dimension "${name}"`);
  }
  return found[0];
}

/** Sizes as Reshape takes them; one of them may be left to the run. */
function sizesOf(shape: Shape): number[] {
  if (shape.filter((d) => d.free).length > 1)
    throw shapeError("reshape", `${showShape(shape)} has more than one size that only the run knows`);
  return shape.map((d) => (d.free ? -1 : d.size));
}

/** The same elements in row-major order under another shape, of which one size may be free. */
export function reshape(x: Tensor, shape: Shape): Tensor {
  if (elementsOf(shape) !== x.elements) {
    throw shapeError(
      "reshape",
      `${showShape(x.shape)} has ${x.elements} elements, ${showShape(shape)} ${elementsOf(shape)}`,
    );
  }
  const y = x.graph.node("Reshape", [x, x.graph.integers(sizesOf(shape))], { dtype: x.dtype, shape });
  return x.graph.record(y, [x], (dy) => [reshape(dy, x.shape)]);
}

/** The dimensions in another order, given by their names. */
export function transpose(x: Tensor, order: readonly string[]): Tensor {
  const perm = order.map((name) => axisOf("transpose", x, name));
  if (new Set(perm).size !== x.rank) {
    throw shapeError("transpose", `[${order.join(", ")}] is not an order of ${showShape(x.shape)}`);
  }
  const y = x.graph.node("Transpose", [x], { dtype: x.dtype, shape: perm.map((i) => x.shape[i]) }, { perm });
  return x.graph.record(y, [x], (dy) => [
    transpose(
      dy,
      x.shape.map((d) => d.name),
    ),
  ]);
}

/** Elements `start` to `end` (exclusive) of dimension `name`, which is called `as` afterwards. */
export function slice(x: Tensor, name: string, start: number, end: number, as = name): Tensor {
  const axis = axisOf("slice", x, name);
  const size = x.shape[axis].size;
  if (start < 0 || end > size || start > end) {
    throw shapeError("slice", `${start} to ${end} of dimension "${name}" of ${showShape(x.shape)}`);
  }
  const { graph } = x;
  const at = (n: number) => graph.integers([n]);
  const shape = replaceDim(x.shape, axis, dim(as, end - start));
  const y = graph.node("Slice", [x, at(start), at(end), at(axis)], { dtype: x.dtype, shape });
  return graph.record(y, [x], (dy) => {
    const pads = [
      ...x.shape.map((_, i) => (i === axis ? start : 0)),
      ...x.shape.map((_, i) => (i === axis ? size - end : 0)),
    ];
    return [graph.node("Pad", [dy, graph.integers(pads)], { shape: x.shape })];
  });
}

/** Tensors one after another along dimension `name`. */
export function concat(tensors: readonly Tensor[], name: string): Tensor {
  const [first] = tensors;
  const axis = axisOf("concat", first, name);
  for (const t of tensors) {
    if (t.rank !== first.rank || !t.shape.every((d, i) => i === axis || sameDim(d, first.shape[i]))) {
      throw shapeError("concat", `${showShape(first.shape)} and ${showShape(t.shape)} along "${name}"`);
    }
  }
  if (tensors.length === 1) return first;
  const total = tensors.reduce((n, t) => n + t.shape[axis].size, 0);
  const shape = replaceDim(first.shape, axis, dim(name, total));
  const y = first.graph.node("Concat", tensors, { dtype: first.dtype, shape }, { axis });
  return first.graph.record(y, tensors, (dy, { wants }) => {
    let start = 0;
    return tensors.map((t, i) => {
      const end = start + t.shape[axis].size;
      const part = wants[i] ? slice(dy, name, start, end) : undefined;
      start = end;
      return part && relabel(part, t.shape);
    });
  });
}

/** A dimension under another name; no work at run time. */
export function rename(x: Tensor, from: string, to: string): Tensor {
  const axis = axisOf("rename", x, from);
  const shape = replaceDim(x.shape, axis, dim(to, x.shape[axis].size));
  return x.graph.record(relabel(x, shape), [x], (dy) => [relabel(dy, x.shape)]);
}

/** Dimensions of size 1 stretched to `shape`. */
export function expand(x: Tensor, shape: Shape): Tensor {
  const y = x.graph.node("Expand", [x, x.graph.integers(shape.map((d) => d.size))], {
    dtype: x.dtype,
    shape,
  });
  const stretched = x.shape.flatMap((d, i) =>
    d.size === 1 && shape[i + shape.length - x.rank].size !== 1 ? [i + shape.length - x.rank] : [],
  );
  const extra = Array.from({ length: shape.length - x.rank }, (_, i) => i);
  return x.graph.record(y, [x], (dy) => {
    const axes = [...extra, ...stretched];
    const summed = axes.length
      ? dy.graph.node(
          "ReduceSum",
          [dy, dy.graph.integers(axes)],
          { shape: x.shape },
          { keepdims: extra.length ? 0 : 1 },
        )
      : dy;
    return [reshape(summed, x.shape)];
  });
}

function replaceDim(shape: Shape, axis: number, by: Dim): Shape {
  return shape.map((d, i) => (i === axis ? by : d));
}
