/** A given completion in its place, and the fields of it whose gradients are told. */
import type { Tensor } from "../engine/tensor.ts";
import type { GivenCompletion } from "./given-completion.ts";

/** Fields whose gradients are told. */
export const differentiableFields = [
  "policy",
  "logits",
  "slow",
  "tokenKl",
  "reverseTokenKl",
  "reward",
  "degreeLogits",
] as const;
export type DifferentiableField = (typeof differentiableFields)[number];

/** One completion in its place: the example, and its number among those of its role. */
export interface Unit {
  readonly example: number;
  readonly unit: number;
  readonly completion: GivenCompletion;
}

/** An input whose gradient is wanted, and where it came from. */
export interface Differentiable {
  readonly tensor: Tensor;
  readonly name: string;
  readonly example: number;
  readonly role: string;
  readonly unit: number;
  readonly field: DifferentiableField;
}

export const tokenDim = (role: string): string => `${role} tokens`;
