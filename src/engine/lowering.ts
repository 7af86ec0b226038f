/**
 * Graphs written for a device that lacks some operations, or gets them wrong: each such node is replaced by others of the same value.
 * What a device needs is a table by the type of the node; everything else stays as it is.
 */
import { type Attribute, Graph, type GraphNode } from "./graph.ts";
import { type Shape, Tensor } from "./tensor.ts";

/** A node to be replaced, with its operands in the graph that is being written. */
export interface Replaced {
  readonly graph: Graph;
  readonly node: GraphNode;
  readonly inputs: readonly Tensor[];
  /** As they were: only types and shapes of them count. */
  readonly outputs: readonly Tensor[];
}

/** The values that stand for a node's outputs; undefined leaves the node as it is. */
export type LoweringRule = (replaced: Replaced) => readonly Tensor[] | undefined;

/** Rules by type of node. */
export type Lowering = Readonly<Record<string, LoweringRule>>;

/** The graph with its nodes replaced, and the same outputs in it. */
export function lowered(
  graph: Graph,
  outputs: Readonly<Record<string, Tensor>>,
  rules: Lowering,
): { readonly graph: Graph; readonly outputs: Readonly<Record<string, Tensor>> } {
  const target = new Graph(graph.float, graph.standard, "#lowered ");
  target.inputs.push(...graph.inputs);
  target.constants.push(...graph.constants);
  /** The values of the new graph, by the names that they have in the old one. */
  const values = new Map<string, Tensor>();
  const add = (id: string, { dtype, shape }: Pick<Tensor, "dtype" | "shape">) =>
    values.set(id, new Tensor(target, id, dtype, shape));
  for (const t of graph.inputs) add(t.id, t);
  for (const { id, dtype, sizes } of graph.constants)
    add(id, { dtype, shape: sizes.map((size) => ({ name: "constant", size })) });
  for (const node of graph.nodes) {
    const inputs = node.inputs.map((id) => values.get(id));
    const made = node.outputs.flatMap((id) => graph.values.get(id) ?? []);
    const given = inputs.flatMap((t) => t ?? []);
    const instead = rules[node.type]?.({ graph: target, node, inputs: given, outputs: made });
    if (!instead) target.nodes.push({ ...node, inputs: inputs.map((t) => t?.id ?? "") });
    made.forEach((t, i) => (instead ? values.set(t.id, instead[i]) : add(t.id, t)));
  }
  const renamed = Object.entries(outputs).map(([name, { id, dtype, shape }]): [string, Tensor] => [
    name,
    new Tensor(target, values.get(id)?.id ?? id, dtype, shape),
  ]);
  return { graph: target, outputs: Object.fromEntries(renamed) };
}

const numberOf = (value: Attribute | undefined, otherwise: number): number =>
  typeof value === "number" ? value : typeof value === "object" && "float" in value ? value.float : otherwise;

/** An elementwise operation whose value has the shape of its first operand; names of dimensions were compared when the graph was made. */
const like = (type: string, x: Tensor, ...others: readonly (Tensor | number)[]): Tensor => {
  const operands = others.map((o) => (typeof o === "number" ? x.graph.scalar(o) : o));
  return x.graph.node(type, [x, ...operands], { shape: x.shape });
};

/** A reduction over the last dimension, which is kept with size 1. */
const overLast = (type: string, x: Tensor): Tensor => {
  const shape = [...x.shape.slice(0, -1), { name: "one", size: 1 }];
  return x.graph.node(type, [x, x.graph.integers([-1])], { shape }, { keepdims: 1 });
};

/** The last two dimensions exchanged. */
function transposed(x: Tensor): Tensor {
  const order = x.shape.map((_, i) => i);
  const perm = [...order.slice(0, -2), x.rank - 1, x.rank - 2];
  return x.graph.node("Transpose", [x], { shape: perm.map((i) => x.shape[i]) }, { perm });
}

/** α op(A) op(B) as transpositions, a product and a factor. */
const fusedMatMul: LoweringRule = ({ graph, node, inputs: [a, b], outputs: [y] }) => {
  const { transA, transB, alpha } = node.attributes;
  const left = numberOf(transA, 0) ? transposed(a) : a;
  const right = numberOf(transB, 0) ? transposed(b) : b;
  const product = graph.node("MatMul", [left, right], { shape: y.shape });
  const scale = numberOf(alpha, 1);
  return [scale === 1 ? product : like("Mul", product, scale)];
};

