/**
 * Large products as pointwise convolutions. ONNX Runtime's kernels for convolutions read and write images in blocks of 16 channels (its
 * operators of the domain com.microsoft.nchwc, "NCHWc"), every number of a block beside the next, where MatMul strides through its operands
 * and passes over its result once for each 128 of the inner dimension: with AVX-512 they are 15 to 25 % faster, and sum in the same order.
 * To rearrange operands and results costs about as much as that gains, unless they stay in blocks from one product to the next. So blocked
 * are: gradients of weights, whose operands must be transposed anyway; and products whose results, or whose rows, stay in blocks
 * throughout, as in the gated unit between two matrices. `products` says how a matrix is an image.
 */
import { type Constant, Graph, type GraphNode } from "./graph.ts";
import { needed } from "./onnx.ts";
import type { Built } from "./program.ts";
import { type Shape, Tensor, dim } from "./tensor.ts";

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

/** Nodes that a rearranged value is held for: those that follow a layer's use of it take it, the backward has its own. */
const heldFor = 24;

const domain = "com.microsoft.nchwc";

/** Operations that take numbers one by one, in whatever order they are. */
const elementwise = new Set([
  "Add",
  "Sub",
  "Mul",
  "Div",
  "Neg",
  "Exp",
  "Sigmoid",
  "Tanh",
  "Relu",
  "QuickGelu",
]);

/**
 * How a matrix [r, c] lies in memory: row by row; as an image of c channels and r points, `columns`, [c/16, r, 16]; or of r channels and
 * c points, `rows`, [r/16, c, 16].
 */
type Form = "natural" | "columns" | "rows";

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
  /** It is faster by more than all of its operands and its result take to be rearranged. */
  readonly pays: boolean;
}

/** The graph with its products blocked where that is faster: the same values under the same names, outputs in other shapes perhaps. */
export function withBlockedProducts({ graph, outputs }: Built): Built {
  const nodes = needed(graph.nodes, Object.values(outputs));
  const plan = planOf(graph, nodes, new Set(Object.values(outputs).map((t) => t.id)));
  return plan.products.size === 0 ? { graph, outputs } : new Writer(graph, plan).write(nodes, outputs);
}

interface Plan {
  /** By the names of their results. */
  readonly products: ReadonlyMap<string, Product>;
  /** Values that are in blocks, and nowhere else wanted. */
  readonly inside: ReadonlySet<string>;
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
  for (const node of nodes) {
    const [out] = node.outputs;
    for (const id of new Set(node.inputs)) uses.set(id, [...(uses.get(id) ?? []), node]);
    if (node.type === "Transpose" && shapes.get(out)?.length === 2) transposes.set(out, node.inputs[0]);
    const product = productOf(node, shapes, transposes);
    if (product) possible.set(out, product);
    if (takesFirst(node, constants, shapes)) firsts.add(out);
  }

