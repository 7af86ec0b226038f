/** Sums of rows by index are those of a loop, however often an index comes, and are what gathering takes for its gradient. */
import { expect, test } from "vitest";
import type { TensorArray } from "../backends/backend.ts";
import { openBackend } from "../backends/open.ts";
import { gradients } from "../gradient.ts";
import { type FloatType, Graph } from "../graph.ts";
import { evaluate } from "../program.ts";
import { random } from "../random.ts";
import { dim } from "../tensor.ts";
import { mul } from "./elementwise.ts";
import { gatherRows } from "./indexing.ts";
import { sum } from "./reduce.ts";
import { sortedArrays, sortedIndex, sumRows } from "./row-sums.ts";

const width = dim("width", 5);
const indices: Readonly<Record<string, (i: number, any: number) => number>> = {
  "all different": (i) => (i * 7) % 211,
  "all the same": () => 3,
  "some often": (i, any) => (i % 3 === 0 ? 7 : any % 30),
  "runs beyond a block": (i) => Math.floor(i / 100),
};

/** An index of n places, numbers for them, and what they add up to. */
function made(n: number, at: (i: number, any: number) => number, count: number) {
  const rng = random(n, "rows");
  const index = BigInt64Array.from({ length: n }, (_, i) => BigInt(at(i, rng.integer(count))));
  const rows = Float32Array.from({ length: n * width.size }, () => rng.normal());
  const wanted = new Float64Array(count * width.size);
  rows.forEach((v, i) => {
    wanted[Number(index[Math.floor(i / width.size)]) * width.size + (i % width.size)] += v;
  });
  return { index, rows, wanted };
}

/** Numbers of the graph's kind. */
const asFloats = (arrays: Record<string, TensorArray>, float: FloatType) =>
  Object.fromEntries(
    Object.entries(arrays).map(([name, a]) => [
      name,
      float === "float64" && a instanceof Float32Array ? Float64Array.from(a) : a,
    ]),
  );

test("places are sorted by value in blocks, and know where their value begins", () => {
  const found = sortedArrays("at", BigInt64Array.of(5n, 2n, 5n, 0n, 2n, 5n));
  const numbers = (name: string, n: number) => Array.from(found[name], Number).slice(0, n);
  expect(numbers("at", 6)).toEqual([5, 2, 5, 0, 2, 5]);
  expect(numbers("at/values", 8)).toEqual([-1, 0, 2, 2, 5, 5, 5, -1]);
  expect(numbers("at/places", 8)).toEqual([0, 3, 1, 4, 0, 2, 5, 0]);
  expect(numbers("at/first", 6)).toEqual([4, 2, 4, 1, 2, 4]);
  const long = sortedArrays("at", new BigInt64Array(130).fill(9n));
  expect([long["at/began"], long["at/continued"]].map((a) => Array.from(a, Number))).toEqual([
    [0, 1, 1, 0],
    [0, 1, 1, 0],
  ]);
});

test.each(Object.entries(indices))("%s", async (_, at) => {
  const backend = await openBackend();
  for (const n of [1, 2, 63, 64, 65, 128, 200]) {
    const { index, rows, wanted } = made(n, at, 211);
    for (const float of ["float32", "float64"] as const) {
      const graph = new Graph(float);
      const places = sortedIndex(graph, "index", dim("n", n));
      const sorted = graph.sorted.get("index");
      if (!sorted) throw new Error("not sorted");
      const y = sumRows(
        graph.input("rows", "float", [dim("n", n), width]),
        places,
        sorted,
        dim("count", 211),
      );
      const numbers = float === "float64" ? Float64Array.from(rows) : rows;
      const found = await evaluate(
        backend,
        graph,
        { y },
        { ...asFloats(sortedArrays("index", index), float), rows: numbers },
      );
      const tolerance = float === "float64" ? 1e-12 : 1e-4;
      found.y.forEach((v, i) => expect(Math.abs(Number(v) - wanted[i])).toBeLessThan(tolerance));
    }
  }
});

test("a gathered table's gradient is the same where it is known how the index is sorted, and nothing is scattered but heads of blocks", async () => {
  const backend = await openBackend();
  const { index, rows } = made(150, indices["some often"], 40);
  const [table, n] = [dim("table", 40), dim("n", 150)];
  const found: number[][] = [];
  for (const known of [true, false]) {
    const graph = new Graph();
    const x = graph.input("x", "float", [table, width]);
    const places = known ? sortedIndex(graph, "index", n) : graph.input("index", "int64", [n]);
    const loss = sum(mul(gatherRows(x, places), graph.input("rows", "float", [n, width])));
    const [dx] = gradients(loss, [x]);
    if (!dx) throw new Error("no gradient");
    const largest = graph.nodes
      .filter((node) => node.type === "ScatterElements")
      .map((node) => node.inputs[2]);
    const sizes = largest.map((id) => graph.values.get(id)?.elements);
    expect(sizes.includes(150 * width.size)).toBe(!known);
    const x0 = new Float32Array(40 * width.size);
    const arrays = known ? sortedArrays("index", index) : { index };
    found.push(Array.from((await evaluate(backend, graph, { dx }, { ...arrays, rows, x: x0 })).dx, Number));
  }
  found[0].forEach((v, i) => expect(Math.abs(v - found[1][i])).toBeLessThan(1e-5));
  expect(Math.max(...found[0].map(Math.abs))).toBeGreaterThan(1);
});
