/** Programs that run again and again on new numbers of the same shapes. */
import type { TensorArray } from "../engine/backends/backend.ts";
import type { Arrays, BoundProgram, Program } from "../engine/program.ts";

/** A program bound once, whose input arrays are refilled for every run. */
export class ReusableProgram {
  readonly #program: Program;
  readonly #fixed: Arrays;
  readonly #into: Arrays;
  #bound: { program: BoundProgram; arrays: Record<string, TensorArray> } | undefined;

  /** `fixed` arrays (weights) are bound as they are; `into` takes outputs, others get arrays of their own. */
  constructor(program: Program, fixed: Arrays, into: Arrays = {}) {
    this.#program = program;
    this.#fixed = fixed;
    this.#into = into;
  }

  /** Copies the arrays that the program declares in, runs, and returns it with its outputs, which the next run overwrites. */
  async with(arrays: Arrays): Promise<BoundProgram> {
    if (this.#bound) {
      for (const [name, own] of Object.entries(this.#bound.arrays)) copyInto(own, arrays[name]);
    } else {
      const used = Object.entries(arrays).filter(([name]) => this.#program.inputs.has(name));
      const own = Object.fromEntries(used.map(([name, a]) => [name, a.slice()]));
      this.#bound = { program: this.#program.bind({ ...this.#fixed, ...own }, this.#into), arrays: own };
    }
    await this.#bound.program.run();
    return this.#bound.program;
  }

  /** Frees the compiled program, which must not be run afterwards. */
  release(): void {
    this.#bound = undefined;
    this.#program.release();
  }
}

function copyInto(target: TensorArray, source: TensorArray): void {
  // Both were made for the same input, so their element types agree.
  (target as Float32Array).set(source as Float32Array);
}
