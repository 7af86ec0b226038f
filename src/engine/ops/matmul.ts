/**
 * Matrix products: the batched one of attention, and the linear map with weights stored [out, in] as most checkpoints store
 * them, or [in, out] as GPT-2's do.
 */
import type { InputGradient } from "../graph.ts";
import { madeAgain } from "../ordering.ts";
import { type Shape, type Tensor, sameDim, shapeError, showShape } from "../tensor.ts";

export interface MatMulOptions {
  /** Use the transpose of `a`'s last two dimensions. */
  transposeA?: boolean;
  /** Use the transpose of `b`'s last two dimensions. */
  transposeB?: boolean;
  /** Factor of the product. */
  scale?: number;
}

/** scale · a b over the last two dimensions; leading dimensions must agree. [..., n, k] [..., k, m] → [..., n, m]. */
export function matmul(a: Tensor, b: Tensor, options: MatMulOptions = {}): Tensor {
  const { transposeA = false, transposeB = false, scale = 1 } = options;
  const [n, k] = lastTwo(a.shape, transposeA);
  const [k2, m] = lastTwo(b.shape, transposeB);
  const lead = a.shape.slice(0, -2);
  if (a.rank !== b.rank || !sameDim(k, k2) || !lead.every((d, i) => sameDim(d, b.shape[i]))) {
    const mark = (t: Tensor, transposed: boolean) => showShape(t.shape) + (transposed ? "ᵀ" : "");
    throw shapeError("matmul", `${mark(a, transposeA)} times ${mark(b, transposeB)}`);
  }
  const { graph } = a;
  const shape = [...lead, n, m];
  const plain = !transposeA && !transposeB && scale === 1;
  if (!plain && graph.standard && graph.float === "float32")
    throw shapeError("matmul", "transposed and scaled products are not made of standard operators");
  const y = plain
    ? graph.node("MatMul", [a, b], { shape })
    : graph.node(
        "FusedMatMul",
        [a, b],
        { shape },
        { transA: Number(transposeA), transB: Number(transposeB), alpha: { float: scale } },
        "com.microsoft",
      );
  // y = s A B: dA = s dY Bᵀ, dB = s Aᵀ dY, each transposed back when the operand was.
  return graph.record(y, [a, b], (dy, { wants }) => [
    !wants[0]
      ? undefined
      : transposeA
        ? matmul(b, dy, { transposeA: transposeB, transposeB: true, scale })
        : matmul(dy, b, { transposeB: !transposeB, scale }),
    !wants[1]
      ? undefined
      : transposeB
        ? matmul(dy, a, { transposeA: true, transposeB: transposeA, scale })
        : matmul(a, dy, { transposeA: !transposeA, scale }),
  ]);
}

/** x Wᵀ + b: x [tokens, in], weight [out, in], bias [out] → [tokens, out]. */
export function linear(x: Tensor, weight: Tensor, bias?: Tensor): Tensor {
  return affine("linear", x, weight, bias, 1);
}

/** x W + b: x [tokens, in], weight [in, out], bias [out] → [tokens, out]; "Conv1D" in GPT-2's code. */
export function linearInOut(x: Tensor, weight: Tensor, bias?: Tensor): Tensor {
  return affine("linearInOut", x, weight, bias, 0);
}

function affine(
  operation: string,
  x: Tensor,
  weight: Tensor,
  bias: Tensor | undefined,
  transB: 0 | 1,
): Tensor {
  const [tokens, inner] = x.shape;
  const [outer, inner2] = lastTwo(weight.shape, transB === 0);
  if (
    x.rank !== 2 ||
    weight.rank !== 2 ||
    !sameDim(inner, inner2) ||
    (bias && !sameDim(bias.shape[0], outer))
  ) {
    throw shapeError(
      operation,
      `x ${showShape(x.shape)}, weight ${showShape(weight.shape)}${bias ? `, bias ${showShape(bias.shape)}` : ""}`,
    );
  }
  const { graph } = x;
  const own = madeAgain(weight, x);
  const y = graph.node("Gemm", bias ? [x, own, bias] : [x, own], { shape: [tokens, outer] }, { transB });
  return graph.record(y, bias ? [x, weight, bias] : [x, weight], (dy, { wants, soFar }) => {
    // What is made again is made here first: of what a node needs, ONNX Runtime computes what was made last before the rest.
    const again = wants[1] ? madeAgain(x, dy) : x;
    return [
      wants[0] ? inputGradient(x, [dy, madeAgain(weight, dy)], soFar(x), 1 - transB) : undefined,
      wants[1] ? weightGradient(transB ? [dy, again] : [again, dy], weight, soFar(weight)) : undefined,
      bias && wants[2]
        ? graph.node("ReduceSum", [dy, graph.integers([0])], { shape: bias.shape }, { keepdims: 0 })
        : undefined,
    ];
  });
}

