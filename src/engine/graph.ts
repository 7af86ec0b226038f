/**
 * A computation written once: operations append ONNX nodes to a graph, and note on its tape how to differentiate them.
 * Gradients are more nodes of the same graph (`gradient.ts`); the emitter (`onnx.ts`) writes it all down for ONNX Runtime.
 */
import { type DType, type Dim, type Shape, Tensor, dim, shapeError } from "./tensor.ts";

export type FloatType = "float32" | "float64";
export type Attribute = number | string | number[] | { float: number };

export interface GraphNode {
  readonly type: string;
  readonly domain: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /** Memory of each output. */
  readonly bytes: readonly number[];
  readonly attributes: Readonly<Record<string, Attribute>>;
}

export interface Constant {
  readonly id: string;
  readonly dtype: DType;
  readonly sizes: readonly number[];
  readonly values: readonly number[];
}

/** What a backward rule is given besides the output's gradient. */
export interface BackwardContext {
  /** For each input, whether its gradient is wanted: skip the work where it is not. */
  wants: readonly boolean[];
  /** The gradient accumulated so far for any tensor. */
  soFar: (tensor: Tensor) => Tensor | undefined;
}

/** A gradient to be added to what is there, or one that already includes it. */
export type InputGradient = Tensor | { including: Tensor } | undefined;

export interface TapeEntry {
  readonly output: Tensor;
  readonly inputs: readonly Tensor[];
  readonly backward: (dy: Tensor, context: BackwardContext) => readonly InputGradient[];
}

/** How an index [n] is sorted: its places by their values, equal ones side by side, in blocks, with padding before the first and at the end. */
export interface Sorted {
  /** [n] int64: where in that order the value of each place begins. */
  readonly first: Tensor;
  /** [blocks, rows] int64: the places in that order; 0 for padding. */
  readonly places: Tensor;
  /** [blocks, rows] int64: their values; negative for padding. */
  readonly values: Tensor;
  /** [blocks, 1] int64 and float: where in that order a block's first value began, and 1 where that was in one before it; else 0. */
  readonly began: Tensor;
  readonly continued: Tensor;
}

/** Bytes of one element. */
export function bytesOf(dtype: DType, float: FloatType): number {
  const size: Record<DType, number> = {
    float: float === "float64" ? 8 : 4,
    int64: 8,
    int32: 4,
    bool: 1,
    uint8: 1,
    uint4: 0.5,
    bfloat16: 2,
  };
  return size[dtype];
}

export class Graph {
  /** The type that "float" stands for. */
  readonly float: FloatType;
  /** Operations are made of standard ONNX operators, none of ONNX Runtime's own: for files that others run, and where kernels lack a type. */
  readonly standard: boolean;
  readonly nodes: GraphNode[] = [];
  readonly inputs: Tensor[] = [];
  readonly constants: Constant[] = [];
  /** Differentiable operations in order; set aside while backward rules run. */
  tape: TapeEntry[] = [];
  #taping = true;
  #keeping = false;
  #count = 0;
  readonly #cached = new Map<string, Tensor>();
  /** Values that can be made anew where they are used: kept, they would take memory from their first use to their last. */
  readonly remakes = new Map<string, (dependency: Tensor) => Tensor>();
  /** Values that are others one after another along their first dimension, where they may be taken down in pieces (`pieces.ts`). */
  readonly pieces = new Map<string, readonly Tensor[]>();
  /** Indices of which it is known how they are sorted, by their names. */
  readonly sorted = new Map<string, Sorted>();
  /** Every value that a node makes, by its name. */
  readonly values = new Map<string, Tensor>();
  readonly #prefix: string;

  /** `prefix` begins the names of values: those of graphs that are put together must differ. */
  constructor(float: FloatType = "float32", standard = float === "float64", prefix = "#") {
    this.float = float;
    this.standard = standard;
    this.#prefix = prefix;
  }

