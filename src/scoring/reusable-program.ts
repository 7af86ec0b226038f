/** Programs that run again and again on new numbers of the same shapes. */
import type { TensorArray } from "../engine/backends/backend.ts";
import type { Arrays, BoundProgram, Program } from "../engine/program.ts";

/** A program with the arrays that stay the same from run to run. */
export class ReusableProgram {
  readonly #program: Program;
  readonly #fixed: Arrays;
  readonly #into: Arrays;
  readonly #keep: boolean;
  #bound: { program: BoundProgram; arrays: Record<string, TensorArray> } | undefined;

  /**
   * `fixed` arrays (weights) are bound as they are; `into` takes outputs, others get arrays of their own. With `keep`, arrays of the first
   * run stay bound and are refilled; without, every run binds its own and nothing of them is held.
   */
  constructor(program: Program, fixed: Arrays, into: Arrays = {}, keep = true) {
    this.#program = program;
    this.#fixed = fixed;
    this.#into = into;
    this.#keep = keep;
  }

  /** Runs on these arrays and returns the outputs, which the next run may overwrite. Arrays that are not declared are ignored. */
  async with(arrays: Arrays): Promise<Arrays> {
    if (this.#keep) {
      const program = this.#filled(arrays);
      await program.run();
      return program.outputs;
    }
    const program = this.#program.bind({ ...this.#fixed, ...arrays }, this.#into);
    await program.run().finally(() => program.release());
    return program.outputs;
  }

  /** The program bound to arrays of its own that hold these numbers. */
  #filled(arrays: Arrays): BoundProgram {
    if (this.#bound) {
      for (const [name, own] of Object.entries(this.#bound.arrays)) copyInto(own, arrays[name]);
      return this.#bound.program;
    }
    const used = Object.entries(arrays).filter(([name]) => this.#program.inputs.has(name));
    const own = Object.fromEntries(used.map(([name, a]) => [name, a.slice()]));
    this.#bound = { program: this.#program.bind({ ...this.#fixed, ...own }, this.#into), arrays: own };
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
