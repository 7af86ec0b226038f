/**
 * Sums of rows by an index that may repeat, where it is known how it is sorted. ScatterElements, the one operation of ONNX Runtime that
 * adds to a place twice without a race, takes 10 to 17 ns a number on one thread. So equal ones are put side by side, rows are added up
 * within blocks of that order by products with matrices of zeros and ones, and sums are read where they are wanted.
 */
import type { TensorArray } from "../backends/backend.ts";
import type { Graph, Sorted } from "../graph.ts";
import { type DType, type Dim, type Shape, type Tensor, dim, freeDim } from "../tensor.ts";
import { toFloat } from "./elementwise.ts";
import { reshape } from "./shape.ts";

/** Rows of a block: enough that few sums go beyond one, and few enough that adding up costs little. */
const blockRows = 64;

/** Blocks of an index of n: two at least, as one would be a size that stretches, with a place of padding at the beginning. */
const blocksOf = (n: number): number => Math.floor(n / blockRows) + 2;

/** A value that no index has. */
const padding = -1;

const [one, own, others] = [dim("one", 1), dim("rows", blockRows), dim("others", blockRows)];

/** Declares an index [along] whose order is known: its inputs are those that `sortedArrays` has. */
export function sortedIndex(graph: Graph, name: string, along: Dim): Tensor {
  // They do not grow with every place: their number is left to the run, so that one program serves all.
  const blocks = freeDim(`${name} blocks`, blocksOf(along.size));
  const index = graph.input(name, "int64", [along]);
  graph.sorted.set(name, {
    first: graph.input(`${name}/first`, "int64", [along]),
    places: graph.input(`${name}/places`, "int64", [blocks, own]),
    values: graph.input(`${name}/values`, "int64", [blocks, own]),
    began: graph.input(`${name}/began`, "int64", [blocks, one]),
    continued: graph.input(`${name}/continued`, "float", [blocks, one]),
  });
  return index;
}

/** An index under its name, and how it is sorted. Values are 0 and more, below 2^53 / n. */
export function sortedArrays(name: string, index: BigInt64Array): Record<string, TensorArray> {
  const n = index.length;
  const blocks = blocksOf(n);
  const keys = Float64Array.from(index, (value, place) => Number(value) * n + place).sort();
  const first = new BigInt64Array(n);
  const places = new BigInt64Array(blocks * blockRows);
  const values = new BigInt64Array(blocks * blockRows).fill(BigInt(padding));
  const began = new BigInt64Array(blocks);
  const continued = new Float32Array(blocks);
  let start = 0; // where the value of the one before begins
  keys.forEach((key, i) => {
    const [at, place, value] = [i + 1, key % n, Math.floor(key / n)]; // the first place is padding
    const again = i > 0 && values[at - 1] === BigInt(value);
    if (!again) start = at;
    first[place] = BigInt(start);
    places[at] = BigInt(place);
    values[at] = BigInt(value);
    if (again && at % blockRows === 0) {
      began[at / blockRows] = BigInt(start);
      continued[at / blockRows] = 1;
    }
  });
  const ends = { first, places, values, began, continued };
  const named = Object.entries(ends).map(([end, array]) => [`${name}/${end}`, array]);
  return { [name]: index, ...(Object.fromEntries(named) as Record<string, TensorArray>) };
}

/** rows[i, :] added up at index[i], 0 where nothing is: rows [n, width], index [n] in 0 … count-1 → [count, width]. No gradient. */
export function sumRows(rows: Tensor, index: Tensor, sorted: Sorted, count: Dim): Tensor {
  const { graph } = rows;
  const [, width] = rows.shape;
  const { first, places, values, began, continued } = sorted;
  const [blocks] = places.shape;
  const all = freeDim(`${blocks.name} of ${blockRows}`, blocks.size * blockRows);
  const node = (
    type: string,
    inputs: readonly Tensor[],
    shape: Shape,
    dtype: DType = "float",
    attributes: Record<string, number | string> = {},
  ) => graph.node(type, inputs, { dtype, shape }, attributes);

  const column = reshape(values, [blocks, own, one]);
  const equal = node(
    "Equal",
    [column, reshape(values, [blocks, one, others])],
    [blocks, own, others],
    "bool",
  );
  const real = node("Greater", [column, graph.scalar(padding, "int64")], [blocks, own, one], "bool");
  const same = node("Mul", [toFloat(equal), toFloat(real)], [blocks, own, others]);
  const taken = node("Gather", [rows, places], [blocks, own, width]);
  const added = node("MatMul", [same, taken], [blocks, own, width]);

  // What continues the block before goes to where it began.
  const [start, end, axis] = [0, 1, 1].map((i) => graph.integers([i]));
  const heads = node("Slice", [added, start, end, axis], [blocks, one, width]);
  const later = node("Mul", [reshape(heads, [blocks, width]), continued], [blocks, width]);
  const there = node("Expand", [began, graph.integers([1, width.size])], [blocks, width], "int64");
  const flat = reshape(added, [all, width]);
  const sums = node("ScatterElements", [flat, there, later], [all, width], "float", { reduction: "add" });

  // Places that nothing goes to read the padding, whose sum is 0.
  const nowhere = node("Expand", [graph.scalar(0, "int64"), graph.integers([count.size])], [count], "int64");
  const found = node("ScatterElements", [nowhere, index, first], [count], "int64");
  return node("Gather", [sums, found], [count, width]);
}
