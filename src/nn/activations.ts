/** The activations that configurations name, by every name that `transformers` has for them. */
import { maximum, silu, tanh } from "../engine/ops/elementwise.ts";
import { gelu, geluTanh } from "../engine/ops/gelu.ts";
import type { Tensor } from "../engine/tensor.ts";

export type Activation = (x: Tensor) => Tensor;

export const activations: Readonly<Record<string, Activation>> = {
  silu,
  swish: silu,
  gelu,
  gelu_python: gelu,
  gelu_new: geluTanh,
  gelu_fast: geluTanh,
  gelu_pytorch_tanh: geluTanh,
  relu: (x) => maximum(x, 0),
  tanh,
};
