/**
 * The parameters of a model: their names and shapes as a checkpoint has them, and the flat memory they live in.
 * One array holds all matrices, then all vectors; every parameter is a view into it. Gradients and optimizer moments
 * use the same layout, so that an optimizer walks memory in chunks and never looks at names.
 */
import type { Backend, ResidentMemory } from "../engine/backends/backend.ts";
import type { Graph } from "../engine/graph.ts";
import { random } from "../engine/random.ts";
import { type Shape, type Tensor, elementsOf } from "../engine/tensor.ts";
import type { LoraTensors } from "./lora.ts";

export interface ParameterSpec {
  /** The name in the checkpoint, as `transformers` has it. */
  readonly name: string;
  readonly shape: Shape;
  /** Value before training from scratch: normal with this standard deviation, uniform between minus and plus this, or a constant. */
  readonly initial:
    { readonly normal: number } | { readonly constant: number } | { readonly uniform: number };
  /** Set for the matrix of a linear layer, which adapters may change: how it is stored. */
  readonly linear?: "out-in" | "in-out";
}

export interface Placement extends ParameterSpec {
  /** First element in the flat array. */
  readonly offset: number;
  readonly elements: number;
}

export interface Layout {
  /** In the order of the specification. */
  readonly parameters: readonly Placement[];
  readonly elements: number;
  /** Elements before this index belong to matrices (weight decay applies), those after it to vectors. */
  readonly matrixElements: number;
}

/** Places matrices first, then vectors (biases, norm weights), each group in the order given. */
export function layoutOf(specs: readonly ParameterSpec[]): Layout {
  const offsets = new Map<string, number>();
  let end = 0;
  const place = (isMatrix: boolean) => {
    for (const s of specs) {
      if (s.shape.length >= 2 !== isMatrix) continue;
      offsets.set(s.name, end);
      end += elementsOf(s.shape);
    }
    return end;
  };
  const matrixElements = place(true);
  const elements = place(false);
  const parameters = specs.map((s) => ({
    ...s,
    offset: offsets.get(s.name) ?? 0,
    elements: elementsOf(s.shape),
  }));
  return { parameters, elements, matrixElements };
}

/** A flat float32 array with the layout of a model: weights, gradients or moments. */
export class ParameterArray {
  readonly layout: Layout;
  readonly flat: Float32Array;
  readonly #views: ReadonlyMap<string, Float32Array>;
  readonly #resident: ResidentMemory | undefined;

  constructor(layout: Layout, flat: Float32Array, resident?: ResidentMemory) {
    this.#resident = resident;
    this.layout = layout;
    this.flat = flat;
    this.#views = new Map(
      layout.parameters.map((p) => [p.name, flat.subarray(p.offset, p.offset + p.elements)]),
    );
  }

  /** A zeroed array in memory of the back end. */
  static allocate(backend: Backend, layout: Layout): ParameterArray {
    return new ParameterArray(
      layout,
      new Float32Array(backend.allocate(layout.elements * 4), 0, layout.elements),
      backend.resident,
    );
  }

  /** For the host to read: on a device, what programs have written there is brought first. */
  forReading(): this {
    this.#resident?.beforeRead(this.flat);
    return this;
  }

  /** For the host to write, `whole` where it writes every element: on a device, programs take what it wrote from then on. */
  forWriting({ whole = false } = {}): this {
    this.#resident?.beforeWrite(this.flat, whole);
    return this;
  }

  /** Makes everything zero, where it is. */
  clear(): void {
    if (this.#resident) this.#resident.clear(this.flat);
    else this.flat.fill(0);
  }

  /** The view of one parameter, in the checkpoint's element order. */
  view(name: string): Float32Array {
    const view = this.#views.get(name);
    if (!view) throw new RangeError(`no parameter "${name}"`);
    return view;
  }

  /** Views by name, each name behind a prefix. */
  named(prefix = ""): Record<string, Float32Array> {
    return Object.fromEntries([...this.#views].map(([name, view]) => [prefix + name, view]));
  }

  /** Draws the initial values; equal seeds give equal models. */
  initialize(seed: number): void {
    for (const p of this.layout.parameters) {
      const view = this.view(p.name);
      if ("constant" in p.initial) {
        view.fill(p.initial.constant);
        continue;
      }
      const { initial } = p;
      const rng = random(seed, "initial", p.name);
      const draw =
        "normal" in initial
          ? () => initial.normal * rng.normal()
          : () => initial.uniform * (2 * rng.uniform() - 1);
      for (let i = 0; i < view.length; i++) view[i] = draw();
    }
  }
}

/** The parameters as inputs of a graph, by their checkpoint names. */
export interface Weights {
  (name: string): Tensor;
  /** What is added to a linear layer, by the layer's name. */
  readonly lora?: (layer: string) => LoraTensors | undefined;
}

/** The tensors of a layer that may have gradients: its parameters, and what adapters add to them. */
export function tensorsOf(w: Weights, specs: readonly ParameterSpec[]): Tensor[] {
  return specs.flatMap(({ name, linear }) => {
    const lora = linear && w.lora?.(name.replace(/\.weight$/, ""));
    const added = lora ? [lora.down, lora.up, lora.magnitude].filter((t) => t !== undefined) : [];
    return [w(name), ...added];
  });
}

/** Declares every parameter as an input of the graph, its name behind a prefix. */
export function declareWeights(
  graph: Graph,
  specs: readonly ParameterSpec[],
  prefix = "",
): { weights: Weights; tensors: Tensor[] } {
  const byName = new Map(specs.map((s) => [s.name, graph.input(prefix + s.name, "float", s.shape)]));
  const weights = (name: string): Tensor => {
    const tensor = byName.get(name);
    if (!tensor) throw new RangeError(`no parameter "${name}"`);
    return tensor;
  };
  return { weights, tensors: [...byName.values()] };
}
