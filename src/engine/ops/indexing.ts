/**
 * Reading and summing by index. A backward that can meet the same index twice adds up rows as they are sorted (`row-sums.ts`), where that
 * is known and there is no gradient yet; elsewhere it uses ScatterElements with addition: ScatterND races when it has several threads.
 */
import { type Dim, type Tensor, dim, relabel, shapeError, showShape } from "../tensor.ts";
import { inPieces, piecesOf } from "../pieces.ts";
import { mul } from "./elementwise.ts";
import { sumRows } from "./row-sums.ts";
import { expand, reshape } from "./shape.ts";

/** Zeros of the shape of `like`, made at run time: a folded constant would be kept inside the program. */
function zerosLike(like: Tensor): Tensor {
  return like.graph.untaped(() => mul(like, 0));
}

/** target[index[i], :] += rows[i, :]; `index` [n] int64, `rows` [n, …], no gradient. */
function scatterAddRows(target: Tensor, index: Tensor, rows: Tensor): Tensor {
  const { graph } = target;
  const column = [index.shape[0], ...rows.shape.slice(1).map((d) => dim(d.name, 1))];
  const wide = rows.rank === 1 ? index : expand(reshape(index, column), rows.shape);
  return graph.node(
    "ScatterElements",
    [target, wide, rows],
    { shape: target.shape },
    { axis: 0, reduction: "add" },
  );
}

/** The same into a target whose rows come in pieces: each piece takes the rows that are its own. */
function scatterAddPieces(pieces: readonly Tensor[], index: Tensor, rows: Tensor): Tensor[] {
  const { graph } = index;
  const column = [index.shape[0], ...rows.shape.slice(1).map((d) => dim(d.name, 1))];
  let start = 0;
  return pieces.map((piece) => {
    const own = graph.node("Sub", [index, graph.scalar(start, "int64")], {
      dtype: "int64",
      shape: index.shape,
    });
    const [first, end] = [graph.scalar(0, "int64"), graph.scalar(piece.shape[0].size, "int64")];
    start += piece.shape[0].size;
    const compared = (type: string, bound: Tensor) =>
      graph.node(type, [own, bound], { dtype: "bool", shape: index.shape });
    const inside = graph.node("And", [compared("GreaterOrEqual", first), compared("Less", end)], {
      dtype: "bool",
      shape: index.shape,
    });
    // What belongs elsewhere adds 0 to the first row.
    const place = graph.node("Where", [inside, own, first], { dtype: "int64", shape: index.shape });
    const wide = graph.node("Reshape", [inside, graph.integers(column.map((d) => d.size))], {
      dtype: "bool",
      shape: column,
    });
    return scatterAddRows(
      piece,
      place,
      graph.node("Where", [wide, rows, graph.scalar(0)], { shape: rows.shape }),
    );
  });
}

/** Rows `index[i]` of `x`: x [rows, …], index [n] int64 → [n, …]. Indices may repeat. */
export function gatherRows(x: Tensor, index: Tensor): Tensor {
  if (index.rank !== 1 || index.dtype !== "int64")
    throw shapeError("gatherRows", `index must be [n] int64, is ${index}`);
  const { graph } = x;
  const y = graph.node("Gather", [x, index], { shape: [index.shape[0], ...x.shape.slice(1)] }, { axis: 0 });
  return graph.record(y, [x], (dy, { soFar }) => {
    // A tied head has made a gradient of this size already: add into it.
    const before = soFar(x);
    const sorted = graph.sorted.get(index.id);
    if (!before && sorted && x.rank === 2) return [relabel(sumRows(dy, index, sorted, x.shape[0]), x.shape)];
    if (!before) return [scatterAddRows(zerosLike(x), index, dy)];
    const pieces = piecesOf(before);
    return [
      {
        including: pieces
          ? inPieces(scatterAddPieces(pieces, index, dy), x.shape)
          : scatterAddRows(before, index, dy),
      },
    ];
  });
}

/** Where the rows of a tensor went. */
export interface RowPlaces {
  /** The place of each row that went to one, [n] int64; where rows are repeated, of those after them. */
  readonly rows: Tensor;
  /** The places of the first rows, [copies, m] int64. Where a row went to fewer, a place whose gradient is 0. */
  readonly repeated?: Tensor;
}

