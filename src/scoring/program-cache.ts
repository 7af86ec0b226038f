/**
 * Compiled programs by what they were compiled for, the least recently used released where there are too many: a program of a 30-layer
 * model holds about 25 MB beside its numbers, and rows of varying lengths ask for many.
 */
import type { ReusableProgram } from "./reusable-program.ts";

/** Programs that are kept at once. */
export const mostPrograms = 24;

export class ProgramCache {
  readonly #most: number;
  /** In the order of their last use. */
  readonly #programs = new Map<string, Promise<ReusableProgram>>();

  constructor(most = mostPrograms) {
    this.#most = most;
  }

  /** The program of this key, compiled where it is not there. It stays usable until `get` has been asked for `most` others. */
  async get(key: string, compile: () => Promise<ReusableProgram>): Promise<ReusableProgram> {
    const program = this.#programs.get(key) ?? compile();
    this.#programs.delete(key);
    this.#programs.set(key, program);
    program.catch(() => this.#programs.delete(key)); // what could not be compiled is nothing to free
    for (const [old, unused] of [...this.#programs].slice(0, Math.max(0, this.#programs.size - this.#most))) {
      this.#programs.delete(old);
      (await unused).release();
    }
    return program;
  }

  /** How many there are. */
  get size(): number {
    return this.#programs.size;
  }

  /** Frees them all. */
  async release(): Promise<void> {
    for (const program of this.#programs.values()) (await program).release();
    this.#programs.clear();
  }
}
