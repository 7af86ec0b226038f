/**
 * The passes of Adafactor over one matrix, in place and in chunks of rows: what its squared gradients come to by rows and
 * columns, how large the update would be, and the update.
 */
import { add, div, mul, square } from "../engine/ops/elementwise.ts";
import { mean, sum } from "../engine/ops/reduce.ts";
import { reshape } from "../engine/ops/shape.ts";
import type { BoundProgram } from "../engine/program.ts";
import { type Tensor, dim } from "../engine/tensor.ts";
import { chunksOf } from "./chunked.ts";
import {
  type Applied,
  type Build,
  type Declare,
  type FactoredNumbers,
  type FactoredOptions,
  type FactoredPrograms,
  type Measured,
  applied,
  rsqrt,
  total,
} from "./factored-programs.ts";

/** A matrix [rows, columns], or slabs of them in a tensor of more dimensions, each factored by itself. */
export class FactoredMatrix {
  readonly #programs: FactoredPrograms;
  readonly #elements: number;
  readonly #columnSums: Float32Array;
  readonly #squares: readonly BoundProgram[];
  readonly #factors: BoundProgram;
  readonly #sizes: readonly BoundProgram[];
  readonly #updates: readonly BoundProgram[];

  private constructor(
    programs: FactoredPrograms,
    elements: number,
    columnSums: Float32Array,
    runs: {
      squares: readonly BoundProgram[];
      factors: BoundProgram;
      sizes: readonly BoundProgram[];
      updates: readonly BoundProgram[];
    },
  ) {
    this.#programs = programs;
    this.#elements = elements;
    this.#columnSums = columnSums;
    this.#squares = runs.squares;
    this.#factors = runs.factors;
    this.#sizes = runs.sizes;
    this.#updates = runs.updates;
  }

  /** `arrays.row` and `arrays.column` are those of all parameters; this one's begin at `at`. */
  static async bind(
    programs: FactoredPrograms,
    sizes: readonly number[],
    arrays: Readonly<Record<"p" | "g" | "row" | "column", Float32Array>> & { readonly m?: Float32Array },
    at: { readonly row: number; readonly column: number },
  ): Promise<FactoredMatrix> {
    const [rows, columns] = sizes.slice(-2);
    const { p, g, m } = arrays;
    const slabs = p.length / (rows * columns);
    const row = arrays.row.subarray(at.row, at.row + slabs * rows);
    const column = arrays.column.subarray(at.column, at.column + slabs * columns);
    const scratch = {
      columnSum: new Float32Array(column.length),
      rowFactor: new Float32Array(row.length),
      columnFactor: new Float32Array(column.length),
    };
    const all = { ...programs.scalars, row, column, ...scratch };
    const whole = await programs.pass("factors", [slabs, rows, columns], factorsPass(slabs, rows, columns));
    const factors = whole.bind(all, {
      "new column": column,
      rowFactor: scratch.rowFactor,
      columnFactor: scratch.columnFactor,
    });
    const runs = { factors, squares: [], sizes: [], updates: [] } as {
      factors: BoundProgram;
      squares: BoundProgram[];
      sizes: BoundProgram[];
      updates: BoundProgram[];
    };
    for (const { slab, slabCount, start, end } of blocks(programs.chunk, slabs, rows, columns)) {
      const lines = (x: Float32Array, width: number) =>
        x.subarray((slab * rows + start) * width, ((slab + slabCount - 1) * rows + end) * width);
      const perSlab = (x: Float32Array) => x.subarray(slab * columns, (slab + slabCount) * columns);
      const own = {
        ...programs.scalars,
        p: lines(p, columns),
        g: lines(g, columns),
        row: lines(row, 1),
        rowFactor: lines(scratch.rowFactor, 1),
        columnSum: perSlab(scratch.columnSum),
        columnFactor: perSlab(scratch.columnFactor),
        ...(m && { m: lines(m, columns) }),
      };
      const size = [slabCount, end - start, columns] as const;
      const pass = (name: string, build: (options: FactoredOptions, ...size: number[]) => Build) =>
        programs.pass(name, size, build(programs.options, ...size));
      runs.squares.push(
        (await pass("squares", squaresPass)).bind(own, { "new row": own.row, "new sum": own.columnSum }),
      );
      runs.sizes.push((await pass("size", sizePass)).bind(own));
      runs.updates.push(
        (await pass("update", updatePass)).bind(own, { "new p": own.p, ...(own.m && { "new m": own.m }) }),
      );
    }
    return new FactoredMatrix(programs, p.length, scratch.columnSum, runs);
  }

