/**
 * Large products as pointwise convolutions. ONNX Runtime's kernels for convolutions read and write images in blocks of 16 channels (its
 * operators of the domain com.microsoft.nchwc, "NCHWc"), every number of a block beside the next, where MatMul strides through its operands
 * and passes over its result once for each 128 of the inner dimension: with AVX-512 they are 15 to 25 % faster, and sum in the same order
 * but for what a product is begun with.
 * To rearrange operands and results costs about as much as that gains, unless they stay in blocks from one product to the next. So blocked
 * are: gradients of weights, whose operands must be transposed anyway; and products whose results, or whose rows, stay in blocks
 * throughout, as in the gated unit between two matrices; and those so large that rearranging is little beside them. `productOf` says how a
 * product is a convolution.
 */
import { BlockedWriter } from "./blocked-writer.ts";
import { elementwiseTypes } from "./elementwise-types.ts";
import type { Constant, Graph, GraphNode } from "./graph.ts";
import { needed } from "./onnx.ts";
import type { Built } from "./program.ts";
import { type Shape, dim } from "./tensor.ts";

/** Channels of a block. */
export const blockSize = 16;

/** The fewest rows (tokens) of which products are blocked: with fewer, to rearrange weights and their gradients costs what it gains. */
export const fewestBlockedRows = 640;

/** The smallest other dimension of a blocked product. */
const smallest = 256;

/** The smallest number of rows, `n` or more, of which products can be blocked; few rows as they are. */
export const wholeBlocks = (n: number): number =>
  n < fewestBlockedRows ? n : blockSize * Math.ceil(n / blockSize);

/** To move a number into blocks costs what this many multiplications gain, and out of them up to twice that (AVX-512, 0.4 to 0.8 ns). */
const moving = 400;

/** Numbers of the largest matrix that is rearranged for one product alone: with scores of a vocabulary most memory is held as it is. */
const mostMoved = 10e6;

const elementwise = new Set(elementwiseTypes);

/**
 * How a matrix [r, c] lies in memory: row by row; as an image of c channels and r points, `columns`, [c/16, r, 16]; or of r channels and
 * c points, `rows`, [r/16, c, 16].
 */
export type Form = "natural" | "columns" | "rows";

/** A product as images: of `filter` [outputs, inner] and `image` [inner, points] the image [outputs, points]. */
interface Product {
  readonly filter: { readonly value: string; readonly form: Form };
  readonly image: { readonly value: string; readonly form: Form };
  /** A vector to be added to each row. */
  readonly bias?: string;
  /** A matrix to be added. */
  readonly before?: string;
  readonly result: Form;
  readonly gradient: boolean;
  /** Whether it is faster by more than its operands and its result take to be rearranged, `image` perhaps for another product. */
  readonly pays: (shared: boolean) => boolean;
}

/** The graph with its products blocked where that is faster: the same values under the same names, outputs in other shapes perhaps. */
export function withBlockedProducts({ graph, outputs }: Built): Built {
  const nodes = needed(graph.nodes, Object.values(outputs));
  const plan = planOf(graph, nodes, new Set(Object.values(outputs).map((t) => t.id)));
  return plan.products.size === 0 ? { graph, outputs } : new BlockedWriter(graph, plan).write(nodes, outputs);
}

/** What is done in blocks. */
export interface Plan {
  /** By the names of their results. */
  readonly products: ReadonlyMap<string, Product>;
  /** Values that are in blocks, and nowhere else wanted. */
  readonly inside: ReadonlySet<string>;
  /** Sums of products that are added up in blocks, whoever wants them. */
  readonly sums: ReadonlySet<string>;
  /** What products are begun with, by the products' names: their values are the sums then. */
  readonly onto: ReadonlyMap<string, string>;
  /** What transposes are of. */
  readonly transposes: ReadonlyMap<string, string>;
  /** Values that are the first number of another, which is the first in every form (`after` waits for values so). */
  readonly firsts: ReadonlySet<string>;
}

