/**
 * A graph made runnable: emitted, compiled, and bound to arrays. Which inputs and outputs there are, and of what
 * shape, the program knows from the graph and checks when arrays are bound.
 */
import type {
  Backend,
  Binding,
  CompileOptions,
  Session,
  TensorArray,
  TensorValue,
} from "./backends/backend.ts";
import type { Graph } from "./graph.ts";
import { lowered } from "./lowering.ts";
import { emit, inputsOf } from "./onnx.ts";
import { inOne, takenApart } from "./pieces.ts";
import { type DType, type Tensor, elementsOf, shapeError } from "./tensor.ts";

export type Arrays = Readonly<Record<string, TensorArray>>;

export interface Program {
  /** The inputs that must be bound, by name. */
  readonly inputs: ReadonlyMap<string, Tensor>;
  readonly outputs: ReadonlyMap<string, Tensor>;
  /** Binds arrays; outputs left out get arrays of their own. Arrays bound but not declared are ignored. */
  bind(inputs: Arrays, outputs?: Arrays): BoundProgram;
  release(): void;
}

export interface BoundProgram {
  readonly outputs: Readonly<Record<string, TensorArray>>;
  run(): Promise<void>;
}

/** Compiles the part of a graph that leads to `outputs`. */
export async function compile(
  backend: Backend,
  graph: Graph,
  outputs: Readonly<Record<string, Tensor>>,
  options: Omit<CompileOptions, "externalData"> = {},
): Promise<Program> {
  for (const name of Object.keys(outputs)) {
    if (graph.inputs.some((t) => t.id === name))
      throw shapeError("compile", `output "${name}" has the name of an input`);
  }
  // Double precision is for the CPU; and an array on a device is written in one.
  const on = graph.float === "float64" ? (backend.host ?? backend) : backend;
  const parts = on.resident ? inOne(outputs) : takenApart(outputs);
  const given = Object.fromEntries(parts.map((p) => [p.name, p.tensor]));
  const written = on.lowering ? lowered(graph, given, on.lowering) : { graph, outputs: given };
  const session: Session = await on.compile(emit(written.graph, written.outputs), options);
  const declared = new Map(inputsOf(written.graph, written.outputs).map((t) => [t.id, t]));
  const results = new Map(Object.entries(outputs));
  return {
    inputs: declared,
    outputs: results,
    bind(given, into = {}) {
      const values = (tensors: ReadonlyMap<string, Tensor>, arrays: Arrays) =>
        Object.fromEntries([...tensors].map(([name, t]) => [name, valueOf(name, t, arrays[name])]));
      const filled: Record<string, TensorArray> = {};
      for (const [name, t] of results) filled[name] = into[name] ?? arrayFor(graph, t);
      values(results, filled); // refuses arrays of another size
      const blocks = Object.fromEntries(
        parts.map(({ output, name, tensor, offset }) => [
          name,
          valueOf(name, tensor, filled[output].subarray(offset, offset + tensor.elements)),
        ]),
      );
      const binding: Binding = session.bind(values(declared, given), blocks);
      return { outputs: filled, run: () => binding.run() };
    },
    release: () => session.release(),
  };
}

/** Compiles, binds, runs once and frees: for checks and small calculations. */
export async function evaluate<K extends string>(
  backend: Backend,
  graph: Graph,
  outputs: Readonly<Record<K, Tensor>>,
  inputs: Arrays = {},
): Promise<Record<K, TensorArray>> {
  const program = await compile(backend, graph, outputs, { optimize: false });
  try {
    const bound = program.bind(inputs);
    await bound.run();
    return bound.outputs as Record<K, TensorArray>;
  } finally {
    program.release();
  }
}

/** A zeroed array for a tensor, in ordinary JavaScript memory. */
export function arrayFor(graph: Graph, tensor: Tensor): TensorArray {
  const makers: Record<DType, (n: number) => TensorArray> = {
    float: (n) => (graph.float === "float64" ? new Float64Array(n) : new Float32Array(n)),
    int64: (n) => new BigInt64Array(n),
    int32: (n) => new Int32Array(n),
    bool: (n) => new Uint8Array(n),
    uint8: (n) => new Uint8Array(n),
    uint4: (n) => new Uint8Array(Math.ceil(n / 2)), // two a byte
    bfloat16: (n) => new Uint16Array(n), // JavaScript has no array of them
  };
  return makers[tensor.dtype](tensor.elements);
}

function valueOf(name: string, tensor: Tensor, data: TensorArray | undefined): TensorValue {
  if (!data) throw shapeError("bind", `no array for "${name}", which is ${tensor}`);
  const elements = elementsOf(tensor.shape);
  if (data.length !== (tensor.dtype === "uint4" ? Math.ceil(elements / 2) : elements)) {
    throw shapeError("bind", `"${name}" is ${tensor} and its array has ${data.length} elements`);
  }
  return { data, sizes: tensor.sizes, dtype: tensor.dtype };
}
