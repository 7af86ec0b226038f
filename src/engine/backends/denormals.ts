/**
 * Numbers too small for a float's exponent ("denormals") are to count as zero, as processors take a hundred times as long for them: the
 * softmax of a masked row has them in every masked place. ONNX Runtime sees to it in its own threads (`SetGlobalDenormalAsZero`). But a
 * share of the work is done by the thread that calls it, one of those that Node keeps for such calls, and of these it sees only to the one
 * that made the first session: three of four runs then took 2 to 4 % longer. So they are told one by one. On Linux with x64; elsewhere they
 * are as they were.
 */
import koffi from "koffi";

/** In the control register of SSE: results that are denormal become zero, and operands are taken for it. */
const flushToZero = 0x8000 | 0x0040;
/** Where it stands in fenv_t of glibc, behind the 28 bytes of the x87. */
const [registerAt, environmentBytes] = [7, 32];
/** Calls at once and rounds of them: many enough for each thread to take one. */
const [callsForEach, rounds] = [4, 4];
/** Of more threads some may be left as they are. */
const mostThreads = 16;

let done: Promise<void> | undefined;

/** Tells the threads that run programs, once a process. */
export function flushDenormals(): Promise<void> {
  done ??= process.platform === "linux" && process.arch === "x64" ? tellThreads() : Promise.resolve();
  return done;
}

/** Functions of glibc; undefined with another C library. */
function mathLibrary() {
  try {
    const library = koffi.load("libm.so.6");
    return {
      get: library.func("int fegetenv(void *environment)"),
      set: library.func("int fesetenv(const void *environment)"),
    };
  } catch {
    return undefined;
  }
}

async function tellThreads(): Promise<void> {
  const library = mathLibrary();
  if (!library) return;
  const environment = new Uint32Array(environmentBytes / 4);
  if (library.get(environment) !== 0) return;
  environment[registerAt] |= flushToZero;
  const threads = Math.min(Number(process.env.UV_THREADPOOL_SIZE) || 4, mostThreads);
  const call = () => new Promise<void>((resolve) => library.set.async(environment, () => resolve()));
  for (let i = 0; i < rounds; i++) {
    await Promise.all(Array.from({ length: callsForEach * threads }, call));
    for (let k = 0; k < callsForEach * threads; k++) await call(); // they take turns
  }
}