/**
 * Rows `index[i]` of `x`, as `gatherRows`, where it is known where each row goes: then the backward reads too, and nothing is scattered.
 * x [rows, width], index [n] int64 → [n, width].
 */
export function rearrangeRows(x: Tensor, index: Tensor, places: RowPlaces): Tensor {
  const { graph } = x;
  const [count, width] = x.shape;
  const { rows, repeated } = places;
  if (rows.elements + (repeated?.shape[1].size ?? 0) !== count.size)
    throw shapeError("rearrangeRows", `${showShape(x.shape)} and places ${showShape(rows.shape)}`);
  const taken = (from: Tensor, at: Tensor) =>
    graph.node("Gather", [from, at], { shape: [...at.shape, width] }, { axis: 0 });
  return graph.record(taken(x, index), [x], (dy) => {
    const single = taken(dy, rows);
    if (!repeated) return [relabel(single, x.shape)];
    const [, first] = repeated.shape;
    const summed = graph.node(
      "ReduceSum",
      [taken(dy, repeated), graph.integers([0])],
      { shape: [first, width] },
      { keepdims: 0 },
    );
    return [graph.node("Concat", [summed, single], { shape: x.shape }, { axis: 0 })];
  });
}

/** x[i, index[i]]: x [n, k], index [n] int64 → [n]. */
export function pick(x: Tensor, index: Tensor): Tensor {
  if (x.rank !== 2 || index.rank !== 1 || index.shape[0].size !== x.shape[0].size) {
    throw shapeError("pick", `x ${showShape(x.shape)}, index ${showShape(index.shape)}`);
  }
  const { graph } = x;
  const column = reshape(index, [index.shape[0], dim("one", 1)]);
  const picked = graph.node("GatherElements", [x, column], { shape: column.shape }, { axis: 1 });
  const y = graph.untaped(() => reshape(picked, [x.shape[0]]));
  return graph.record(y, [x], (dy) => [
    graph.node(
      "ScatterElements",
      [zerosLike(x), column, reshape(dy, column.shape)],
      { shape: x.shape },
      { axis: 1, reduction: "add" },
    ),
  ]);
}

/**
 * Sums of segments: values [n], segment [n] int64 in 0 … count → [count]. Segment `count` is a drain:
 * what is sent there (padding) is dropped.
 */
export function segmentSum(values: Tensor, segment: Tensor, count: Dim): Tensor {
  if (values.rank !== 1 || segment.rank !== 1 || values.shape[0].size !== segment.shape[0].size) {
    throw shapeError("segmentSum", `values ${showShape(values.shape)}, segment ${showShape(segment.shape)}`);
  }
  const { graph } = values;
  const open = dim(count.name, count.size + 1);
  const y = graph.untaped(() => {
    const zeros = expand(reshape(graph.scalar(0), [dim(count.name, 1)]), [open]);
    const all = graph.node(
      "ScatterElements",
      [zeros, segment, values],
      { shape: [open] },
      { axis: 0, reduction: "add" },
    );
    return graph.node(
      "Slice",
      [all, graph.integers([0]), graph.integers([count.size]), graph.integers([0])],
      { shape: [count] },
    );
  });
  return graph.record(y, [values], (dy) => [relabel(spread(dy, segment), values.shape)]);
}

/**
 * The value of its segment at every place: values [count], segment [n] int64 in 0 … count → [n]; 0 in the drain.
 * The opposite of `segmentSum`, and its backward.
 */
export function spread(values: Tensor, segment: Tensor): Tensor {
  const { graph } = values;
  const [count] = values.shape;
  const open = [dim(count.name, count.size + 1)];
  const padded = graph.node("Pad", [values, graph.integers([0, 1])], { shape: open });
  const y = graph.node("Gather", [padded, segment], { shape: segment.shape }, { axis: 0 });
  return graph.record(y, [values], (dy) => [relabel(segmentSum(dy, segment, count), values.shape)]);
}

/** The indices that sort a vector ascending, equal values in their order: x [n] → [n] int64. No gradient; see `gatherRows`. */
export function argsort(x: Tensor): Tensor {
  const { graph } = x;
  const count = graph.integers([x.elements]);
  const [, order] = graph.nodesOut(
    "TopK",
    [x, count],
    [{ shape: x.shape }, { dtype: "int64", shape: x.shape }],
    { axis: 0, largest: 0, sorted: 1 },
  );
  return order;
}