  async measure(numbers: FactoredNumbers): Promise<Measured> {
    this.#programs.numbers(numbers);
    this.#columnSums.fill(0);
    for (const run of this.#squares) await run.run();
    await this.#factors.run();
    for (const run of this.#sizes) await run.run();
    const rms = (squares: number) => Math.sqrt(squares / this.#elements);
    return {
      updateRms: rms(total(this.#sizes, "squares")),
      parameterRms: rms(total(this.#squares, "parameter")),
    };
  }

  async apply({ rate, kept }: Applied): Promise<void> {
    this.#programs.set({ rate, kept });
    for (const run of this.#updates) await run.run();
  }
}

/** Rows of one slab, or several whole slabs, of about a chunk. */
function blocks(chunk: number, slabs: number, rows: number, columns: number) {
  const perChunk = Math.max(1, Math.floor(chunk / columns));
  if (rows > perChunk || slabs === 1)
    return Array.from({ length: slabs }, (_, slab) =>
      chunksOf({ start: 0, end: rows }, perChunk).map((r) => ({ slab, slabCount: 1, ...r })),
    ).flat();
  return chunksOf({ start: 0, end: slabs }, Math.floor(perChunk / rows)).map(({ start, end }) => ({
    slab: start,
    slabCount: end - start,
    start: 0,
    end: rows,
  }));
}

function dims(slabs: number, rows: number, columns: number) {
  const [s, r, c] = [dim("slabs", slabs), dim("rows", rows), dim("columns", columns)];
  return {
    matrix: [s, r, c],
    row: [s, r],
    column: [s, c],
    tall: [s, r, dim("columns", 1)],
    wide: [s, dim("rows", 1), c],
  };
}

/** row ← β₂ row + (1-β₂) mean(G² + ε₁ over columns); the sums over rows are added up chunk by chunk. */
function squaresPass({ epsilon, scaleParameter }: FactoredOptions, ...size: number[]): Build {
  const { matrix, row, column } = dims(size[0], size[1], size[2]);
  return (input) => {
    const squares = add(mul(square(input("g", matrix)), input("scale2")), epsilon);
    const kept = mul(input("row", row), input("beta2"));
    return {
      "new row": add(kept, mul(mean(squares, "columns"), input("taken"))),
      "new sum": add(input("columnSum", column), sum(squares, "rows")),
      ...(scaleParameter && { parameter: sum(square(input("p", matrix))) }),
    };
  };
}

/** column ← β₂ column + (1-β₂) mean over rows; 1/√(row / mean(row)) and 1/√column, whose product is 1/√V̂. */
function factorsPass(slabs: number, rows: number, columns: number): Build {
  const { row, column } = dims(slabs, rows, columns);
  return (input) => {
    const r = input("row", row);
    const sums = input("columnSum", column);
    const kept = mul(input("column", column), input("beta2"));
    const c = add(kept, mul(mul(sums, 1 / rows), input("taken")));
    const middle = reshape(mean(r, "rows"), [row[0], dim("rows", 1)]);
    return { "new column": c, rowFactor: rsqrt(div(r, middle)), columnFactor: rsqrt(c) };
  };
}

/** U = G / √V̂ of a chunk. */
function direction(size: readonly number[], input: Declare): Tensor {
  const { matrix, row, column, tall, wide } = dims(size[0], size[1], size[2]);
  const g = mul(input("g", matrix), input("scale"));
  return mul(mul(g, reshape(input("rowFactor", row), tall)), reshape(input("columnFactor", column), wide));
}

function sizePass(_options: FactoredOptions, ...size: number[]): Build {
  return (input) => ({ squares: sum(square(direction(size, input))) });
}

function updatePass(options: FactoredOptions, ...size: number[]): Build {
  const { matrix } = dims(size[0], size[1], size[2]);
  return (input) => applied(options, input("p", matrix), direction(size, input), input);
}
