/**
 * Symbolic tensors: a name in a graph, an element type, and a shape whose dimensions carry names.
 * A name says what a dimension counts ("tokens", "hidden"); two dimensions fit only if name and size agree,
 * so that adding [tokens 64] to [hidden 64] is an error at build time and not a wrong number later.
 */
import type { Graph } from "./graph.ts";
import { RequestError } from "../errors.ts";

/** "float" is float32 in training and float64 in checks: the graph decides. */
export type DType = "float" | "int64" | "int32" | "bool" | "uint8" | "uint4" | "bfloat16";

export interface Dim {
  readonly name: string;
  readonly size: number;
  /** The size is only known when the program runs, and may be another each time; `size` stands in for it in checks of shapes. */
  readonly free?: boolean;
}

export type Shape = readonly Dim[];

/** A dimension that counts `name`. */
export function dim(name: string, size: number): Dim {
  if (!Number.isInteger(size) || size < 0) throw shapeError("dim", `"${name}" has size ${size}`);
  return { name, size };
}

/** A dimension whose size the inputs of a run decide; stand-ins should differ from each other and from 1. */
export function freeDim(name: string, standIn: number): Dim {
  return { ...dim(name, standIn), free: true };
}

export class Tensor {
  readonly graph: Graph;
  /** The name of the value in the emitted ONNX graph. */
  readonly id: string;
  readonly dtype: DType;
  readonly shape: Shape;

  constructor(graph: Graph, id: string, dtype: DType, shape: Shape) {
    this.graph = graph;
    this.id = id;
    this.dtype = dtype;
    this.shape = shape;
  }

  get rank(): number {
    return this.shape.length;
  }

  get sizes(): number[] {
    return this.shape.map((d) => d.size);
  }

  get elements(): number {
    return elementsOf(this.shape);
  }

  toString(): string {
    return `${this.dtype} ${showShape(this.shape)}`;
  }
}

/** The number of elements of a shape. */
export function elementsOf(shape: Shape): number {
  return shape.reduce((n, d) => n * d.size, 1);
}

/** "[rows 4, tokens 256]" */
export function showShape(shape: Shape): string {
  return `[${shape.map((d) => `${d.name} ${d.size}`).join(", ")}]`;
}

/** Whether two dimensions are the same one. */
export function sameDim(a: Dim, b: Dim): boolean {
  return a.size === b.size && a.name === b.name;
}

/** Whether two shapes agree in every name and size. */
export function sameShape(a: Shape, b: Shape): boolean {
  return a.length === b.length && a.every((d, i) => sameDim(d, b[i]));
}

/** The same value under other dimension names, or with dimensions of size 1 put in or left out; no node, no tape. */
export function relabel(x: Tensor, shape: Shape): Tensor {
  if (elementsOf(shape) !== x.elements) {
    throw shapeError("relabel", `${showShape(x.shape)} is not ${showShape(shape)} under other names`);
  }
  return new Tensor(x.graph, x.id, x.dtype, shape);
}

/** The error of an operation whose operands do not fit. */
export function shapeError(operation: string, why: string): RequestError {
  return new RequestError({ code: "shape-mismatch", what: "shapes do not fit", where: operation, why });
}

/**
 * The shape of an elementwise operation: dimensions are aligned from the last one, a missing or size-1 dimension
 * stretches. Throws when two dimensions differ in size or name.
 */
export function broadcastShapes(operation: string, a: Shape, b: Shape): Shape {
  const rank = Math.max(a.length, b.length);
  return Array.from({ length: rank }, (_, i) => {
    const x = a[a.length - rank + i];
    const y = b[b.length - rank + i];
    if (!x || (x.size === 1 && y)) return y;
    if (!y || y.size === 1 || sameDim(x, y)) return x;
    throw shapeError(operation, `${showShape(a)} and ${showShape(b)} differ in dimension ${i}`);
  });
}