/** Which products are blocked. */
function planOf(graph: Graph, nodes: readonly GraphNode[], outputs: ReadonlySet<string>): Plan {
  const shapes = new Map<string, Shape>(graph.inputs.map((t) => [t.id, t.shape]));
  for (const [id, t] of graph.values) shapes.set(id, t.shape);
  for (const { id, sizes } of graph.constants)
    shapes.set(
      id,
      sizes.map((size) => dim("values", size)),
    );
  const constants = new Map(graph.constants.map((c) => [c.id, c]));
  const transposes = new Map<string, string>();
  const possible = new Map<string, Product>();
  const uses = new Map<string, GraphNode[]>();
  const firsts = new Set<string>();
  const makers = new Map<string, GraphNode>();
  for (const node of nodes) {
    const [out] = node.outputs;
    for (const id of node.outputs) makers.set(id, node);
    for (const id of new Set(node.inputs)) uses.set(id, [...(uses.get(id) ?? []), node]);
    if (node.type === "Transpose" && shapes.get(out)?.length === 2) transposes.set(out, node.inputs[0]);
    const product = productOf(node, shapes, transposes);
    if (product) possible.set(out, product);
    if (takesFirst(node, constants, shapes)) firsts.add(out);
  }
  const [inside, sums] = [new Set<string>(), new Set<string>()];
  if (possible.size === 0) return { products: possible, inside, sums, onto: new Map(), transposes, firsts };

  const numbers = (node: GraphNode) => node.inputs.filter((id) => shapes.get(id)?.length !== 0); // not one for all
  const ordinary = (node: GraphNode) =>
    elementwise.has(node.type) &&
    numbers(node).every((id) => sameSizes(shapes.get(id), shapes.get(node.outputs[0])));
  /** Whether a node makes its result in blocks, as things are. */
  const makes = (node: GraphNode): boolean =>
    possible.get(node.outputs[0])?.gradient === false ||
    (ordinary(node) && numbers(node).length > 0 && numbers(node).every((id) => inside.has(id)));
  for (const node of nodes) if (makes(node) && !outputs.has(node.outputs[0])) inside.add(node.outputs[0]);
  // Operands whose columns a weight's gradient needs too.
  const shared = new Set([...possible.values()].flatMap((p) => (p.gradient ? [p.filter.value] : [])));
  const summand = (id: string): boolean => {
    const product = possible.get(id);
    const free =
      product?.gradient === false && (shared.has(product.image.value) || inside.has(product.image.value));
    return (free || sums.has(id)) && uses.get(id)?.length === 1 && !outputs.has(id);
  };
  for (const node of nodes)
    if (node.type === "Add" && ordinary(node) && node.inputs.every(summand)) sums.add(node.outputs[0]);
  /** Whether a node wants a transpose as the left operand of a weight's gradient alone: then what it is of will do. */
  const transposesFor = ({ inputs: [left, ...others], outputs: [out] }: GraphNode, transpose: string) =>
    possible.get(out)?.filter.value === transposes.get(transpose) &&
    left === transpose &&
    !others.includes(transpose);
  const fits = (id: string, user: GraphNode): boolean => {
    const [out] = user.outputs;
    const product = possible.get(out);
    if (product) {
      const { filter, image, gradient } = product;
      return gradient ? id === filter.value || id === image.value : id === image.value && id !== filter.value;
    }
    if (transposes.has(out))
      return !outputs.has(out) && (uses.get(out) ?? []).every((u) => transposesFor(u, out));
    if (firsts.has(out) || sums.has(out)) return true;
    return inside.has(out) && numbers(user).every((other) => inside.has(other));
  };
  // Values are taken out again that something wants as they were, and what is made of them.
  const stays = (id: string) => {
    const maker = makers.get(id);
    return maker !== undefined && makes(maker) && (uses.get(id) ?? []).every((user) => fits(id, user));
  };
  for (let before = -1; before !== inside.size;) {
    before = inside.size;
    for (const id of [...inside].reverse()) if (!stays(id)) inside.delete(id);
  }
  const products = new Map(
    [...possible].filter(
      ([out, { gradient, image, pays }]) =>
        gradient || pays(shared.has(image.value)) || inside.has(out) || inside.has(image.value),
    ),
  );
  // The later of two operands, where it is a product: the other is there by then.
  const places = new Map(nodes.flatMap((node, i) => node.outputs.map((id) => [id, i])));
  const onto = new Map<string, string>();
  for (const {
    inputs,
    outputs: [out],
  } of nodes) {
    if (!sums.has(out)) continue;
    const [before, last] = [...inputs].sort((a, b) => (places.get(a) ?? 0) - (places.get(b) ?? 0));
    if (before !== last && products.has(last)) onto.set(last, before);
  }
  return { products, inside, sums, onto, transposes, firsts };
}

