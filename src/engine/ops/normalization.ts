/** RMS and layer normalisation, softmax and log-softmax over the last dimension. */
import { type Tensor, dim, sameDim, shapeError, showShape } from "../tensor.ts";
import { add, div, exp, mul, reciprocal, sqrt, sub } from "./elementwise.ts";
import { matmul } from "./matmul.ts";
import { reshape } from "./shape.ts";

/**
 * w · x / sqrt(mean(x²) + ε) over the last dimension (Zhang and Sennrich, arXiv:1910.07467, Eq. 4).
 * x [tokens, hidden], weight [hidden].
 */
export function rmsNorm(x: Tensor, weight: Tensor, epsilon: number): Tensor {
  const hidden = x.shape[x.rank - 1];
  if (weight.rank !== 1 || !sameDim(weight.shape[0], hidden)) {
    throw shapeError("rmsNorm", `x ${showShape(x.shape)}, weight ${showShape(weight.shape)}`);
  }
  const { graph } = x;
  const column = [...x.shape.slice(0, -1), { name: hidden.name, size: 1 }];
  const [y, r] = graph.untaped(() => {
    if (graph.standard) return composed(x, weight, epsilon, column);
    return graph.nodesOut(
      "SimplifiedLayerNormalization",
      [x, weight],
      [{ shape: x.shape }, { shape: column }],
      { axis: -1, epsilon: { float: epsilon }, stash_type: 1 },
    );
  });
  return graph.record(y, [x, weight], (dy, { wants }) => {
    // With r = 1/rms and z = dy · x: dw = Σ r z over tokens, dx = r w dy - x r³ (z · w) / hidden. Sums over a dimension are
    // products with a vector, which read z once and write next to nothing.
    const { size } = hidden;
    const flat = [dim("all", x.elements / size), hidden];
    const z = reshape(mul(dy, x), flat);
    const dw = wants[1] ? reshape(matmul(reshape(r, [dim("one", 1), flat[0]]), z), weight.shape) : undefined;
    if (!wants[0]) return [undefined, dw];
    const products = reshape(matmul(z, reshape(weight, [hidden, dim("one", 1)])), column);
    const c = mul(products, mul(mul(r, mul(r, r)), 1 / size));
    return [sub(mul(mul(dy, weight), r), mul(x, c)), dw];
  });
}

/**
 * w · (x - mean) / sqrt(var + ε) + b over the last dimension (Ba et al., arXiv:1607.06450). x [tokens, hidden], weight and
 * bias [hidden].
 */
export function layerNorm(x: Tensor, weight: Tensor, bias: Tensor, epsilon: number): Tensor {
  const hidden = x.shape[x.rank - 1];
  if ([weight, bias].some((t) => t.rank !== 1 || !sameDim(t.shape[0], hidden))) {
    throw shapeError(
      "layerNorm",
      `x ${showShape(x.shape)}, weight ${showShape(weight.shape)}, bias ${showShape(bias.shape)}`,
    );
  }
  const { graph } = x;
  const column = [...x.shape.slice(0, -1), { name: hidden.name, size: 1 }];
  const rowMean = (t: Tensor) =>
    graph.node("ReduceMean", [t, graph.integers([-1])], { shape: column }, { keepdims: 1 });
  const [y, m, r] = graph.untaped(() => {
    if (graph.float === "float64") {
      const m = rowMean(x);
      const centred = sub(x, m);
      const r = reciprocal(sqrt(add(rowMean(mul(centred, centred)), epsilon)));
      return [add(mul(mul(centred, r), weight), bias), m, r];
    }
    return graph.nodesOut(
      "LayerNormalization",
      [x, weight, bias],
      [{ shape: x.shape }, { shape: column }, { shape: column }],
      { axis: -1, epsilon: { float: epsilon }, stash_type: 1 },
    );
  });
  return graph.record(y, [x, weight, bias], (dy, { wants }) => {
    const axes = graph.integers(x.shape.slice(0, -1).map((_, i) => i));
    const overRows = (t: Tensor) =>
      graph.node("ReduceSum", [t, axes], { shape: weight.shape }, { keepdims: 0 });
    const unit = mul(sub(x, m), r);
    const dw = wants[1] ? overRows(mul(dy, unit)) : undefined;
    const db = wants[2] ? overRows(dy) : undefined;
    if (!wants[0]) return [undefined, dw, db];
    // With g = w dy: dx = r (g - mean(g) - unit · mean(g · unit))
    const g = mul(dy, weight);
    return [mul(r, sub(sub(g, rowMean(g)), mul(unit, rowMean(mul(g, unit))))), dw, db];
  });
}

/**
 * The same as `rmsNorm` in elementary operations, in the form that ONNX Runtime recognises; in float64, where the kernel keeps
 * only a float32 ε, they are computed one by one.
 */
function composed(x: Tensor, weight: Tensor, epsilon: number, column: Tensor["shape"]): [Tensor, Tensor] {
  const { graph } = x;
  const squares = graph.node("Pow", [x, graph.scalar(2)], { shape: x.shape });
  const meanSquare = graph.node(
    "ReduceMean",
    [squares, graph.integers([-1])],
    { shape: column },
    { keepdims: 1 },
  );
  const rms = sqrt(add(meanSquare, epsilon));
  return [mul(div(x, rms), weight), reciprocal(rms)];
}

/** e^x / Σ e^x over the last dimension. */
export function softmax(x: Tensor): Tensor {
  const y = x.graph.node("Softmax", [x], { shape: x.shape }, { axis: -1 });
  return x.graph.record(y, [x], (dy) => [mul(y, sub(dy, rowSum(mul(dy, y))))]);
}

/** x - ln Σ e^x over the last dimension. */
export function logSoftmax(x: Tensor): Tensor {
  const y = x.graph.node("LogSoftmax", [x], { shape: x.shape }, { axis: -1 });
  return x.graph.record(y, [x], (dy) => [sub(dy, mul(exp(y), rowSum(dy)))]);
}

/** Sum over the last dimension, kept with size 1. No gradient. */
export function rowSum(x: Tensor): Tensor {
  const shape = x.shape.map((d, i) => (i === x.rank - 1 ? { name: d.name, size: 1 } : d));
  return x.graph.node("ReduceSum", [x, x.graph.integers([-1])], { shape }, { keepdims: 1 });
}
