/** The native back ends: the same numbers from both, updates in place, an event loop that stays free, and clear refusals. */
import { existsSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { gradients } from "../gradient.ts";
import { Graph } from "../graph.ts";
import { add, mul, silu } from "../ops/elementwise.ts";
import { linear, matmul } from "../ops/matmul.ts";
import { rmsNorm } from "../ops/normalization.ts";
import { sum } from "../ops/reduce.ts";
import { compile } from "../program.ts";
import { random } from "../random.ts";
import { type Tensor, dim } from "../tensor.ts";
import type { CompileOptions } from "./backend.ts";
import { openBackend } from "./open.ts";
import { libraryName } from "./runtime-library.ts";

const ids = ["onnxruntime-c", "onnxruntime-binding"];
const [n, k, m] = [dim("n", 5), dim("k", 8), dim("m", 6)];

/** A small net with gradients, on fixed random numbers. */
async function run(id: string, options: CompileOptions = {}): Promise<Record<string, number[]>> {
  const backend = await openBackend({ id });
  const graph = new Graph();
  const inputs = {
    x: graph.input("x", "float", [n, k]),
    w: graph.input("w", "float", [m, k]),
    g: graph.input("g", "float", [m]),
  };
  const loss = sum(mul(0.1, rmsNorm(silu(linear(inputs.x, inputs.w)), inputs.g, 1e-5)));
  const outputs: Record<string, Tensor> = { loss };
  gradients(loss, Object.values(inputs)).forEach((d, i) => d && (outputs[`d${i}`] = d));
  const rng = random(1, "net");
  const arrays = Object.fromEntries(
    Object.entries(inputs).map(([name, t]) => [
      name,
      Float32Array.from({ length: t.elements }, () => rng.normal()),
    ]),
  );
  const bound = (await compile(backend, graph, outputs, options)).bind(arrays);
  await bound.run();
  return Object.fromEntries(
    Object.entries(bound.outputs).map(([name, a]) => [name, Array.from(a as Float32Array)]),
  );
}

test("both give the same losses and gradients", async () => {
  const [a, b] = await Promise.all(ids.map((id) => run(id)));
  expect(Object.keys(a)).toEqual(["loss", "d0", "d1", "d2"]);
  for (const [name, values] of Object.entries(a))
    values.forEach((v, i) => expect(Math.abs(v - b[name][i])).toBeLessThan(1e-5));
});

test("many programs at once all end, with right values", async () => {
  const size = 192;
  const bound = [];
  for (let i = 0; i < 6; i++) {
    const graph = new Graph();
    const [rows, inner] = [dim("rows", size), dim("inner", size)];
    const y = matmul(
      graph.input("a", "float", [rows, inner]),
      graph.input("b", "float", [inner, dim("columns", size)]),
    );
    const program = await compile(await openBackend(), graph, { y });
    const a = Float32Array.from({ length: size * size }, (_, at) => (at % size === i ? 1 : 0)); // takes row i of b everywhere
    bound.push(program.bind({ a, b: Float32Array.from({ length: size * size }, (_, at) => at) }));
  }
  for (let round = 0; round < 60; round++) {
    for (const b of bound) (b.outputs.y as Float32Array).fill(-1);
    await Promise.all(bound.map((b) => b.run()));
    bound.forEach((b, i) => {
      for (const at of [0, size - 1, size * size - 1]) expect(b.outputs.y[at]).toBe(i * size + (at % size));
    });
  }
});

describe.each(ids)("%s", (id) => {
  test("gives the very same numbers where dead buffers are freed at once", async () => {
    expect(await run(id, { frugal: true })).toEqual(await run(id));
  });

  test("updates an array in place, in memory of its own, as often as it is run", async () => {
    const backend = await openBackend({ id });
    const graph = new Graph();
    const p = graph.input("p", "float", [n]);
    const program = await compile(backend, graph, { pNew: add(mul(p, 2), 1) });
    const array = new Float32Array(backend.allocate(5 * 4), 0, 5);
    const bound = program.bind({ p: array }, { pNew: array });
    for (let i = 0; i < 3; i++) await bound.run();
    expect([...array]).toEqual([7, 7, 7, 7, 7]);
    program.release();
  });
  test("says which array is missing or of the wrong size", async () => {
    const graph = new Graph();
    const program = await compile(await openBackend({ id }), graph, {
      y: add(graph.input("x", "float", [n]), 1),
    });
    expect(() => program.bind({})).toThrow('no array for "x", which is float [n 5]');
    expect(() => program.bind({ x: new Float32Array(4) })).toThrow(
      '"x" is float [n 5] and its array has 4 elements',
    );
  });
  test("a value under two names, and an input handed through", async () => {
    const graph = new Graph();
    const x = graph.input("x", "float", [n]);
    const y = add(x, 1);
    const bound = (await compile(await openBackend({ id }), graph, { a: y, b: y, c: x, d: add(y, 1) })).bind({
      x: new Float32Array(5),
    });
    await bound.run();
    expect(["a", "b", "c", "d"].map((name) => Number(bound.outputs[name][0]))).toEqual([1, 1, 0, 2]);
  });
});

test("a long run leaves the event loop free on the default back end", async () => {
  const graph = new Graph();
  const wide = dim("wide", 1024);
  let y: Tensor = graph.input("x", "float", [wide, dim("k", 1024)]);
  for (let i = 0; i < 30; i++) y = linear(y, graph.input(`w${i}`, "float", [dim("k", 1024), dim("k", 1024)]));
  const backend = await openBackend();
  const arrays = Object.fromEntries(graph.inputs.map((t) => [t.id, new Float32Array(t.elements)]));
  const bound = (await compile(backend, graph, { y })).bind(arrays);
  let ticks = 0;
  let last = performance.now();
  let gap = 0;
  const timer = setInterval(() => {
    const now = performance.now();
    gap = Math.max(gap, now - last);
    last = now;
    ticks++;
  }, 5);
  const start = performance.now();
  await bound.run();
  const took = performance.now() - start;
  clearInterval(timer);
  expect(backend.blocking).toBe(false);
  expect(took).toBeGreaterThan(50);
  expect(ticks).toBeGreaterThan(3);
  expect(gap).toBeLessThan(took);
});

describe("platforms", () => {
  test.each([
    [{ os: "linux", arch: "x64", glibc: false }, "there is no ONNX Runtime library for linux x64 with musl"],
    [{ os: "darwin", arch: "x64", glibc: false }, "there is no ONNX Runtime library for darwin x64"],
    [{ os: "win32", arch: "ia32", glibc: false }, "there is no ONNX Runtime library for win32 ia32"],
  ])("%j is refused in one clear sentence", (platform, message) => {
    expect(() => libraryName(platform)).toThrow(message);
  });
  test.each([
    [{ os: "linux", arch: "arm64", glibc: true }, "libonnxruntime.so.1"],
    [{ os: "darwin", arch: "arm64", glibc: false }, "libonnxruntime.1.dylib"],
  ])("%j has a library", (platform, name) => expect(libraryName(platform)).toBe(name));
  test("an unknown back end is told its nearest name", async () => {
    await expect(openBackend({ id: "onnxruntime-bindings" })).rejects.toThrow(
      "Did you mean onnxruntime-binding?",
    );
  });
});

const linux = process.platform === "linux" && process.arch === "x64";
if (!linux) console.warn("skipped: whether the processor has AVX-512 is read from /proc/cpuinfo");

test.skipIf(!linux)(
  "products are faster in blocks where the processor has AVX-512, and nowhere else",
  async () => {
    expect((await openBackend({ id: "onnxruntime-c" })).blocked).toBe(
      readFileSync("/proc/cpuinfo", "utf8").includes("avx512f"),
    );
  },
);

const tellsThreads = linux && existsSync("/lib64/ld-linux-x86-64.so.2");
if (!tellsThreads) console.warn("skipped: threads of this platform are not told to flush denormals");

test.skipIf(!tellsThreads)(
  "numbers too small for a float's exponent are zero, on whichever thread a run is",
  async () => {
    const graph = new Graph();
    const x = graph.input("x", "float", [n]);
    const backend = await openBackend({ id: "onnxruntime-c" });
    const bound = (await compile(backend, graph, { y: mul(x, x) })).bind({
      x: new Float32Array(5).fill(1e-20),
    });
    for (let i = 0; i < 40; i++) {
      await bound.run();
      expect([...(bound.outputs.y as Float32Array)]).toEqual([0, 0, 0, 0, 0]);
    }
  },
);
