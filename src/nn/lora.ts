/**
 * Low-rank adaptation of a linear layer (LoRA, Hu et al., arXiv:2106.09685, eq. 3): y = W x + s B A x, with W frozen. With a
 * magnitude (DoRA, Liu et al., arXiv:2402.09353, eq. 5) every output row of W + s B A is brought to a trained length.
 */
import { add, div, mul, sqrt } from "../engine/ops/elementwise.ts";
import { linear, linearInOut, scaledProductOnto } from "../engine/ops/matmul.ts";
import { madeAgain } from "../engine/ordering.ts";
import { type Tensor, relabel } from "../engine/tensor.ts";

export interface LoraTensors {
  /** A: [rank, in] */
  readonly down: Tensor;
  /** B: [out, rank] */
  readonly up: Tensor;
  /** s */
  readonly scale: number;
  /** m: [out], where the rows have lengths of their own. */
  readonly magnitude?: Tensor;
}

export interface AdaptedLayer {
  readonly weight: Tensor;
  readonly bias?: Tensor;
  /** The weight is stored [in, out] instead of [out, in]. */
  readonly inOut: boolean;
}

/** The layer with what was learned beside it: [tokens, in] → [tokens, out]. */
export function adaptedLinear(x: Tensor, { weight, bias, inOut }: AdaptedLayer, lora: LoraTensors): Tensor {
  const { down, up, scale, magnitude } = lora;
  const product = inOut ? linearInOut : linear;
  const base = product(x, weight, magnitude ? undefined : bias);
  const y = scaledProductOnto(base, linear(x, down), up, scale);
  if (!magnitude) return y;
  const scaled = mul(y, div(magnitude, rowLengths(weight, lora, inOut)));
  return bias ? add(scaled, bias) : scaled;
}

/** The length of each output row of W + s B A, [out]. A constant: no gradient goes through it (arXiv:2402.09353, section 4.3). */
function rowLengths(weight: Tensor, { down, up, scale }: LoraTensors, inOut: boolean): Tensor {
  const { graph } = weight;
  return graph.untaped(() => {
    const [factors, transposed] = inOut
      ? [[down, up], { transA: 1, transB: 1 }]
      : [[up, down], { transA: 0, transB: 0 }];
    const attributes = { ...transposed, alpha: { float: scale } };
    const whole = graph.node(
      "Gemm",
      [...factors, madeAgain(weight, up)],
      { shape: weight.shape },
      attributes,
    );
    const [out] = up.shape;
    const squares = graph.node(
      "ReduceSum",
      [mul(whole, whole), graph.integers([inOut ? 0 : 1])],
      { shape: [out] },
      { keepdims: 0 },
    );
    return sqrt(relabel(squares, [out]));
  });
}
