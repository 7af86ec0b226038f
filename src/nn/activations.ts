/** The activations that configurations name, by every name that `transformers` has for them. */
import { maximum, mul, silu, tanh } from "../engine/ops/elementwise.ts";
import { gatedSilu } from "../engine/ops/gated.ts";
import { gelu, geluTanh } from "../engine/ops/gelu.ts";
import { remade } from "../engine/ordering.ts";
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

/** act(x), not kept for the backward: it costs less to make again. */
export const activated = (act: Activation, x: Tensor): Tensor => remade([x], act);

/** act(gate) · up, of which only gate and up are kept. */
export const gated = (act: Activation, gate: Tensor, up: Tensor): Tensor =>
  act === silu ? gatedSilu(gate, up) : remade([gate, up], (g, u) => mul(act(g), u));
