/**
 * Two or more processes that do the same work in turns, so that each round of one lies beside a round of the others. A process
 * says `{"ready": …}` when it is prepared, does one round for each line `go` and prints what came of it as a line of JSON.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import readline from "node:readline";

export type Line = Readonly<Record<string, unknown>>;

export class Worker {
  readonly name: string;
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterableIterator<string>;
  #last = "";

  constructor(name: string, command: string, args: readonly string[], env: NodeJS.ProcessEnv = {}) {
    this.name = name;
    this.#child = spawn(command, [...args], {
      env: { ...process.env, ...env },
      stdio: ["pipe", "pipe", "pipe"],
    });
    if (!this.#child.stdout) throw new Error(`${name} has no output`);
    this.#lines = readline.createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
    this.#child.stderr?.on(
      "data",
      (text: Buffer) => (this.#last = (this.#last + text.toString()).slice(-4000)),
    );
  }

  /** The next line that is JSON; other lines are chatter of libraries. */
  async next(): Promise<Line> {
    for (;;) {
      const { value, done } = await this.#lines.next();
      if (done) throw new Error(`${this.name} ended early:\n${this.#last}`);
      if (value.startsWith('{"')) return JSON.parse(value) as Line;
    }
  }

  /** One round. */
  async go(): Promise<Line> {
    this.#child.stdin?.write("go\n");
    return this.next();
  }

  end(): void {
    this.#child.stdin?.end();
    this.#child.kill();
  }
}

/** A worker that runs a TypeScript program of this folder. */
export const own = (name: string, program: string, args: readonly string[]): Worker =>
  new Worker(name, process.execPath, [here("../../scripts/run.js"), here(program), ...args]);

/** A worker that runs a Python program of this folder. */
export const peer = (name: string, python: string, program: string, args: readonly string[]): Worker =>
  new Worker(name, python, [here(program), ...args]);

/** Where a file of this folder is; the bundle that runs lies elsewhere, so the clone is found from the working directory. */
function here(path: string): string {
  return fileURLToPath(new URL(path, `file://${process.cwd()}/bench/peers/`));
}

/** What each worker says when it is ready, and its rounds: all do the first, then all the second, and so on. */
export async function rounds(
  workers: readonly Worker[],
  count: number,
): Promise<{ ready: Line; rounds: Line[] }[]> {
  try {
    // One after another, so that none is disturbed by the start of the next.
    const results: { ready: Line; rounds: Line[] }[] = [];
    for (const worker of workers) {
      const ready = await worker.next();
      console.error(`${worker.name} is ready`);
      results.push({ ready, rounds: [] });
    }
    for (let round = 0; round < count; round++) {
      for (const [i, worker] of workers.entries()) {
        await new Promise((resolve) => setTimeout(resolve, 300)); // threads of the other side come to rest
        results[i].rounds.push(await worker.go());
        console.error(
          `round ${round + 1} of ${worker.name}: ${JSON.stringify(results[i].rounds.at(-1)).slice(0, 160)}`,
        );
      }
    }
    return results;
  } finally {
    for (const worker of workers) worker.end();
  }
}

/** Waits for `go` before every round, does it and prints what it returns. The worker's side of the above. */
export async function serve(ready: Line, round: () => Promise<Line | undefined>): Promise<void> {
  process.stdout.write(`${JSON.stringify({ ready: true, ...ready })}\n`);
  for await (const line of readline.createInterface({ input: process.stdin })) {
    if (line.trim() !== "go") continue;
    const result = await round();
    if (result === undefined) return;
    process.stdout.write(`${JSON.stringify(result)}\n`);
  }
}
