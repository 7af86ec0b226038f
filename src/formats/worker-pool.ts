/**
 * Threads that do the same kind of work on one piece after another, for the floors above, which may not touch Node themselves. Where
 * there are no threads or no file to start them with (a browser, a source tree), there is no pool, and the work is done at home.
 */
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Worker, isMainThread, parentPort, workerData } from "node:worker_threads";

export interface WorkerPool<Task, Result> {
  readonly size: number;
  /** Does a task in the next free thread. Rejects with what its work threw, or when the pool is closed. */
  run(task: Task): Promise<Result>;
  /** Ends the threads, whatever they do. */
  close(): Promise<void>;
}

/** The file of a worker by its name, beside the code that runs: undefined where it was not bundled. */
export function workerFile(name: string): string | undefined {
  const { PREFOPT_WORKERS } = process.env; // a folder of bundled workers, for tests
  const places = PREFOPT_WORKERS
    ? [`${PREFOPT_WORKERS}/${name}.js`]
    : [".", "./data", "../data"].map((folder) =>
        fileURLToPath(new URL(`${folder}/${name}.js`, import.meta.url)),
      );
  return places.find(existsSync);
}

interface Waiting<Task, Result> {
  readonly task: Task;
  readonly resolve: (result: Result) => void;
  readonly reject: (error: Error) => void;
}

/** What a worker answers: that it is ready, a result, or an error. */
type Answer<Result> = { readonly ready: true } | { readonly result: Result } | { readonly error: Error };

/** Starts threads; `setting` goes to each of them. Rejects where a thread cannot be set up. */
export async function openWorkerPool<Task, Result>(
  file: string,
  size: number,
  setting: unknown,
): Promise<WorkerPool<Task, Result>> {
  const queue: Waiting<Task, Result>[] = [];
  const idle: Worker[] = [];
  const busy = new Map<Worker, Waiting<Task, Result>>();
  const workers: Worker[] = [];
  let closed: Error | undefined;
  const next = () => {
    for (let worker = idle.pop(); worker; worker = idle.pop()) {
      const waiting = queue.shift();
      if (!waiting) {
        idle.push(worker);
        return;
      }
      busy.set(worker, waiting);
      worker.postMessage(waiting.task);
    }
  };
  const fail = (error: Error) => {
    closed ??= error;
    for (const waiting of [...busy.values(), ...queue.splice(0)]) waiting.reject(error);
    busy.clear();
  };
  const close = async () => {
    fail(new Error("the pool is closed"));
    await Promise.all(workers.map((worker) => worker.terminate()));
  };
  const started = Array.from({ length: size }, () => {
    const worker = new Worker(file, { workerData: setting });
    workers.push(worker);
    return new Promise<void>((resolve, reject) => {
      worker.on("error", (error) => {
        reject(error as Error);
        fail(error as Error);
      });
      worker.on("message", (answer: Answer<Result>) => {
        if ("ready" in answer) {
          idle.push(worker);
          resolve();
          return next();
        }
        const waiting = busy.get(worker);
        busy.delete(worker);
        idle.push(worker);
        if ("error" in answer) {
          waiting?.reject(answer.error);
          reject(answer.error);
        } else waiting?.resolve(answer.result);
        next();
      });
    });
  });
  try {
    await Promise.all(started);
  } catch (error) {
    await close();
    throw error;
  }
  return {
    size,
    close,
    run: (task) =>
      new Promise((resolve, reject) => {
        if (closed) return reject(closed);
        queue.push({ task, resolve, reject });
        next();
      }),
  };
}

/**
 * Serves tasks in a worker: `prepare` makes the work of what the pool was opened with. A result may name what is handed over
 * instead of copied.
 */
export async function serveTasks<Setting, Task, Result>(
  prepare: (
    setting: Setting,
  ) => Promise<(task: Task) => { result: Result; handOver?: readonly ArrayBuffer[] }>,
): Promise<void> {
  const port = parentPort;
  if (isMainThread || !port) return;
  const answer = (value: Answer<Result>, handOver: readonly ArrayBuffer[] = []) =>
    port.postMessage(value, handOver);
  try {
    const work = await prepare(workerData as Setting);
    port.on("message", (task: Task) => {
      try {
        const { result, handOver } = work(task);
        answer({ result }, handOver);
      } catch (error) {
        answer({ error: error as Error });
      }
    });
    answer({ ready: true });
  } catch (error) {
    answer({ error: error as Error });
  }
}
