/**
 * A graph with products in blocks, as `blocked-products.ts` plans them: each product a convolution, and each value in the forms in which it
 * is wanted, rearranged from its own where it is first used.
 */
import type { Form, Plan } from "./blocked-products.ts";
import { Graph, type GraphNode } from "./graph.ts";
import { blockDomain } from "./onnx.ts";
import type { Built } from "./program.ts";
import { type Shape, Tensor, dim } from "./tensor.ts";

/** Nodes that a rearranged value is held for: those that follow a layer's use of it take it, the backward has its own. */
const heldFor = 24;

const one = dim("one", 1);

/** A value of the new graph in the forms that there are of it. */
interface Value {
  readonly shape: Shape;
  readonly forms: Partial<Record<Form, Tensor>>;
  /** The form it was made in, which it keeps; others are made anew after a while. */
  readonly own: Form;
  /** Node at which the last of the others was made. */
  made: number;
  /** The numbers of a value in blocks row by row, as an image still: [1, r, 1, c] or [1, r, c, 1]. */
  plain?: Tensor;
}

/** Writes a graph with its planned products in blocks. */
export class BlockedWriter {
  readonly #source: Graph;
  readonly #graph: Graph;
  readonly #plan: Plan;
  /** Values that depend on inputs alone: weights, and parts of them. */
  readonly #given: Set<string>;
  readonly #values = new Map<string, Value>();
  /** Axes that are there only once an image is, by both. */
  readonly #waiting = new Map<string, Tensor>();
  #node = 0;

  constructor(source: Graph, plan: Plan) {
    this.#source = source;
    this.#plan = plan;
    this.#given = new Set([...source.inputs, ...source.constants].map((t) => t.id));
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
    const points = this.#form(image.value, columns);
    const filters = this.#form(filter.value, rows, points);
    const [, outer, inner] = filters.shape;
    const flat = this.#unsqueeze(
      this.#squeeze(filters, [0], [outer, inner, one]),
      [3],
      [outer, inner, one, one],
    );
    const [m, n] = shape;
    const addedTo = this.#plan.onto.get(out);
    const y = this.#graph.node(
      "Conv",
      [
        points,
        flat,
        bias === undefined ? undefined : this.#form(bias, "natural"),
        addedTo === undefined ? undefined : this.#form(addedTo, "columns"),
      ],
      { shape: result === "columns" ? [one, n, m, one] : [one, m, n, one] },
      { kernel_shape: [1, 1] },
      blockDomain,
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
    const whole = inputs.find((id) => this.#plan.sums.has(out) && this.#plan.onto.has(id));
    if (whole !== undefined) {
      this.#add(out, "columns", this.#form(whole, "columns"), shape);
      return true;
    }
    if (this.#plan.inside.has(out) || this.#plan.sums.has(out)) {
      const operands = inputs.map((id) =>
        this.#shapeOf(id).length === 0 ? this.#number(id) : this.#form(id, "columns"),
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

  /** A number as an image of one: beside an image, ONNX Runtime adds a number without axes 16 times as slowly. */
  #number(id: string): Tensor {
    return this.#unsqueeze(this.#form(id, "natural"), [0, 1, 2, 3], [one, one, one, one]);
  }

  #copy(node: GraphNode): void {
    const { transposes } = this.#plan;
    const [out] = node.outputs;
    // Made where somebody wants it: of a value in blocks nobody does.
    if (transposes.has(out) && this.#plan.inside.has(node.inputs[0])) return;
    const inputs = node.inputs.map((id) => (this.#values.has(id) ? this.#form(id, "natural").id : id));
    this.#graph.nodes.push({ ...node, inputs });
    const given = node.inputs.every((id) => id === "" || this.#given.has(id));
    for (const id of node.outputs) {
      if (given) this.#given.add(id);
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

  /** A value in a form. What depends on inputs alone is rearranged only once `behind` is there. */
  #form(id: string, wanted: Form, behind?: Tensor): Tensor {
    const value = this.#value(id);
    const known = value.forms[wanted];
    if (known && (wanted === value.own || this.#node - value.made <= heldFor)) return known;
    const wait = this.#given.has(id) ? behind : undefined;
    const made =
      wanted === "natural" ? this.#natural(value) : this.#blocked(this.#form(id, "natural"), wanted, wait);
    value.forms[wanted] = made;
    value.made = this.#node;
    return made;
  }

  #blocked(x: Tensor, form: Exclude<Form, "natural">, behind?: Tensor): Tensor {
    const [r, c] = x.shape;
    const byColumns = form === "columns";
    const image = byColumns ? [one, r, one, c] : [one, r, c, one];
    const shape = byColumns ? [one, c, r, one] : image;
    const axes = this.#graph.integers([0, byColumns ? 2 : 3]);
    const unsqueezed = this.#graph.node("Unsqueeze", [x, behind ? this.#after(axes, behind) : axes], {
      shape: image,
    });
    return this.#reorder("ReorderInput", unsqueezed, shape, { channels_last: Number(byColumns) });
  }

  /**
   * Axes, once an image is there: of what a node needs ONNX Runtime may compute a weight in blocks first, and hold it through all that the
   * image is made of.
   */
  #after(axes: Tensor, image: Tensor): Tensor {
    const key = `${axes.id} ${image.id}`;
    const known = this.#waiting.get(key);
    if (known) return known;
    const ends = [0, 1].map((n) => this.#graph.integers([n, n, n, n]));
    const first = this.#graph.node("Slice", [image, ...ends], { shape: [one, one, one, one] });
    const whole = { dtype: "int64", shape: [one] } as const;
    const number = this.#graph.node("Cast", [this.#squeeze(first, [0, 2, 3], [one])], whole, { to: 7 });
    const zero = this.#graph.node("Mul", [number, this.#graph.scalar(0, "int64")], whole);
    const waiting = this.#graph.node("Add", [axes, zero], { dtype: "int64", shape: axes.shape });
    this.#waiting.set(key, waiting);
    return waiting;
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
    return this.#graph.node(type, [x], { shape }, attributes, blockDomain);
  }

  #unsqueeze(x: Tensor, axes: readonly number[], shape: Shape): Tensor {
    return this.#graph.node("Unsqueeze", [x, this.#graph.integers(axes)], { shape });
  }

  #squeeze(x: Tensor, axes: readonly number[], shape: Shape): Tensor {
    return this.#graph.node("Squeeze", [x, this.#graph.integers(axes)], { shape });
  }
}
