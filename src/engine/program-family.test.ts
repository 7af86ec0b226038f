/** One program for graphs that are alike, with the results that each would have compiled on its own. */
import { expect, test } from "vitest";
import { openBackend } from "./backends/open.ts";
import { gradients } from "./gradient.ts";
import { Graph } from "./graph.ts";
import { gatherRows, segmentSum } from "./ops/indexing.ts";
import { mul } from "./ops/elementwise.ts";
import { linear } from "./ops/matmul.ts";
import { sum } from "./ops/reduce.ts";
import { expand, reshape, slice } from "./ops/shape.ts";
import { ProgramFamily } from "./program-family.ts";
import { type Built, evaluate } from "./program.ts";
import { random } from "./random.ts";
import { dim } from "./tensor.ts";

interface Sizes {
  readonly rows: number;
  readonly picked: number;
  readonly groups: number;
}

/** Rows are picked, scaled by a constant that their number decides, cut in two and summed by groups; with the gradient of a weight. */
function build({ rows, picked, groups }: Sizes): Built {
  const graph = new Graph();
  const [n, width, many] = [dim("rows", rows), dim("width", 2), dim("picked", picked)];
  const x = linear(graph.input("x", "float", [n, width]), graph.input("w", "float", [dim("out", 3), width]));
  const some = gatherRows(x, graph.input("index", "int64", [many]));
  const scaled = mul(
    some,
    expand(reshape(graph.scalar(1 / picked), [dim("one", 1), dim("out", 1)]), some.shape),
  );
  const first = slice(scaled, "picked", 0, 1, "first");
  const sums = segmentSum(
    reshape(slice(scaled, "out", 0, 1), [many]),
    graph.input("groups", "int64", [many]),
    dim("groups", groups),
  );
  const [gradient] = gradients(sum(mul(sums, sums)), [graph.inputs[1]]);
  if (!gradient) throw new TypeError("the weight has a gradient");
  return { graph, outputs: { first, sums, gradient } };
}

const other = { rows: 101, picked: 211, groups: 307 };
const rng = random(3, "family");
const arraysOf = ({ rows, picked, groups }: Sizes) => ({
  x: Float32Array.from({ length: rows * 2 }, () => rng.uniform() - 0.5),
  w: Float32Array.from({ length: 6 }, () => rng.uniform() - 0.5),
  index: BigInt64Array.from({ length: picked }, () => BigInt(rng.integer(rows))),
  groups: BigInt64Array.from({ length: picked }, () => BigInt(rng.integer(groups + 1))),
});
const keyOf = (sizes: Sizes) => JSON.stringify(sizes);

test.each(["onnxruntime-c", "onnxruntime-binding"])(
  "%s: graphs of one structure share a program",
  async (id) => {
    const backend = await openBackend({ id });
    const family = new ProgramFamily(backend);
    for (const sizes of [
      { rows: 5, picked: 7, groups: 3 },
      { rows: 4, picked: 4, groups: 4 }, // sizes that happen to agree
      { rows: 40, picked: 3, groups: 2 },
      { rows: 5, picked: 7, groups: 3 },
    ]) {
      const makers = { build: () => build(sizes), others: () => [() => build(other)] };
      const program = await family.program(keyOf(sizes), makers);
      const arrays = arraysOf(sizes);
      const bound = program.bind(arrays);
      await bound.run();
      bound.release();
      const built = build(sizes);
      const expected = await evaluate(backend, built.graph, built.outputs, arrays);
      for (const [name, values] of Object.entries(expected)) {
        expect(bound.outputs[name].length).toBe(values.length);
        values.forEach((v, i) => expect(bound.outputs[name][i]).toBeCloseTo(Number(v), 6));
      }
      expect(family.size).toBe(1);
    }
    family.release();
  },
);

test("a graph of another structure gets a program of its own, and so does one whose sizes agree where those of the program do not", async () => {
  const family = new ProgramFamily(await openBackend());
  const use = (name: string, own: Built, like: Built) =>
    family.program(name, { build: () => own, others: () => [() => like] });
  const squares = (n: number, m: number) => {
    const graph = new Graph();
    const [a, b] = [graph.input("a", "float", [dim("n", n)]), graph.input("b", "float", [dim("m", m)])];
    return { graph, outputs: { "a²": mul(a, a), "b²": mul(b, b) } };
  };
  await use("two alike", squares(3, 3), squares(101, 101));
  expect(family.size).toBe(1);
  await use("still alike", squares(5, 5), squares(101, 101));
  expect(family.size).toBe(1);
  await use("differ", squares(5, 6), squares(101, 211));
  expect(family.size).toBe(2);
  const cubes = squares(5, 6);
  await use(
    "more",
    { ...cubes, outputs: { ...cubes.outputs, "a⁴": mul(cubes.outputs["a²"], cubes.outputs["a²"]) } },
    squares(7, 8),
  );
  expect(family.size).toBe(3);
  family.release();
  expect(family.size).toBe(0);
});

test("of more structures than are kept, the least recently used is compiled again", async () => {
  const family = new ProgramFamily(await openBackend(), {}, 2);
  const powers = (n: number) => {
    const graph = new Graph();
    let y = graph.input("x", "float", [dim("n", 4)]);
    for (let i = 0; i < n; i++) y = mul(y, y);
    return { graph, outputs: { y } };
  };
  const run = async (n: number) => {
    const makers = { build: () => powers(n), others: () => [] };
    const bound = (await family.program(String(n), makers)).bind({ x: new Float32Array(4).fill(1.1) });
    await bound.run();
    bound.release();
    expect(bound.outputs.y[3]).toBeCloseTo(1.1 ** (2 ** n), 5);
    return family.size;
  };
  expect([await run(1), await run(2), await run(1), await run(3), await run(2), await run(1)]).toEqual([
    1, 2, 2, 2, 2, 2,
  ]);
  family.release();
});
