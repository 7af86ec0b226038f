/**
 * Parallel work in more shares than there are threads. ONNX Runtime cuts a product into as many equal shares as its pool has threads, and
 * waits for the last: where one core is slower than another for a while, with other work on it or on its physical core, the others wait.
 * On processors with cores of two kinds it cuts four times as fine, and whoever is free takes the next share; elsewhere it cannot be told
 * to. So the pool is given four times as many threads, most of which are never started: those that are share out all there is between
 * them, and what was handed to the others is taken back in the end. On Linux; elsewhere there is a share a thread.
 * The environment must never be released, as a pool without all its threads cannot wait for them; and nothing but loops may be given to it
 * (`RunAsync` could hand a whole run to a thread that is not there).
 */
import { existsSync } from "node:fs";
import koffi from "koffi";
import { Graph } from "../graph.ts";
import { emit } from "../onnx.ts";
import { dim } from "../tensor.ts";
import type { Backend } from "./backend.ts";
import { onEveryThread } from "./node-threads.ts";

/** Shares for each thread: those of ONNX Runtime on processors with cores of two kinds. */
const sharesPerThread = 4;

/** Threads of the largest pool that is cut so: each loop hands out all its shares, and larger pools were not measured. */
const mostThreads = 4;

/** Where Linux names the kinds of cores of a processor that has two: ONNX Runtime cuts their work finer itself. */
const kindsOfCores = "/sys/devices/cpu_atom";

/** Libraries that start threads: glibc's from 2.34 on, and before. */
const libraries = ["libc.so.6", "libpthread.so.0"];

/** The functions of the C API that this needs, with the options of the pool. */
export interface PoolOptions {
  readonly setThreads: (count: number) => void;
  /** Called by ONNX Runtime for each thread of the pool, and for each when the pool ends. */
  readonly setThreadFunctions: (create: unknown, join: unknown) => void;
}

/**
 * Sets up a pool of `threads` threads, the caller's included, whose work is cut into several shares for each. Returns what is to be called
 * once the pool is there.
 */
export function cutIntoShares(threads: number, { setThreads, setThreadFunctions }: PoolOptions): () => void {
  const apt =
    threads > 1 && threads <= mostThreads && process.platform === "linux" && !existsSync(kindsOfCores);
  const library = apt ? threadLibrary() : undefined;
  if (!library) {
    setThreads(threads);
    return () => undefined;
  }
  const { start, detach } = library;
  let handle: bigint | null = null;
  let asked = 0;
  // ONNX Runtime takes anything but 0 for a thread. The first ones are those that it hands work to first.
  const create = koffi.register((_options: unknown, run: bigint, argument: bigint): bigint | null => {
    asked++;
    if (asked > threads - 1) return handle;
    const started: [bigint | number | null] = [null];
    // One that cannot be started is one fewer. With none at all ONNX Runtime says that there is no pool.
    if (start(started, null, run, argument) === 0 && started[0] !== null) handle = BigInt(started[0]);
    return handle;
  }, koffi.pointer(library.create));
  setThreads(threads * sharesPerThread);
  setThreadFunctions(create, detach);
  return () => koffi.unregister(create);
}

/** Functions of glibc; undefined with another C library. */
function threadLibrary() {
  for (const name of libraries) {
    try {
      const library = koffi.load(name);
      return {
        start: library.func(
          "int pthread_create(_Out_ uint64_t *thread, const void *attributes, void *run, void *argument)",
        ),
        detach: library.symbol("pthread_detach", "void"),
        create: koffi.proto("void *", ["void *", "void *", "void *"]), // of options, function and its argument, the thread
      };
    } catch {
      // The next one may have them.
    }
  }
  return undefined;
}

const met = new WeakMap<Backend, Promise<void>>();

/**
 * Runs a small program on every thread of Node that runs programs. Each remembers from its first loop on which of the pool's threads to turn
 * to; after loops of another pool in the process, of someone else, it would begin with one that was never started.
 */
export function meetThreads<B extends Backend>(backend: B): Promise<void> {
  const found = met.get(backend) ?? runEverywhere(backend);
  met.set(backend, found);
  return found;
}

async function runEverywhere(backend: Backend): Promise<void> {
  const graph = new Graph();
  const [n, k] = [dim("n", 128), dim("k", 128)]; // large enough to be shared
  const [a, b] = [graph.input("a", "float", [n, k]), graph.input("b", "float", [k, n])];
  const y = graph.node("MatMul", [a, b], { shape: [n, n] });
  const session = await backend.compile(emit(graph, { y }), { little: true });
  const value = () => ({
    data: new Float32Array(n.size * n.size),
    sizes: [n.size, n.size],
    dtype: "float" as const,
  });
  // All of them may write the same zeros.
  const binding = session.bind({ a: value(), b: value() }, { y: value() });
  await onEveryThread(() => binding.run());
  binding.release();
  session.release();
}
