/** The passes of Adafactor over one vector, whose second moment is kept whole, in place and in chunks. */
import { add, mul, square } from "../engine/ops/elementwise.ts";
import { sum } from "../engine/ops/reduce.ts";
import type { BoundProgram } from "../engine/program.ts";
import { dim } from "../engine/tensor.ts";
import { chunksOf } from "./chunked.ts";
import {
  type Applied,
  type FactoredNumbers,
  type FactoredPrograms,
  type Measured,
  applied,
  rsqrt,
  total,
} from "./factored-programs.ts";

/** A vector, whose second moment is kept whole. */
export class FactoredVector {
  readonly #programs: FactoredPrograms;
  readonly #elements: number;
  readonly #squares: readonly BoundProgram[];
  readonly #updates: readonly BoundProgram[];

  private constructor(
    programs: FactoredPrograms,
    elements: number,
    squares: readonly BoundProgram[],
    updates: readonly BoundProgram[],
  ) {
    this.#programs = programs;
    this.#elements = elements;
    this.#squares = squares;
    this.#updates = updates;
  }

  static async bind(
    programs: FactoredPrograms,
    arrays: Readonly<Record<"p" | "g" | "v", Float32Array>> & { readonly m?: Float32Array },
  ): Promise<FactoredVector> {
    const { options } = programs;
    const [squares, updates]: BoundProgram[][] = [[], []];
    for (const { start, end } of chunksOf({ start: 0, end: arrays.p.length }, programs.chunk)) {
      const view = (x: Float32Array) => x.subarray(start, end);
      const own = {
        ...programs.scalars,
        p: view(arrays.p),
        g: view(arrays.g),
        v: view(arrays.v),
        ...(arrays.m && { m: view(arrays.m) }),
      };
      const shape = [dim("elements", end - start)];
      // v ← β₂ v + (1-β₂)(G² + ε₁); U = G / √v
      const first = await programs.pass("vector squares", [end - start], (input) => {
        const g = input("g", shape);
        const added = add(mul(square(g), input("scale2")), options.epsilon);
        const v = add(mul(input("v", shape), input("beta2")), mul(added, input("taken")));
        const u = mul(mul(g, input("scale")), rsqrt(v));
        return {
          "new v": v,
          squares: sum(square(u)),
          ...(options.scaleParameter && { parameter: sum(square(input("p", shape))) }),
        };
      });
      const second = await programs.pass("vector update", [end - start], (input) => {
        const u = mul(mul(input("g", shape), input("scale")), rsqrt(input("v", shape)));
        return applied(options, input("p", shape), u, input);
      });
      squares.push(first.bind(own, { "new v": own.v }));
      updates.push(second.bind(own, { "new p": own.p, ...(own.m && { "new m": own.m }) }));
    }
    return new FactoredVector(programs, arrays.p.length, squares, updates);
  }

  async measure(numbers: FactoredNumbers): Promise<Measured> {
    this.#programs.numbers(numbers);
    for (const run of this.#squares) await run.run();
    const rms = (squares: number) => Math.sqrt(squares / this.#elements);
    return {
      updateRms: rms(total(this.#squares, "squares")),
      parameterRms: rms(total(this.#squares, "parameter")),
    };
  }

  async apply({ rate, kept }: Applied): Promise<void> {
    this.#programs.set({ rate, kept });
    for (const run of this.#updates) await run.run();
  }
}