/**
 * A product Y [m, n] = A B, m rows of tokens, is an image of n channels: a point for each row, filters the columns of B. A gradient of a
 * weight, whose inner dimension are the tokens, is one of m channels: its filters are the columns of dY, which those of the other products
 * with it are too; where B is in blocks already, it is the filter. `Gemm` may have either transposed.
 */
function productOf(
  { type, domain: of, inputs, outputs, attributes }: GraphNode,
  shapes: ReadonlyMap<string, Shape>,
  transposes: ReadonlyMap<string, string>,
): Product | undefined {
  if (type !== "Gemm" || of !== "") return undefined;
  const { alpha, transA = 0, transB = 0, ...others } = attributes;
  const scaled = typeof alpha === "object" && "float" in alpha && alpha.float !== 1;
  if (scaled || Object.keys(others).length > 0) return undefined;
  const [left, right, added] = inputs;
  const [shape, other, own] = [outputs[0], right, added].map((id) => (id ? shapes.get(id) : undefined));
  if (!shape || !other || [...shape, ...other].some((d) => d.free)) return undefined;
  const [m, n] = shape;
  const k = other[transB === 1 ? 1 : 0];
  const wide = (...sizes: readonly number[]) => sizes.every((s) => s >= smallest && s % blockSize === 0);
  const many = (rows: number) => rows >= fewestBlockedRows && rows % blockSize === 0;
  const source = transA === 1 ? left : transposes.get(left);
  const columns: Form = transB === 1 ? "rows" : "columns";
  const fits = [m.size * n.size, m.size * k.size, k.size * n.size].every((size) => size <= mostMoved);
  if (source !== undefined) {
    if (transB === 1 || (transA === 1 && !fits)) return undefined; // nobody makes one with both
    if (!wide(m.size, n.size) || !many(k.size) || own?.length === 1) return undefined;
    return {
      filter: { value: source, form: "columns" },
      image: { value: right, form: "rows" },
      before: added || undefined,
      result: "rows",
      gradient: true,
      pays: () => true,
    };
  }
  if (!wide(n.size, k.size) || !many(m.size) || (own && !sameSizes(own, [n]))) return undefined;
  return {
    filter: { value: right, form: columns },
    image: { value: left, form: "columns" },
    bias: added || undefined,
    result: "columns",
    gradient: false,
    pays: (shared) =>
      fits &&
      m.size * n.size * k.size >
        moving * (k.size * n.size + (shared ? 0 : m.size * k.size) + 2 * m.size * n.size),
  };
}

/** Whether a node takes the first number of a matrix. */
function takesFirst(
  { type, inputs, outputs }: GraphNode,
  constants: ReadonlyMap<string, Constant>,
  shapes: ReadonlyMap<string, Shape>,
): boolean {
  if (type !== "Slice" || inputs.length !== 3 || shapes.get(inputs[0])?.length !== 2) return false;
  const starts = constants.get(inputs[1])?.values;
  return (
    (starts?.every((n) => n === 0) ?? false) && (shapes.get(outputs[0])?.every((d) => d.size === 1) ?? false)
  );
}

const sameSizes = (a: Shape | undefined, b: Shape | undefined): boolean =>
  a !== undefined && a.length === b?.length && a.every((d, i) => d.size === b[i].size);
