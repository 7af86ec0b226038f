/**
 * Parallel work in more shares than there are threads. ONNX Runtime cuts a product into as many equal shares as its pool has threads, and
 * waits for the last: where one core is slower than another for a while, with other work on it or on its physical core, the others wait.
 * On processors with cores of two kinds it cuts four times as fine, and whoever is free takes the next share; elsewhere it cannot be told
 * to. So the pool is given four times as many threads, most of which are never started: what it hands to one that is not there is taken
 * from it by the others, or taken back. On Linux; elsewhere there is a share a thread.
 */
import koffi from "koffi";

/** Shares for each thread: those of ONNX Runtime on processors with cores of two kinds. */
const sharesPerThread = 4;

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
  const library = threads > 1 && process.platform === "linux" ? threadLibrary() : undefined;
  if (!library) {
    setThreads(threads);
    return () => undefined;
  }
  const { start, detach } = library;
  let handle: bigint | null = null;
  let asked = 0;
  // ONNX Runtime takes any handle but 0 for a thread. The first ones are those that it hands work to first.
  const create = koffi.register((_options: unknown, run: bigint, argument: bigint): bigint | null => {
    asked++;
    if (asked > threads - 1) return handle;
    const started: [bigint | number | null] = [null];
    handle = start(started, null, run, argument) === 0 && started[0] !== null ? BigInt(started[0]) : null;
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