/** x - m - ln Σ e^(x-m) over the last dimension, m the largest. */
const logSoftmax: LoweringRule = ({ inputs: [x] }) => {
  const moved = like("Sub", x, overLast("ReduceMax", x));
  return [like("Sub", moved, like("Log", overLast("ReduceSum", like("Exp", moved))))];
};

/** w x r with r = 1/√(mean(x²) + ε), both given. */
const rmsNorm: LoweringRule = ({ node, inputs: [x, weight] }) => {
  const meanSquare = overLast("ReduceMean", like("Mul", x, x));
  const r = like(
    "Reciprocal",
    like("Sqrt", like("Add", meanSquare, numberOf(node.attributes.epsilon, 1e-5))),
  );
  return [like("Mul", like("Mul", x, r), weight), r];
};

/**
 * Attention of one new token with soft-capped scores: c tanh(s/c) before the softmax. Query [slots, 1, heads·width], keys and values of the
 * new token, caches [slots, kvHeads, capacity, width], lengths [slots] without the new token. Without a cap the kernel is right.
 */
const cappedAttention: LoweringRule = ({ graph, node, inputs, outputs: [y, newKeys, newValues] }) => {
  const cap = numberOf(node.attributes.softcap, 0);
  if (cap === 0) return undefined;
  const [query, key, value, pastKeys, pastValues, lengths] = inputs;
  const [slots, kvHeads, capacity, width] = pastKeys.shape;
  const one = { name: "one", size: 1 };
  const made = (type: string, operands: readonly Tensor[], shape: Shape, dtype?: "bool") =>
    graph.node(type, operands, { shape, dtype });
  const reshaped = (x: Tensor, shape: Shape) =>
    made("Reshape", [x, graph.integers(shape.map((d) => d.size))], shape);

  const places = graph.floats(
    Array.from({ length: capacity.size }, (_, i) => i),
    capacity,
  );
  const length = reshaped(graph.node("Cast", [lengths], { shape: [slots] }, { to: 1 }), [
    slots,
    one,
    one,
    one,
  ]);
  const column = reshaped(places, [one, one, capacity, one]);
  const isNew = made("Equal", [column, length], [slots, one, capacity, one], "bool");
  const grown = (past: Tensor, own: Tensor, like: Tensor) =>
    made("Where", [isNew, reshaped(own, [slots, kvHeads, one, width]), past], like.shape);
  const [keys, values] = [grown(pastKeys, key, newKeys), grown(pastValues, value, newValues)];

  const group = { name: "group", size: query.elements / (slots.size * kvHeads.size * width.size) };
  const scoresOf = [slots, kvHeads, group, capacity];
  const product = made(
    "MatMul",
    [reshaped(query, [slots, kvHeads, group, width]), transposed(keys)],
    scoresOf,
  );
  const scaled = like("Mul", product, numberOf(node.attributes.scale, 1) / cap);
  const scores = like("Mul", like("Tanh", scaled), cap);
  const row = reshaped(places, [one, one, one, capacity]);
  const visible = [slots, one, one, capacity];
  const window = numberOf(node.attributes.local_window_size, -1);
  const past = made("LessOrEqual", [row, length], visible, "bool");
  const near = made("Greater", [row, like("Sub", length, window)], visible, "bool");
  const seen = window < 0 ? past : made("And", [past, near], visible, "bool");
  const masked = made("Where", [seen, scores, graph.scalar(-1e9)], scoresOf);
  const weights = graph.node("Softmax", [masked], { shape: scoresOf }, { axis: -1 });
  const summed = made("MatMul", [weights, values], [slots, kvHeads, group, width]);
  return [reshaped(summed, y.shape), keys, values];
};

/**
 * WebGPU in ONNX Runtime 1.30: FusedMatMul and LogSoftmax would run on the CPU, their operands copied there and back;
 * SimplifiedLayerNormalization leaves its second output, which the backward needs, unwritten; GroupQueryAttention ignores its soft cap.
 */
export const webgpuLowering: Lowering = {
  FusedMatMul: fusedMatMul,
  LogSoftmax: logSoftmax,
  SimplifiedLayerNormalization: rmsNorm,
  GroupQueryAttention: cappedAttention,
};
