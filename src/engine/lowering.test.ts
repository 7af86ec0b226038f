/** Operations written otherwise for a device have the values of their kernels on the CPU. The device itself: test/webgpu.test.ts. */
import { describe, expect, test } from "vitest";
import { openBackend } from "./backends/open.ts";
import { Graph } from "./graph.ts";
import { lowered, webgpuLowering } from "./lowering.ts";
import { add } from "./ops/elementwise.ts";
import { matmul } from "./ops/matmul.ts";
import { logSoftmax, rmsNorm } from "./ops/normalization.ts";
import { slice } from "./ops/shape.ts";
import { evaluate } from "./program.ts";
import { random } from "./random.ts";
import { type Tensor, dim } from "./tensor.ts";

const [b, n, k, m] = [dim("b", 2), dim("n", 3), dim("k", 4), dim("m", 5)];

/** Builds a graph twice, runs it with and without the rules, and returns the largest difference and the types of its nodes. */
async function compare(
  shapes: Readonly<Record<string, Tensor["shape"]>>,
  build: (inputs: Record<string, Tensor>) => Record<string, Tensor>,
) {
  const cpu = await openBackend();
  const rng = random(1, "lowering");
  const arrays = Object.fromEntries(
    Object.entries(shapes).map(([name, shape]) => [
      name,
      Float32Array.from({ length: shape.reduce((a, d) => a * d.size, 1) }, () => 3 * rng.normal()),
    ]),
  );
  const graph = new Graph();
  const inputs = Object.fromEntries(
    Object.entries(shapes).map(([name, s]) => [name, graph.input(name, "float", s)]),
  );
  const outputs = build(inputs);
  const [plain, other] = [
    await evaluate(cpu, graph, outputs, arrays),
    await evaluate({ ...cpu, lowering: webgpuLowering }, graph, outputs, arrays),
  ];
  let worst = 0;
  for (const name of Object.keys(outputs))
    plain[name].forEach((v, i) => (worst = Math.max(worst, Math.abs(Number(v) - Number(other[name][i])))));
  const types = lowered(graph, outputs, webgpuLowering).graph.nodes.map((node) => node.type);
  return { worst, types };
}

describe("FusedMatMul", () => {
  test.each([
    [false, true, 1],
    [true, false, 0.5],
    [true, true, 2],
    [false, false, 0.25],
  ])("transposed %s and %s, times %f", async (transposeA, transposeB, scale) => {
    const shapes = { x: transposeA ? [b, k, n] : [b, n, k], y: transposeB ? [b, m, k] : [b, k, m] };
    const { worst, types } = await compare(shapes, ({ x, y }) => {
      const z = matmul(x, y, { transposeA, transposeB, scale });
      return { z, also: add(z, 1) };
    });
    expect(types).not.toContain("FusedMatMul");
    expect(worst).toBeLessThan(1e-5);
  });
});

test("LogSoftmax, of numbers far out too", async () => {
  const { worst, types } = await compare({ x: [n, k] }, ({ x }) => ({
    y: logSoftmax(x),
    far: logSoftmax(add(x, 1e4)),
  }));
  expect(types).not.toContain("LogSoftmax");
  expect(worst).toBeLessThan(2e-3); // 1e4 is exact to 1e-3
});

test("SimplifiedLayerNormalization with both outputs", async () => {
  const { worst, types } = await compare({ x: [n, k], w: [k] }, ({ x, w }) => {
    const y = rmsNorm(x, w, 1e-5);
    const r = x.graph.nodes[0].outputs[1];
    return { y, r: x.graph.values.get(r) ?? y };
  });
  expect(types).not.toContain("SimplifiedLayerNormalization");
  expect(worst).toBeLessThan(1e-5);
});

test.each([-1, 3])("GroupQueryAttention with a soft cap, window %i", async (window) => {
  const [slots, one, total] = [dim("slots", 2), dim("one", 1), dim("total", 1)];
  const cache = [slots, dim("kvHeads", 2), dim("capacity", 7), dim("width", 8)];
  const rows = (heads: number) => [slots, one, dim("headWidth", heads * 8)];
  const shapes = { q: rows(4), k: rows(2), v: rows(2), keys: cache, values: cache };
  const build = ({ q, k, v, keys, values }: Record<string, Tensor>) => {
    const { graph } = q;
    const integers = (of: readonly number[], along: Tensor["shape"]) =>
      graph.node(
        "Cast",
        [graph.floats(of, along[0])],
        { dtype: "int32", shape: along },
        {
          to: 6,
        },
      );
    const [y, newKeys, newValues] = graph.nodesOut(
      "GroupQueryAttention",
      [q, k, v, keys, values, integers([5, 2], [slots]), integers([6], [total])],
      [{ shape: q.shape }, { shape: cache }, { shape: cache }],
      {
        num_heads: 4,
        kv_num_heads: 2,
        scale: { float: 0.4 },
        softcap: { float: 5 },
        local_window_size: window,
      },
      "com.microsoft",
    );
    // What lies behind a slot's tokens is nobody's.
    const own = (x: Tensor) => slice(slice(x, "slots", 0, 1), "capacity", 0, 6);
    return { y, "new keys": own(newKeys), "new values": own(newValues) };
  };
  const { worst, types } = await compare(shapes, build);
  expect(types).not.toContain("GroupQueryAttention");
  expect(worst).toBeLessThan(1e-5);
});

test("an output that is an input or a constant, and graphs without such operations, stay as they are", async () => {
  const { worst, types } = await compare({ x: [n] }, ({ x }) => ({ y: add(x, 1), x2: x }));
  expect(types).toEqual(["Add"]);
  expect(worst).toBe(0);
});
