/**
 * Frozen matrices in fewer bits than computing takes: a graph has their codes as inputs and makes float32 of them where they are used, again
 * for each use, so that one matrix at a time is there in full. What they were rounded to is what the model is: forward and backward agree.
 */
import type { TensorArray } from "../../engine/backends/backend.ts";
import type { DType, Shape, Tensor } from "../../engine/tensor.ts";
import type { ParameterSpec } from "../parameters.ts";

/** One of the arrays that a packed matrix is made of. */
export interface PackedPart {
  readonly dtype: DType;
  readonly shape: Shape;
}

export interface PackedKind {
  readonly id: string;
  /** Whether a matrix of this shape can be held so. */
  fits(spec: ParameterSpec): boolean;
  /** The arrays of a matrix, by name. */
  parts(spec: ParameterSpec): Readonly<Record<string, PackedPart>>;
  pack(values: Float32Array, spec: ParameterSpec): Readonly<Record<string, TensorArray>>;
  unpack(arrays: Readonly<Record<string, TensorArray>>, spec: ParameterSpec): Float32Array;
  /** The matrix in float32, made once `dependency` is there. */
  tensor(parts: Readonly<Record<string, Tensor>>, spec: ParameterSpec, dependency?: Tensor): Tensor;
}

/** A matrix in memory. */
export interface PackedMatrix {
  readonly kind: PackedKind;
  readonly spec: ParameterSpec;
  readonly arrays: Readonly<Record<string, TensorArray>>;
}

/** Output rows and inputs of a matrix, and the axis of each. */
export function sidesOf({ shape, linear }: ParameterSpec) {
  const [first, second] = shape;
  return linear === "in-out"
    ? { output: second, input: first, outputAxis: 1, inputAxis: 0 }
    : { output: first, input: second, outputAxis: 0, inputAxis: 1 };
}