  const numbers = (node: GraphNode) => node.inputs.filter((id) => shapes.get(id)?.length !== 0); // not one for all
  const ordinary = (node: GraphNode) =>
    elementwise.has(node.type) &&
    numbers(node).every((id) => sameSizes(shapes.get(id), shapes.get(node.outputs[0])));
  // Values that could be in blocks, of which those are taken out again that something wants as they were.
  const inside = new Set<string>();
  for (const node of nodes) {
    const [out] = node.outputs;
    const made =
      possible.get(out)?.gradient === false ||
      (ordinary(node) && numbers(node).every((id) => inside.has(id)));
    if (made && numbers(node).length > 0 && !outputs.has(out)) inside.add(out);
  }
  const fits = (id: string, user: GraphNode): boolean => {
    const [out] = user.outputs;
    const product = possible.get(out);
    if (product) {
      const { filter, image, gradient } = product;
      return gradient ? id === filter.value || id === image.value : id === image.value && id !== filter.value;
    }
    if (transposes.has(out)) return uses.get(out)?.every((u) => possible.has(u.outputs[0])) ?? false;
    if (firsts.has(out)) return true;
    return inside.has(out) && numbers(user).every((other) => inside.has(other));
  };
  for (let before = -1; before !== inside.size;) {
    before = inside.size;
    for (const id of [...inside].reverse())
      if (!(uses.get(id) ?? []).every((user) => fits(id, user))) inside.delete(id);
  }
  const products = [...possible].filter(
    ([out, { gradient, image, pays }]) => gradient || pays || inside.has(out) || inside.has(image.value),
  );
  return { products: new Map(products), inside, transposes, firsts };
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
  const { alpha, transA = 0, transB = 0 } = attributes;
  if (typeof alpha === "object" && "float" in alpha && alpha.float !== 1) return undefined;
  const [left, right, added] = inputs;
  const [shape, other, own] = [outputs[0], right, added].map((id) => (id ? shapes.get(id) : undefined));
  if (!shape || !other) return undefined;
  const [m, n] = shape;
  const k = other[transB === 1 ? 1 : 0];
  const wide = (...sizes: readonly number[]) => sizes.every((s) => s >= smallest && s % blockSize === 0);
  const many = (rows: number) => rows >= fewestBlockedRows && rows % blockSize === 0;
  const source = transA === 1 ? left : transposes.get(left);
  const columns: Form = transB === 1 ? "rows" : "columns";
  if (source !== undefined) {
    if (transB === 1) return undefined; // nobody makes such a one
    if (!wide(m.size, n.size) || !many(k.size) || own?.length === 1) return undefined;
    return {
      filter: { value: source, form: "columns" },
      image: { value: right, form: "rows" },
      before: added || undefined,
      result: "rows",
      gradient: true,
      pays: true,
    };
  }
  if (!wide(n.size, k.size) || !many(m.size) || own?.length === 2) return undefined;
  return {
    filter: { value: right, form: columns },
    image: { value: left, form: "columns" },
    bias: added || undefined,
    result: "columns",
    gradient: false,
    pays: m.size * n.size * k.size > moving * (k.size * n.size + m.size * k.size + 2 * m.size * n.size),
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

const one = dim("one", 1);

/** A value of the new graph in the forms that there are of it. */
interface Value {
  readonly shape: Shape;
  readonly forms: Partial<Record<Form, Tensor>>;
  /** The form it was made in, which it keeps; others are made anew after a while. */
  readonly own: Form;
  /** Node at which the others were made. */
  made: number;
  /** The numbers of a value in blocks row by row, as an image still: [1, r, 1, c] or [1, r, c, 1]. */
  plain?: Tensor;
}

class Writer {
  readonly #source: Graph;
  readonly #graph: Graph;
  readonly #plan: Plan;
  readonly #values = new Map<string, Value>();
  #node = 0;

  constructor(source: Graph, plan: Plan) {
    this.#source = source;
    this.#plan = plan;
    this.#graph = new Graph(source.float, source.standard, "#blocked ");
    this.#graph.inputs.push(...source.inputs);
    this.#graph.constants.push(...source.constants);
    for (const t of source.inputs) this.#add(t.id, "natural", t, t.shape);
    for (const { id, dtype, sizes } of source.constants) {
      const shape = sizes.map((size) => dim("values", size));
      this.#add(id, "natural", new Tensor(this.#graph, id, dtype, shape), shape);
    }
  }

  write(nodes: readonly GraphNode[], outputs: Built["outputs"]): Built {
    for (const node of nodes) {
      this.#node++;
      if (!this.#product(node) && !this.#within(node)) this.#copy(node);
    }
    const found = Object.entries(outputs).map(([name, t]): [string, Tensor] => [name, this.#output(t)]);
    return { graph: this.#graph, outputs: Object.fromEntries(found) };
  }

  #add(id: string, own: Form, tensor: Tensor, shape: Shape): void {
    this.#values.set(id, { shape, own, forms: { [own]: tensor }, made: 0 });
  }

  #product(node: GraphNode): boolean {
    const [out] = node.outputs;
    const product = this.#plan.products.get(out);
    if (!product) return false;
    const shape = this.#shapeOf(out);
    const { gradient, before, bias } = product;
    // A weight's gradient whose other operand is in blocks: that one is the filter, and the result lies the other way.
    const turned = gradient && this.#plan.inside.has(product.image.value);
    const [filter, image] = turned ? [product.image, product.filter] : [product.filter, product.image];
    const result = turned ? "columns" : product.result;
    const [rows, columns] = turned ? (["columns", "rows"] as const) : [filter.form, image.form];
    const filters = this.#form(filter.value, rows);
    const [, outer, inner] = filters.shape;
    const flat = this.#unsqueeze(
      this.#squeeze(filters, [0], [outer, inner, one]),
      [3],
      [outer, inner, one, one],
    );
    const [m, n] = shape;
    const operands = [this.#form(image.value, columns), flat, ...(bias ? [this.#form(bias, "natural")] : [])];
    const y = this.#graph.node(
      "Conv",
      operands,
      { shape: result === "columns" ? [one, n, m, one] : [one, m, n, one] },
      { kernel_shape: [1, 1] },
      domain,
    );
    this.#add(out, result, y, shape);
    if (before) {
      const sum = this.#graph.node("Add", [this.#form(before, "natural"), this.#form(out, "natural")], {
        shape,
      });
      this.#add(out, "natural", sum, shape);
    }
    return true;
  }

  /** An operation on numbers in blocks, or the first of them. */
  #within({ type, inputs, outputs, attributes, domain: of }: GraphNode): boolean {
    const [out] = outputs;
    const shape = this.#shapeOf(out);
    if (this.#plan.inside.has(out)) {
      const operands = inputs.map((id) =>
        this.#form(id, this.#shapeOf(id).length === 0 ? "natural" : "columns"),
      );
      const [r, c] = shape;
      const y = this.#graph.node(type, operands, { shape: [one, c, r, one] }, attributes, of);
      this.#add(out, "columns", y, shape);
      return true;
    }
    const [value] = inputs.map((id) => this.#values.get(id));
    if (!this.#plan.firsts.has(out) || !value || value.own === "natural") return false;
    const image = this.#plan.inside.has(inputs[0]) ? this.#form(inputs[0], value.own) : this.#plain(value);
    const ends = [0, 1].map((n) => this.#graph.integers([n, n, n, n]));
    const number = this.#graph.node("Slice", [image, ...ends], { shape: [one, one, one, one] });
    this.#add(out, "natural", this.#squeeze(number, [0, 3], shape), shape);
    return true;
  }

  #copy(node: GraphNode): void {
    const { transposes } = this.#plan;
    const [out] = node.outputs;
    // Made where somebody wants it: of a value in blocks nobody does.
    if (transposes.has(out) && this.#plan.inside.has(node.inputs[0])) return;
    const inputs = node.inputs.map((id) => (this.#values.has(id) ? this.#form(id, "natural").id : id));
    this.#graph.nodes.push({ ...node, inputs });
    for (const id of node.outputs) {
      const t = this.#source.values.get(id);
      if (!t) continue;
      this.#graph.values.set(id, t);
      this.#add(id, "natural", t, t.shape);
    }
  }

  /** An output: of a value in blocks its numbers in their order, in the shape that they are made in, as another would be a copy. */
  #output({ id }: Tensor): Tensor {
    const value = this.#value(id);
    return value.own === "natural" ? this.#form(id, "natural") : this.#plain(value);
  }

  #shapeOf(id: string): Shape {
    return this.#values.get(id)?.shape ?? this.#source.values.get(id)?.shape ?? [];
  }

  #form(id: string, wanted: Form): Tensor {
    const value = this.#value(id);
    const known = value.forms[wanted];
    if (known && (wanted === value.own || this.#node - value.made <= heldFor)) return known;
    const made =
      wanted === "natural" ? this.#natural(value) : this.#blocked(this.#form(id, "natural"), wanted);
    value.forms[wanted] = made;
    value.made = this.#node;
    return made;
  }

  #blocked(x: Tensor, form: Exclude<Form, "natural">): Tensor {
    const [r, c] = x.shape;
    const byColumns = form === "columns";
    const image = byColumns ? [one, r, one, c] : [one, r, c, one];
    const shape = byColumns ? [one, c, r, one] : image;
    return this.#reorder("ReorderInput", this.#unsqueeze(x, [0, byColumns ? 2 : 3], image), shape, {
      channels_last: Number(byColumns),
    });
  }

  #natural(value: Value): Tensor {
    return this.#squeeze(this.#plain(value), [0, value.own === "columns" ? 2 : 3], value.shape);
  }

  #plain(value: Value): Tensor {
    const { forms, own, shape } = value;
    const [r, c] = shape;
    const x = forms[own];
    if (!x) throw new TypeError("a value without its own form");
    const byColumns = own === "columns";
    value.plain ??= this.#reorder("ReorderOutput", x, byColumns ? [one, r, one, c] : [one, r, c, one], {
      channels_last: Number(byColumns),
      channels: byColumns ? c.size : r.size,
    });
    return value.plain;
  }

  #value(id: string): Value {
    const value = this.#values.get(id);
    if (!value) throw new TypeError(`${id} was not made`);
    return value;
  }

  #reorder(type: string, x: Tensor, shape: Shape, attributes: Record<string, number>): Tensor {
    return this.#graph.node(type, [x], { shape }, attributes, domain);
  }

  #unsqueeze(x: Tensor, axes: readonly number[], shape: Shape): Tensor {
    return this.#graph.node("Unsqueeze", [x, this.#graph.integers(axes)], { shape });
  }

  #squeeze(x: Tensor, axes: readonly number[], shape: Shape): Tensor {
    return this.#graph.node("Squeeze", [x, this.#graph.integers(axes)], { shape });
  }
}
