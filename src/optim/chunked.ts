/**
 * Elementwise work over flat arrays, in chunks that stay in cache and in place. One small program per chunk length serves
 * any model: a region is cut into equal chunks and one remainder, so few programs are compiled.
 */
import type { Backend } from "../engine/backends/backend.ts";
import { Graph } from "../engine/graph.ts";
import { type BoundProgram, type Program, compile } from "../engine/program.ts";
import { type Tensor, dim } from "../engine/tensor.ts";
import type { Layout } from "../nn/parameters.ts";

/** Elements of a chunk: 128k floats, the fastest of those measured (docs/decisions.md). */
export const chunkElements = 1 << 17;

export interface Region {
  readonly start: number;
  readonly end: number;
}

/** What to do with one chunk: builds outputs from the inputs `array(name)` [n] and `scalar(name)`. */
export type ChunkKernel = (
  inputs: { array: (name: string) => Tensor; scalar: (name: string) => Tensor },
  variant: string,
) => Readonly<Record<string, Tensor>>;

/** Regions that are worked on with the same scalars. */
export interface Part {
  readonly regions: readonly Region[];
  /** Scalars, each an array of one element that the caller sets before a run. Every part has the same names. */
  readonly scalars: Readonly<Record<string, Float32Array>>;
  /** Handed to the kernel, which may do less for some parts than for others. */
  readonly variant?: string;
}

export interface ChunkedOptions {
  /** How all arrays are laid out: where they stay on a device they are worked on parameter by parameter. */
  readonly layout: Layout;
  /** Flat arrays of equal length, read by the kernel. */
  readonly arrays: Readonly<Record<string, Float32Array>>;
  /** For outputs that are written to an array: the name of that array. Other outputs are scalars per chunk. */
  readonly writes?: Readonly<Record<string, string>>;
  /** Absent: everything, without scalars. */
  readonly parts?: readonly Part[];
}

/** A kernel bound to every chunk of its parts. */
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
    const { arrays, layout, writes = {} } = options;
    const parts = options.parts ?? [{ regions: [{ start: 0, end: layout.elements }], scalars: {} }];
    const cut = (region: Region) => (backend.resident ? parametersIn(layout, region) : chunksOf(region));
    const programs = new Map<string, Program>();
    const runs: BoundProgram[] = [];
    for (const { regions, scalars, variant = "" } of parts) {
      for (const { start, end } of regions.flatMap(cut)) {
        const n = end - start;
        const key = `${variant}/${n}`;
        const program = programs.get(key) ?? (await compileFor(backend, kernel, n, variant));
        programs.set(key, program);
        const view = (name: string) => arrays[name].subarray(start, end);
        const inputs = Object.fromEntries(Object.keys(arrays).map((name) => [name, view(name)]));
        const outputs = Object.fromEntries(
          Object.entries(writes).map(([output, name]) => [output, view(name)]),
        );
        runs.push(program.bind({ ...inputs, ...scalars }, outputs));
      }
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

/** A region in pieces of `size` elements and one remainder. */
export function chunksOf({ start, end }: Region, size: number = chunkElements): Region[] {
  return Array.from({ length: Math.ceil((end - start) / size) }, (_, i) => {
    const from = start + i * size;
    return { start: from, end: Math.min(from + size, end) };
  });
}

/** The parameters of a region, whose bounds are bounds of parameters. */
function parametersIn({ parameters }: Layout, { start, end }: Region): Region[] {
  return parameters
    .map((p) => ({ start: p.offset, end: p.offset + p.elements }))
    .filter((p) => p.start >= start && p.end <= end && p.end > p.start);
}

function compileFor(backend: Backend, kernel: ChunkKernel, n: number, variant: string): Promise<Program> {
  const graph = new Graph();
  const inputs = {
    array: (name: string) => graph.input(name, "float", [dim("elements", n)]),
    scalar: (name: string) => graph.input(name, "float", []),
  };
  const outputs = kernel(inputs, variant);
  return compile(backend, graph, outputs, { little: true });
}
