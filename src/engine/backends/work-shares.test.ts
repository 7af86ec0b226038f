/** A pool whose work is cut into more shares than it has threads: how it is set up, and that nothing is lost or waits for ever. */
import { existsSync } from "node:fs";
import { beforeAll, expect, test } from "vitest";
import { Graph } from "../graph.ts";
import { matmul } from "../ops/matmul.ts";
import { compile } from "../program.ts";
import { dim } from "../tensor.ts";
import type { Backend } from "./backend.ts";
import { openBackend } from "./open.ts";
import { cutIntoShares } from "./work-shares.ts";

const loaders = ["/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1"];
const glibc = process.platform === "linux" && loaders.some((file) => existsSync(file));
if (!glibc) console.warn("skipped: there is a share a thread where threads are not started by glibc");

let backend: Backend;
beforeAll(async () => {
  backend = await openBackend({ id: "onnxruntime-c" });
});

/** What a pool of so many threads is told. */
function told(threads: number) {
  const calls: unknown[] = [];
  const done = cutIntoShares(threads, {
    setThreads: (count) => calls.push(count),
    setThreadFunctions: (create, join) => calls.push(typeof create, typeof join),
  });
  done();
  return calls;
}

test.skipIf(!glibc)(
  "four shares a thread where threads can be started, one where there is one thread",
  () => {
    expect(told(2)).toEqual([8, "bigint", "bigint"]);
    expect(told(6)).toEqual([24, "bigint", "bigint"]);
    expect(told(1)).toEqual([1]);
  },
);

test("many programs at once all end, with right values", async () => {
  const size = 192;
  const n = dim("n", size);
  const bound = [];
  for (let i = 0; i < 6; i++) {
    const graph = new Graph();
    const y = matmul(
      graph.input("a", "float", [n, dim("k", size)]),
      graph.input("b", "float", [dim("k", size), n]),
    );
    const program = await compile(backend, graph, { y });
    const a = Float32Array.from({ length: size * size }, (_, k) => (k % size === i ? 1 : 0)); // takes row i of b everywhere
    bound.push(program.bind({ a, b: Float32Array.from({ length: size * size }, (_, k) => k) }));
  }
  for (let round = 0; round < 60; round++) {
    for (const b of bound) (b.outputs.y as Float32Array).fill(-1);
    await Promise.all(bound.map((b) => b.run()));
    bound.forEach((b, i) => {
      for (const at of [0, size - 1, size * size - 1]) expect(b.outputs.y[at]).toBe(i * size + (at % size));
    });
  }
});
