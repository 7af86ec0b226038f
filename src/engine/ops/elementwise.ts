/**
 * Elementwise operations, forward and derivative side by side. Operands broadcast from the last dimension;
 * a number stands for a scalar. Softplus and the logistic function are single operations: their derivatives at 0
 * must be exact there, because every run of a preference objective starts at margin 0.
 */
import type { Graph } from "../graph.ts";
import { type Shape, type Tensor, broadcastShapes, relabel, sameShape, shapeError } from "../tensor.ts";

export type Operand = Tensor | number;

/** The operand as a tensor of the graph. */
export function lift(graph: Graph, x: Operand): Tensor {
  return typeof x === "number" ? graph.scalar(x) : x;
}

/** Sums `dy` over the dimensions in which an operand of shape `shape` was stretched: the backward of broadcasting. */
export function unbroadcast(dy: Tensor, shape: Shape): Tensor {
  if (sameShape(dy.shape, shape)) return dy;
  const extra = dy.rank - shape.length;
  const axes = dy.shape.flatMap((d, i) =>
    i < extra || (shape[i - extra].size === 1 && d.size !== 1) ? [i] : [],
  );
  const { graph } = dy;
  const kept = dy.shape.flatMap((d, i) => (i < extra ? [] : axes.includes(i) ? [shape[i - extra]] : [d]));
  if (axes.length === 0) return relabel(dy, shape);
  const stretched = axes.filter((i) => i >= extra);
  const summed = graph.node(
    "ReduceSum",
    [dy, graph.integers(axes)],
    { shape: kept },
    { keepdims: stretched.length ? 1 : 0 },
  );
  if (stretched.length === 0 || extra === 0) return summed;
  return graph.node("Reshape", [summed, graph.integers(shape.map((d) => d.size))], { shape });
}

type Unary = (x: Tensor) => Tensor;
/** y = f(x); `slope` is dy/dx given x and y. */
function unary(type: string, slope: (x: Tensor, y: Tensor) => Operand): Unary {
  return (x) => {
    const y = x.graph.node(type, [x], { shape: x.shape });
    return x.graph.record(y, [x], (dy) => [mul(dy, slope(x, y))]);
  };
}

type Binary = (a: Operand, b: Operand) => Tensor;
type BinaryRule = (
  dy: Tensor,
  a: Tensor,
  b: Tensor,
  y: Tensor,
  wants: readonly boolean[],
) => (Tensor | undefined)[];
function binary(type: string, backward: BinaryRule): Binary {
  return (p, q) => {
    const graph = graphOf(type, p, q);
    const [a, b] = [lift(graph, p), lift(graph, q)];
    const y = graph.node(type, [a, b], { dtype: a.dtype, shape: broadcastShapes(type, a.shape, b.shape) });
    return graph.record(y, [a, b], (dy, { wants }) => {
      const [da, db] = backward(dy, a, b, y, wants);
      return [da && unbroadcast(da, a.shape), db && unbroadcast(db, b.shape)];
    });
  };
}

type Comparison = (a: Operand, b: Operand) => Tensor;
function comparison(type: string): Comparison {
  return (p, q) => {
    const graph = graphOf(type, p, q);
    const [a, b] = [lift(graph, p), lift(graph, q)];
    return graph.node(type, [a, b], { dtype: "bool", shape: broadcastShapes(type, a.shape, b.shape) });
  };
}

function graphOf(operation: string, ...operands: Operand[]): Graph {
  for (const x of operands) if (typeof x !== "number") return x.graph;
  throw shapeError(operation, "at least one operand must be a tensor");
}

/** a + b */
export const add: Binary = binary("Add", (dy) => [dy, dy]);
/** a - b */
export const sub: Binary = binary("Sub", (dy, _a, _b, _y, wants) => [dy, wants[1] ? neg(dy) : undefined]);
/** a b; (ab)' = a'b + ab' */
export const mul: Binary = binary("Mul", (dy, a, b, _y, wants) => [
  wants[0] ? mul(dy, b) : undefined,
  wants[1] ? mul(dy, a) : undefined,
]);
/** a / b; (a/b)' = a'/b - (a/b) b'/b */
export const div: Binary = binary("Div", (dy, _a, b, y, wants) => [
  wants[0] ? div(dy, b) : undefined,
  wants[1] ? neg(div(mul(dy, y), b)) : undefined,
]);
/** The larger one; at a tie neither operand gets a gradient. */
export const maximum: Binary = binary("Max", (dy, a, b) => [
  mul(dy, toFloat(greater(a, b))),
  mul(dy, toFloat(greater(b, a))),
]);
/** The smaller one; at a tie neither operand gets a gradient. */
export const minimum: Binary = binary("Min", (dy, a, b) => [
  mul(dy, toFloat(less(a, b))),
  mul(dy, toFloat(less(b, a))),
]);

