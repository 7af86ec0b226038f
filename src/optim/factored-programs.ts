/**
 * What the passes of Adafactor over matrices and over vectors have in common: options, numbers of a step, compiled passes by
 * shape, and the update whose direction is known.
 */
import type { Backend } from "../engine/backends/backend.ts";
import { Graph } from "../engine/graph.ts";
import { add, mul, reciprocal, sqrt, sub } from "../engine/ops/elementwise.ts";
import { type BoundProgram, type Program, compile } from "../engine/program.ts";
import type { Shape, Tensor } from "../engine/tensor.ts";
import { chunkElements } from "./chunked.ts";

export interface FactoredOptions {
  /** ε₁ */
  readonly epsilon: number;
  readonly beta1: number | null;
  /** Whether the size of the parameter is measured too. */
  readonly scaleParameter: boolean;
}

export interface FactoredNumbers {
  readonly beta2: number;
  readonly gradientScale: number;
}

export interface Measured {
  /** Root mean square of U, the gradient over the root of its second moment. */
  readonly updateRms: number;
  /** Root mean square of the parameter; 0 where nobody asked. */
  readonly parameterRms: number;
}

export interface Applied {
  readonly rate: number;
  /** Factor of the weights: 1 - weight decay. */
  readonly kept: number;
}

/** Outputs of a pass; inputs are declared by name and shape (absent: a scalar), each once. */
export type Build = (input: Declare) => Readonly<Record<string, Tensor>>;
export type Declare = (name: string, shape?: Shape) => Tensor;

/** Compiled passes by shape, and the memory that parameters use one after another. */
export class FactoredPrograms {
  readonly options: FactoredOptions;
  readonly backend: Backend;
  /** Elements that a pass aims at; on a device, whose buffers hold whole parameters, all of one. */
  readonly chunk: number;
  /** β₂, 1-β₂, factor of the gradient, its square, and what `apply` needs: set before a pass. */
  readonly scalars = Object.fromEntries(
    ["beta2", "taken", "scale", "scale2", "rate", "kept"].map((name) => [name, new Float32Array(1)]),
  );
  readonly #programs = new Map<string, Promise<Program>>();

  constructor(backend: Backend, options: FactoredOptions) {
    this.backend = backend;
    this.chunk = backend.resident ? Number.MAX_SAFE_INTEGER : chunkElements;
    this.options = options;
  }

  set(values: Readonly<Record<string, number>>): void {
    for (const [name, value] of Object.entries(values)) this.scalars[name][0] = value;
  }

  numbers({ beta2, gradientScale }: FactoredNumbers): void {
    this.set({ beta2, taken: 1 - beta2, scale: gradientScale, scale2: gradientScale ** 2 });
  }

  /** A pass for arrays of these sizes, compiled once. */
  pass(name: string, sizes: readonly number[], build: Build): Promise<Program> {
    const key = `${name}/${sizes.join()}`;
    const made = this.#programs.get(key) ?? this.#compile(build);
    this.#programs.set(key, made);
    return made;
  }

  #compile(build: Build): Promise<Program> {
    const graph = new Graph();
    const outputs = build((name, shape = []) => graph.input(name, "float", shape));
    return compile(this.backend, graph, outputs, { little: true });
  }

  release(): void {
    for (const made of this.#programs.values()) void made.then((program) => program.release());
    this.#programs.clear();
  }
}

/** 1/√x */
export const rsqrt = (x: Tensor) => reciprocal(sqrt(x));
/** The sum of a scalar output over chunks, in double precision; 0 where they have none. */
export const total = (runs: readonly BoundProgram[], output: string) =>
  runs.reduce((all, run) => all + Number(run.outputs[output]?.[0] ?? 0), 0);

/** The update of a chunk, whose direction U is given: Û = rate · U, averaged where there is a first moment. */
export function applied(
  { beta1 }: FactoredOptions,
  p: Tensor,
  u: Tensor,
  input: Declare,
): Record<string, Tensor> {
  const step = mul(u, input("rate"));
  const m = beta1 === null ? undefined : add(mul(input("m", p.shape), beta1), mul(step, 1 - beta1));
  return { "new p": sub(mul(p, input("kept")), m ?? step), ...(m && { "new m": m }) };
}
