/** Gives memory back that compiling leaves behind, in JavaScript's heap and in those of the C library. */
import { getHeapStatistics } from "node:v8";
import koffi from "koffi";

/** JavaScript's heap is collected when it has grown by this many bytes since the last time. */
const worthCollecting = 2 ** 23;
/** Collections, of some 0.1 s each, may take so large a share of the time that the process has run. */
const shareOfTime = 0.02;

let trim: (() => void) | undefined;
let [collectedTo, seconds] = [0, 0];

/** Collects what JavaScript has dropped, and returns freed memory to the system where the C library knows how (glibc). */
export async function trimHeaps(): Promise<void> {
  await collectHeap();
  trim ??= trimmer(); // not before it is wanted: koffi cannot be configured once it has loaded something
  trim();
}

/** Collects what JavaScript has dropped, where that is much and has not taken long so far. */
export async function collectHeap(): Promise<void> {
  const grown = getHeapStatistics().total_heap_size >= collectedTo + worthCollecting;
  if (grown && seconds < shareOfTime * process.uptime()) {
    const start = performance.now();
    await collectGarbage();
    seconds += (performance.now() - start) / 1000;
    collectedTo = getHeapStatistics().total_heap_size;
  }
}

/** A full collection that also gives back the room of the young generation, which V8 keeps at its largest: up to 32 MB. */
async function collectGarbage(): Promise<void> {
  const inspector = await import("node:inspector/promises").catch(() => undefined); // some builds have none
  if (!inspector) return;
  const session = new inspector.Session();
  session.connect();
  try {
    await session.post("HeapProfiler.collectGarbage");
  } finally {
    session.disconnect();
  }
}

function trimmer(): () => void {
  if (process.platform !== "linux") return () => undefined;
  try {
    const own = koffi.load("libc.so.6").func("int malloc_trim(size_t)") as (pad: number) => number;
    return () => void own(0);
  } catch {
    return () => undefined; // another C library: its frees go back to the system as it sees fit
  }
}
