/** The threads that Node keeps for calls of native code, and that programs run on: how to reach every one of them. */

/** Calls at once for each thread, and rounds of them: many enough for each thread to take one. */
const [callsForEach, rounds] = [4, 4];

/** Of more threads some may not be reached. */
const mostThreads = 16;

/** Calls something that is done on one of these threads until each has done it, however they take turns. */
export async function onEveryThread(call: () => Promise<void>): Promise<void> {
  const calls = callsForEach * Math.min(Number(process.env.UV_THREADPOOL_SIZE) || 4, mostThreads);
  for (let i = 0; i < rounds; i++) {
    await Promise.all(Array.from({ length: calls }, call));
    for (let k = 0; k < calls; k++) await call(); // they take turns
  }
}
