/** A pool whose work is cut into more shares than it has threads: how it is set up, and that nothing is lost or waits for ever. */
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { availableParallelism } from "node:os";
import koffi from "koffi";
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

/** What a pool of so many threads is told, and the threads that it gets when it asks for all of them. */
function told(threads: number) {
  const calls: unknown[] = [];
  let got: unknown[] = [];
  let ask: (() => unknown) | undefined;
  const done = cutIntoShares(threads, {
    setThreads: (count) => calls.push(count),
    setThreadFunctions: (create, join) => {
      calls.push(typeof join);
      const type = koffi.proto("void *", ["void *", "void *", "void *"]);
      const call = koffi.decode(create, type) as (...args: unknown[]) => unknown;
      const run = koffi.load("libc.so.6").symbol("abs", "void"); // ends at once
      ask = () => call(null, run, null);
    },
  });
  if (ask) got = Array.from({ length: (calls[0] as number) - 1 }, ask);
  done();
  return { calls, got };
}

test.skipIf(!glibc)("a pool gets four shares a thread, and as many threads as it should have", () => {
  for (const threads of [2, 4]) {
    const { calls, got } = told(threads);
    expect(calls).toEqual([4 * threads, "bigint"]);
    expect(got).toHaveLength(4 * threads - 1);
    expect(got.every((handle) => handle !== null)).toBe(true);
    // Those behind the last that was started have its handle.
    expect(got.slice(threads - 2).every((handle) => handle === got[threads - 2])).toBe(true);
  }
  for (const threads of [1, 6]) expect(told(threads)).toEqual({ calls: [threads], got: [] }); // one, or more than were measured
});

/** Processor time of each thread of this process, in hundredths of a second. */
const ticks = () =>
  new Map(
    readdirSync("/proc/self/task").map((id) => {
      const fields = readFileSync(`/proc/self/task/${id}/stat`, "utf8").split(") ")[1].split(" ");
      return [id, Number(fields[11])];
    }),
  );

test.skipIf(process.platform !== "linux" || availableParallelism() < 2)(
  "a large product is shared",
  async () => {
    const size = 768;
    const graph = new Graph();
    const [n, k] = [dim("n", size), dim("k", size)];
    const y = matmul(graph.input("a", "float", [n, k]), graph.input("b", "float", [k, n]));
    const numbers = () => new Float32Array(size * size).fill(1);
    const bound = (await compile(backend, graph, { y })).bind({ a: numbers(), b: numbers() });
    for (let call = 0; call < 4; call++) {
      const before = ticks();
      for (let i = 0; i < 60; i++) await bound.run();
      const worked = [...ticks()].filter(([id, time]) => time - (before.get(id) ?? 0) >= 5);
      expect(worked.length).toBeGreaterThan(1);
    }
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