/** base + scale · x Wᵀ in one product: base [tokens, out], x [tokens, in], weight [out, in]. */
export function scaledProductOnto(base: Tensor, x: Tensor, weight: Tensor, scale: number): Tensor {
  const fits = sameDim(base.shape[1], weight.shape[0]) && sameDim(x.shape[1], weight.shape[1]);
  if (!fits || !sameDim(base.shape[0], x.shape[0])) {
    throw shapeError(
      "scaledProductOnto",
      `base ${showShape(base.shape)}, x ${showShape(x.shape)}, weight ${showShape(weight.shape)}`,
    );
  }
  const { graph } = x;
  const alpha = { float: scale };
  const y = graph.node("Gemm", [x, weight, base], { shape: base.shape }, { transB: 1, alpha });
  return graph.record(y, [base, x, weight], (dy, { wants, soFar }) => {
    const before = soFar(weight);
    const dWeight = wants[2] ? productOnto([dy, x], weight, before, { scale }) : undefined;
    return [
      wants[0] ? dy : undefined,
      wants[1] ? graph.node("Gemm", [dy, weight], { shape: x.shape }, { alpha }) : undefined,
      dWeight && before ? { including: dWeight } : dWeight,
    ];
  });
}

/**
 * dy W, added to the gradient so far where there is one. By an addition of its own, which all threads do: a product first copies what it is
 * to be added to, on one.
 */
function inputGradient(
  x: Tensor,
  factors: readonly Tensor[],
  before: Tensor | undefined,
  transB: number,
): InputGradient {
  const product = x.graph.node("Gemm", factors, { shape: x.shape }, { transB });
  return before ? { including: x.graph.node("Add", [before, product], { shape: x.shape }) } : product;
}

/** A gradient aᵀ b, added to the gradient so far where there is one. */
export function weightGradient(
  factors: readonly [Tensor, Tensor],
  weight: Tensor,
  before: Tensor | undefined,
  options: ProductOptions = {},
): InputGradient {
  const product = productOnto(factors, weight, before, options);
  return before ? { including: product } : product;
}

/** Elements of a product from which on memory counts more than a few per cent of its time: the gradients of large embeddings. */
const largeProduct = 2 ** 21;

export interface ProductOptions {
  /** Factor of the product. */
  readonly scale?: number;
  /** There is no memory for a transpose of a large `a`: that of a vocabulary, when most is held. */
  readonly tight?: boolean;
}

/**
 * scale · aᵀ b in the shape of `like`, plus `before` where it is given. The transpose is made once and for itself, where it is not much
 * larger than the gradient: a product with transA makes it anew for every block of columns, which costs 8 to 20 % where there are a
 * thousand tokens (`sessionOptions` keeps them apart). Large products are written onto what they are added to, without memory of their own,
 * unless they are blocked (`blocked-products.ts`).
 */
export function productOnto(
  [a, b]: readonly [Tensor, Tensor],
  like: Tensor,
  before: Tensor | undefined,
  { scale = 1, tight = false }: ProductOptions = {},
): Tensor {
  const { graph } = like;
  const alpha = { float: scale };
  const large = like.elements > largeProduct;
  const transA = Number(large && (tight || a.elements > 2 * like.elements));
  const left = transA
    ? a
    : graph.node("Transpose", [a], { shape: [a.shape[1], a.shape[0]] }, { perm: [1, 0] });
  const onto = large && before ? [before] : [];
  const product = graph.node("Gemm", [left, b, ...onto], { shape: like.shape }, { transA, alpha });
  return before && !large ? graph.node("Add", [before, product], { shape: like.shape }) : product;
}

function lastTwo(shape: Shape, transposed: boolean) {
  const [r, c] = shape.slice(-2);
  return transposed ? [c, r] : [r, c];
}
