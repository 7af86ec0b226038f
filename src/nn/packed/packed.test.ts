/** Packed matrices: what the graph makes of them is what reading them gives, near the original, in forward and backward. */
import { describe, expect, it } from "vitest";
import { openBackend } from "../../engine/backends/open.ts";
import { gradients } from "../../engine/gradient.ts";
import { Graph } from "../../engine/graph.ts";
import { linear, linearInOut } from "../../engine/ops/matmul.ts";
import { sum } from "../../engine/ops/reduce.ts";
import { evaluate } from "../../engine/program.ts";
import { random } from "../../engine/random.ts";
import { dim } from "../../engine/tensor.ts";
import type { ParameterSpec } from "../parameters.ts";
import type { PackedKind } from "./packed.ts";
import { packed, packedKinds } from "./table.ts";

const rng = random(1, "packed");
const [input, output] = [dim("in", 64), dim("out", 24)];
const values = Float32Array.from({ length: 64 * 24 }, () => 0.05 * rng.normal());
values.fill(0, 0, 64); // a row or a stretch of nothing
const worst = { bfloat16: 0.0006, int8: 0.001, int4: 0.02 };

describe.each(Object.keys(packedKinds) as (keyof typeof packedKinds)[])("%s", (id) => {
  describe.each(["out-in", "in-out"] as const)("stored %s", (stored) => {
    const spec: ParameterSpec = {
      name: "w",
      shape: stored === "in-out" ? [input, output] : [output, input],
      initial: { constant: 0 },
      linear: stored,
    };
    const matrix = packed(id, values, spec);
    const kind: PackedKind = packedKinds[id];
    const read = kind.unpack(matrix.arrays, spec);

    it("is near the original", () => {
      const errors = read.map((v, i) => Math.abs(v - values[i]));
      expect(Math.max(...errors)).toBeLessThan(worst[id]);
      expect(Math.max(...errors)).toBeGreaterThan(0);
      expect([...read.subarray(0, 3)].map(Math.abs)).toEqual([0, 0, 0]);
    });

    it("is in the graph what reading it gives, and its gradient is that of what it is", async () => {
      const backend = await openBackend();
      const graph = new Graph();
      const x = graph.input("x", "float", [dim("tokens", 5), input]);
      const parts = Object.fromEntries(
        Object.entries(kind.parts(spec)).map(([name, { dtype, shape }]) => [
          name,
          graph.input(name, dtype, shape),
        ]),
      );
      const w = kind.tensor(parts, spec);
      graph.remakes.set(w.id, (dependency) => kind.tensor(parts, spec, dependency));
      const y = (stored === "in-out" ? linearInOut : linear)(x, w);
      const [dx] = gradients(sum(y), [x]);
      if (!dx) throw new Error("no gradient");
      const xs = Float32Array.from({ length: 5 * 64 }, () => rng.normal());
      const found = await evaluate(backend, graph, { y, dx }, { x: xs, ...matrix.arrays });
      const at = (i: number, o: number) => read[stored === "in-out" ? i * 24 + o : o * 64 + i];
      for (const o of [0, 1, 23]) {
        let expected = 0;
        for (let i = 0; i < 64; i++) expected += xs[64 + i] * at(i, o);
        expect(Number(found.y[24 + o])).toBeCloseTo(expected, 5);
      }
      for (const i of [0, 1, 63]) {
        let expected = 0;
        for (let o = 0; o < 24; o++) expected += at(i, o);
        expect(Number(found.dx[i])).toBeCloseTo(expected, 5);
      }
      // Each use makes its own: forward and backward.
      expect(
        graph.nodes.filter((n) => ["Cast", "DequantizeLinear"].includes(n.type)).length,
      ).toBeGreaterThanOrEqual(3);
    });
  });
});

it("a matrix whose inputs do not come in blocks of 32 is held in 8 bits", () => {
  const spec: ParameterSpec = {
    name: "w",
    shape: [output, dim("in", 40)],
    initial: { constant: 0 },
    linear: "out-in",
  };
  expect(packed("int4", new Float32Array(24 * 40), spec).kind.id).toBe("int8");
  expect(packed("int4", values, { ...spec, shape: [output, input] }).kind.id).toBe("int4");
});
