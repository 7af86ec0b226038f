/**
 * The parts that language models are put together from: each knows its parameters, by their names in the checkpoint, and
 * what it does with them. An architecture lists its parts and says how they are connected.
 */
import { add } from "../engine/ops/elementwise.ts";
import { gatherRows } from "../engine/ops/indexing.ts";
import { linear, linearInOut } from "../engine/ops/matmul.ts";
import { layerNorm, rmsNorm } from "../engine/ops/normalization.ts";
import { remade } from "../engine/ordering.ts";
import type { Dim, Tensor } from "../engine/tensor.ts";
import { adaptedLinear } from "./lora.ts";
import type { ParameterSpec, Weights } from "./parameters.ts";

export interface Layer {
  readonly parameters: readonly ParameterSpec[];
  apply(w: Weights, x: Tensor): Tensor;
}

export interface LinearOptions {
  readonly bias?: boolean;
  /** Standard deviation of fresh weights. */
  readonly std: number;
  /** The weight is stored [in, out] instead of [out, in]. */
  readonly inOut?: boolean;
}

/** `name.weight` and, if it has one, `name.bias`: [tokens, in] → [tokens, out]. */
export function linearLayer(
  name: string,
  input: Dim,
  output: Dim,
  { bias = false, std, inOut = false }: LinearOptions,
): Layer {
  const shape = inOut ? [input, output] : [output, input];
  const product = inOut ? linearInOut : linear;
  return {
    parameters: [
      {
        name: `${name}.weight`,
        shape,
        initial: { normal: std },
        linear: inOut ? "in-out" : "out-in",
      },
      ...(bias ? [vector(`${name}.bias`, output, 0)] : []),
    ],
    apply(w, x) {
      const own = { weight: w(`${name}.weight`), bias: bias ? w(`${name}.bias`) : undefined, inOut };
      const lora = w.lora?.(name);
      return lora ? adaptedLinear(x, own, lora) : product(x, own.weight, own.bias);
    },
  };
}

/** RMS norm over the last dimension. With `onePlus` the factor is 1 + weight, and fresh weights are 0. */
export function rmsNormLayer(name: string, width: Dim, epsilon: number, onePlus = false): Layer {
  return {
    parameters: [vector(`${name}.weight`, width, onePlus ? 0 : 1)],
    apply(w, x) {
      const weight = w(`${name}.weight`);
      const factor = onePlus ? add(weight, 1) : weight;
      return remade([factor, x], (f, input) => rmsNorm(input, f, epsilon));
    },
  };
}

/** Layer norm with weight and bias over the last dimension. */
export function layerNormLayer(name: string, width: Dim, epsilon: number): Layer {
  return {
    parameters: [vector(`${name}.weight`, width, 1), vector(`${name}.bias`, width, 0)],
    apply: (w, x) =>
      remade([w(`${name}.weight`), w(`${name}.bias`), x], (f, bias, input) =>
        layerNorm(input, f, bias, epsilon),
      ),
  };
}

/** A table of rows, [count, width]: `apply` looks up [tokens] int64. */
export function embeddingLayer(name: string, count: Dim, width: Dim, std: number): Layer {
  return {
    parameters: [{ name: `${name}.weight`, shape: [count, width], initial: { normal: std } }],
    apply: (w, ids) => gatherRows(w(`${name}.weight`), ids),
  };
}

function vector(name: string, width: Dim, constant: number): ParameterSpec {
  return { name, shape: [width], initial: { constant } };
}
