/** Graphs whose sizes the run decides, and weights in a file beside the graph. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openBackend } from "./backends/open.ts";
import { Graph } from "./graph.ts";
import { emit } from "./onnx.ts";
import { mul, silu } from "./ops/elementwise.ts";
import { matmul } from "./ops/matmul.ts";
import { rmsNorm } from "./ops/normalization.ts";
import { reshape } from "./ops/shape.ts";
import { dim, freeDim } from "./tensor.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "prefopt-"));
});
afterAll(() => rm(folder, { recursive: true }));

const [rows, width] = [freeDim("rows", 5), dim("width", 2)];

test.each(["onnxruntime-c", "onnxruntime-binding"])("%s: one program for any number of rows", async (id) => {
  const graph = new Graph();
  const x = graph.input("x", "float", [rows, width]);
  const flat = reshape(mul(x, graph.input("factor", "float", [width])), [freeDim("all", 10)]);
  // The factor stands in a file, behind eight other bytes.
  await writeFile(join(folder, "data"), new Uint8Array(Float32Array.of(9, 9, 2, 10).buffer));
  const place = { location: "data", offset: 8, length: 8 };
  const model = emit(graph, { flat }, new Map([["factor", place]]));
  const session = await (await openBackend({ id })).compile(model, { externalData: folder });
  for (const n of [0, 1, 5, 7]) {
    const data = Float32Array.from({ length: 2 * n + 1 }, (_, i) => i).subarray(0, 2 * n);
    const out = new Float32Array(2 * n + 1).subarray(0, 2 * n);
    await session
      .bind(
        { x: { data, sizes: [n, 2], dtype: "float" } },
        { flat: { data: out, sizes: [2 * n], dtype: "float" } },
      )
      .run();
    expect([...out]).toEqual([...data].map((v, i) => v * (i % 2 === 0 ? 2 : 10)));
  }
  session.release();
});

test("a shape with two sizes that only the run knows is refused", () => {
  const x = new Graph().input("x", "float", [rows, width]);
  expect(() => reshape(x, [rows, freeDim("other", 2)])).toThrow(/more than one size that only the run knows/);
});

test("a graph of standard operators has none of ONNX Runtime's, and refuses what it would need them for", () => {
  const graph = new Graph("float32", true);
  const x = graph.input("x", "float", [rows, width]);
  silu(rmsNorm(x, graph.input("w", "float", [width]), 1e-5));
  expect(graph.nodes.filter((n) => n.domain !== "")).toEqual([]);
  expect(() => matmul(x, x, { transposeB: true })).toThrow(/not made of standard operators/);
  const own = new Graph();
  silu(own.input("x", "float", [rows, width]));
  expect(own.nodes.map((n) => n.domain)).toEqual(["com.microsoft"]);
});