  /** A named input; its array is bound before a run. */
  input(name: string, dtype: DType, shape: Shape): Tensor {
    if (name.startsWith("#") || this.inputs.some((t) => t.id === name)) {
      throw shapeError("input", `the name "${name}" is taken`);
    }
    const tensor = new Tensor(this, name, dtype, shape);
    this.inputs.push(tensor);
    return tensor;
  }

  /** A scalar constant. */
  scalar(value: number, dtype: DType = "float"): Tensor {
    return this.#constant(dtype, [], [value], []);
  }

  /** A vector of integers, as axes and shapes are passed to ONNX operators. */
  integers(values: readonly number[]): Tensor {
    return this.#constant("int64", [values.length], values, [dim("values", values.length)]);
  }

  /** A vector of constant numbers along a dimension. */
  floats(values: readonly number[], along: Dim): Tensor {
    return this.#constant("float", [values.length], values, [along]);
  }

  #constant(dtype: DType, sizes: readonly number[], values: readonly number[], shape: Shape): Tensor {
    const key = `${dtype}/${shape.map((d) => `${d.name} ${d.size}`).join()}/${values.map((v) => (Object.is(v, -0) ? "-0" : v)).join()}`;
    const known = this.#cached.get(key);
    if (known) return known;
    const tensor = new Tensor(this, `${this.#prefix}${this.#count++}`, dtype, shape);
    this.constants.push({ id: tensor.id, dtype, sizes, values });
    this.#cached.set(key, tensor);
    return tensor;
  }

  /** Appends a node with one output. `undefined` leaves an optional input out. */
  node(
    type: string,
    inputs: readonly (Tensor | undefined)[],
    output: { dtype?: DType; shape: Shape },
    attributes: Record<string, Attribute> = {},
    domain = "",
  ): Tensor {
    return this.nodesOut(type, inputs, [output], attributes, domain)[0];
  }

  /** Appends a node with several outputs. */
  nodesOut(
    type: string,
    inputs: readonly (Tensor | undefined)[],
    outputs: readonly { dtype?: DType; shape: Shape }[],
    attributes: Record<string, Attribute> = {},
    domain = "",
  ): Tensor[] {
    const tensors = outputs.map(
      (o) => new Tensor(this, `${this.#prefix}${this.#count++}`, o.dtype ?? "float", o.shape),
    );
    for (const t of tensors) this.values.set(t.id, t);
    this.nodes.push({
      type,
      domain,
      inputs: inputs.map((t) => t?.id ?? ""),
      outputs: tensors.map((t) => t.id),
      bytes: tensors.map((t) => t.elements * bytesOf(t.dtype, this.float)),
      attributes,
    });
    return tensors;
  }

  /** Notes how `output` is differentiated with respect to `inputs`. Returns `output`. */
  record(output: Tensor, inputs: readonly Tensor[], backward: TapeEntry["backward"]): Tensor {
    if (this.#taping) this.tape.push({ output, inputs, backward });
    return output;
  }

  /** The same value without a gradient. Checks override it, to hold such values still while they move inputs. */
  detach(x: Tensor): Tensor {
    return new Tensor(this, x.id, x.dtype, x.shape);
  }

  /** Runs `build` with nothing recorded on the tape: gradients, metrics, stop-gradients. */
  untaped<T>(build: () => T): T {
    const before = this.#taping;
    this.#taping = false;
    try {
      return build();
    } finally {
      this.#taping = before;
    }
  }

  /** Whether everything is kept for the backward, or what is cheap is made again (`remade`). */
  get keeping(): boolean {
    return this.#keeping;
  }

  /** Runs `build` with everything kept that its backward needs. */
  keepingAll<T>(build: () => T): T {
    const before = this.#keeping;
    this.#keeping = true;
    try {
      return build();
    } finally {
      this.#keeping = before;
    }
  }

  /** Runs `build` on a tape of its own and returns what it recorded. */
  taped<T>(build: () => T): { value: T; tape: TapeEntry[] } {
    const [tape, taping] = [this.tape, this.#taping];
    this.tape = [];
    this.#taping = true;
    try {
      const value = build();
      return { value, tape: this.tape };
    } finally {
      this.tape = tape;
      this.#taping = taping;
    }
  }
}