export const greater: Comparison = comparison("Greater");
export const less: Comparison = comparison("Less");
export const equal: Comparison = comparison("Equal");

/** -x */
export const neg: Unary = (x) => {
  const y = x.graph.node("Neg", [x], { shape: x.shape });
  return x.graph.record(y, [x], (dy) => [neg(dy)]);
};
/** e^x */
export const exp: Unary = unary("Exp", (_x, y) => y);
/** ln x */
export const log: Unary = unary("Log", (x) => reciprocal(x));
/** sqrt x */
export const sqrt: Unary = unary("Sqrt", (_x, y) => div(0.5, y));
/** 1 / x */
export const reciprocal: Unary = unary("Reciprocal", (_x, y) => neg(mul(y, y)));
/** |x|, slope 0 at 0 */
export const abs: Unary = unary("Abs", (x) => x.graph.node("Sign", [x], { shape: x.shape }));
/** tanh x */
export const tanh: Unary = unary("Tanh", (_x, y) => sub(1, mul(y, y)));
/** 1 / (1 + e^-x) */
export const sigmoid: Unary = unary("Sigmoid", (_x, y) => mul(y, sub(1, y)));
/** c tanh(x / c): x near 0, within ±c everywhere. Without c, x itself. */
export const softcap = (x: Tensor, c: number | undefined): Tensor =>
  c === undefined ? x : mul(tanh(mul(x, 1 / c)), c);
/** x^2 */
export const square: Unary = (x) => mul(x, x);

/** ln(1 + e^x) = max(x, 0) + log1p(e^-|x|); its slope is the logistic function everywhere. */
export const softplus: Unary = (x) => {
  const { graph } = x;
  const y = graph.untaped(() => add(maximum(x, 0), log1pOfSmall(exp(neg(abs(x))))));
  return graph.record(y, [x], (dy) => [mul(dy, sigmoid(x))]);
};

/** ln of the logistic function: -softplus(-x) */
export const logSigmoid: Unary = (x) => neg(softplus(neg(x)));

/** e^x - 1 = tanh(x/2) (e^x + 1), without cancellation near 0. */
export const expm1: Unary = (x) => {
  const { graph } = x;
  const y = graph.untaped(() => mul(tanh(mul(0.5, x)), add(exp(x), 1)));
  return graph.record(y, [x], (dy) => [mul(dy, add(y, 1))]);
};

/** ln(1 + e) for e in [0, 1], accurate for tiny e: with u = fl(1 + e), ln(u) e / (u - 1) (Kahan), e itself where u = 1. */
function log1pOfSmall(e: Tensor): Tensor {
  const u = add(1, e);
  const tiny = equal(u, 1);
  return where(tiny, e, div(mul(log(u), e), where(tiny, 1, sub(u, 1))));
}

/** x σ(x), the activation SiLU; d/dx = σ + y (1 - σ). */
export const silu: Unary = (x) => {
  const { graph } = x;
  if (graph.standard) {
    const s = graph.untaped(() => sigmoid(x));
    const y = graph.untaped(() => mul(x, s));
    return graph.record(y, [x], (dy) => [mul(dy, add(s, mul(y, sub(1, s))))]);
  }
  const y = graph.node("QuickGelu", [x], { shape: x.shape }, { alpha: { float: 1 } }, "com.microsoft");
  return graph.record(y, [x], (dy) => {
    const s = sigmoid(x);
    return [mul(dy, mul(s, add(1, sub(x, y))))]; // σ + xσ(1-σ) = σ(1 + x - y)
  });
};

/** Where the condition holds `a`, else `b`. */
export function where(condition: Tensor, p: Operand, q: Operand): Tensor {
  const { graph } = condition;
  const [a, b] = [lift(graph, p), lift(graph, q)];
  const shape = broadcastShapes("Where", condition.shape, broadcastShapes("Where", a.shape, b.shape));
  const y = graph.node("Where", [condition, a, b], { shape });
  return graph.record(y, [a, b], (dy) => [
    unbroadcast(where(condition, dy, 0), a.shape),
    unbroadcast(where(condition, 0, dy), b.shape),
  ]);
}

/** 1 where true, 0 where false, or an integer as a float. No gradient. */
export function toFloat(x: Tensor): Tensor {
  return x.graph.node("Cast", [x], { shape: x.shape }, { to: x.graph.float === "float64" ? 11 : 1 });
}

/** The same value without a gradient. */
export function stopGradient(x: Tensor): Tensor {
  return x.graph.detach(x);
}
