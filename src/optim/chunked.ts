/**
 * Elementwise work over flat arrays, in chunks that stay in cache and in place. One small program per chunk length serves
 * any model: a flat array is cut into equal chunks and one remainder, so at most two programs are compiled per region.
 */
import type { Backend } from "../engine/backends/backend.ts";
import { Graph } from "../engine/graph.ts";
import { type BoundProgram, type Program, compile } from "../engine/program.ts";
import { type Tensor, dim } from "../engine/tensor.ts";

/** Elements of a chunk: 256k floats, the fastest of those measured (docs/decisions.md). */
export const chunkElements = 1 << 18;

export interface Region {
  readonly start: number;
  readonly end: number;
}

/** What to do with one chunk: builds outputs from the inputs `array(name)` [n] and `scalar(name)`. */
export type ChunkKernel = (inputs: {
  array: (name: string) => Tensor;
  scalar: (name: string) => Tensor;
}) => Readonly<Record<string, Tensor>>;

export interface ChunkedOptions {
  /** Flat arrays of equal length, read by the kernel. */
  readonly arrays: Readonly<Record<string, Float32Array>>;
  /** Scalars, each an array of one element that the caller sets before a run. */
  readonly scalars?: Readonly<Record<string, Float32Array>>;
  /** For outputs that are written to an array: the name of that array. Other outputs are scalars per chunk. */
  readonly writes?: Readonly<Record<string, string>>;
  readonly region?: Region;
}

/** A kernel bound to every chunk of a region. */
export class ChunkedProgram {
  readonly #runs: readonly BoundProgram[];
  readonly #programs: readonly Program[];

  private constructor(runs: readonly BoundProgram[], programs: readonly Program[]) {
    this.#runs = runs;
    this.#programs = programs;
  }

  static async compile(
    backend: Backend,
    kernel: ChunkKernel,
    options: ChunkedOptions,
  ): Promise<ChunkedProgram> {
    const { arrays, scalars = {}, writes = {} } = options;
    const length = Math.max(...Object.values(arrays).map((a) => a.length));
    const { start, end } = options.region ?? { start: 0, end: length };
    const programs = new Map<number, Program>();
    const runs: BoundProgram[] = [];
    for (let at = start; at < end; at += chunkElements) {
      const n = Math.min(chunkElements, end - at);
      const program = programs.get(n) ?? (await compileFor(backend, kernel, n));
      programs.set(n, program);
      const part = (name: string) => arrays[name].subarray(at, at + n);
      const inputs = Object.fromEntries(Object.keys(arrays).map((name) => [name, part(name)]));
      const outputs = Object.fromEntries(
        Object.entries(writes).map(([output, name]) => [output, part(name)]),
      );
      runs.push(program.bind({ ...inputs, ...scalars }, outputs));
    }
    return new ChunkedProgram(runs, [...programs.values()]);
  }

  /** Runs all chunks in order. */
  async run(): Promise<void> {
    for (const run of this.#runs) await run.run();
  }

  /** Frees the compiled programs. */
  release(): void {
    for (const program of this.#programs) program.release();
  }

  /** The sum over the chunks of a scalar output of the last run, added up in double precision. */
  total(output: string): number {
    return this.#runs.reduce((sum, run) => sum + Number(run.outputs[output][0]), 0);
  }
}

function compileFor(backend: Backend, kernel: ChunkKernel, n: number): Promise<Program> {
  const graph = new Graph();
  const outputs = kernel({
    array: (name) => graph.input(name, "float", [dim("elements", n)]),
    scalar: (name) => graph.input(name, "float", []),
  });
  return compile(backend, graph, outputs);
}
