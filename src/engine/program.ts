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
import { withBlockedProducts } from "./blocked-products.ts";
import type { Graph } from "./graph.ts";
import { lowered } from "./lowering.ts";
import { emit, inputsOf } from "./onnx.ts";
import { type Part, inOne, takenApart } from "./pieces.ts";
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
  /** Frees what the binding holds beside the arrays; it must not be run afterwards. */
  release(): void;
}

/** A graph and what is wanted of it, by name. */
export interface Built {
  readonly graph: Graph;
  readonly outputs: Readonly<Record<string, Tensor>>;
}

/** A graph as its back end gets it: what it lacks replaced, outputs in the parts that are written on their own. */
export interface Written extends Built {
  readonly parts: readonly Part[];
}

/** Where a graph is run: double precision is for the CPU. */
export const placeOf = (backend: Backend, { graph }: Built): Backend =>
  graph.float === "float64" ? (backend.host ?? backend) : backend;

/** Throws where an output has the name of an input. `frugal` programs have no products in blocks: in them each change of rank is a copy. */
export function writtenFor(
  backend: Backend,
  built: Built,
  { frugal = false }: Pick<CompileOptions, "frugal"> = {},
): Written {
  const { graph, outputs } = built;
  for (const name of Object.keys(outputs)) {
    if (graph.inputs.some((t) => t.id === name))
      throw shapeError("compile", `output "${name}" has the name of an input`);
  }
  const on = placeOf(backend, built);
  // An array on a device is written in one.
  const parts = on.resident ? inOne(outputs) : takenApart(outputs);
  const given = Object.fromEntries(parts.map((p) => [p.name, p.tensor]));
  const plain = { graph, outputs: given };
  const written = on.lowering
    ? lowered(graph, given, on.lowering)
    : on.blocked && !frugal && graph.float === "float32" && !graph.standard
      ? withBlockedProducts(plain)
      : plain;
  // The same numbers, perhaps in another shape.
  return { ...written, parts: parts.map((p) => ({ ...p, tensor: written.outputs[p.name] })) };
}

/** Compiles the part of a graph that leads to `outputs`. */
export async function compile(
  backend: Backend,
  graph: Graph,
  outputs: Readonly<Record<string, Tensor>>,
  options: Omit<CompileOptions, "externalData"> = {},
): Promise<Program> {
  const built = { graph, outputs };
  const written = writtenFor(backend, built, options);
  const session = await placeOf(backend, built).compile(emit(written.graph, written.outputs), options);
  const inputs = new Map(inputsOf(written.graph, written.outputs).map((t) => [t.id, t]));
  return { ...bindable(session, built, { ...written, inputs }), release: () => session.release() };
}

/** What a session runs: `inputs` are all that it declares, `own` the arrays of those that the graph does not. */
export function bindable(
  session: Session,
  { graph, outputs }: Built,
  { parts, inputs }: Pick<Written, "parts"> & { readonly inputs: ReadonlyMap<string, Tensor> },
  own: Arrays = {},
): Program {
  const results = new Map(Object.entries(outputs));
  return {
    inputs: new Map([...inputs].filter(([name]) => !own[name])),
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
      const binding: Binding = session.bind(values(inputs, { ...given, ...own }), blocks);
      return { outputs: filled, run: () => binding.run(), release: () => binding.release() };
    },
    release: () => undefined,
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
    await bound.run().finally(() => bound.release());
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
