/**
 * Whether two graphs are alike: the same operations on the same values, whose sizes and constants may differ. Names of values do not count,
 * as graphs number them in their own way.
 */
import type { Backend, CompileOptions } from "./backends/backend.ts";
import type { Attribute, Constant, GraphNode } from "./graph.ts";
import { inputsOf, needed } from "./onnx.ts";
import { type Built, type Written, writtenFor } from "./program.ts";
import type { Tensor } from "./tensor.ts";

/** A graph as its back end gets it, with what comparing needs at hand. */
export interface Outline {
  readonly built: Built;
  readonly written: Written;
  readonly nodes: readonly GraphNode[];
  readonly inputs: readonly Tensor[];
  readonly constants: ReadonlyMap<string, Constant>;
}

export function outlineOf(
  backend: Backend,
  built: Built,
  options: Pick<CompileOptions, "frugal"> = {},
): Outline {
  const written = writtenFor(backend, built, options);
  const { graph, outputs } = written;
  const nodes = needed(graph.nodes, Object.values(outputs));
  return {
    built,
    written,
    nodes,
    inputs: inputsOf(graph, outputs, nodes),
    constants: new Map(graph.constants.map((c) => [c.id, c])),
  };
}

/** What walking through two graphs side by side comes upon; each answers whether they may be alike still. */
export interface Visitor {
  /** A constant that both have in this place. */
  readonly constants: (a: Constant, b: Constant, place: string) => boolean;
  /** A value of both, or an input. */
  readonly values: (a: Tensor, b: Tensor) => boolean;
}

/** Walks through two graphs side by side. Returns whether they are alike. */
export function alike(a: Outline, b: Outline, visit: Visitor): boolean {
  const names = new Map<string, string>();
  const [ownValues, otherValues] = [a, b].map((o) => o.written.graph.values);
  if (a.nodes.length !== b.nodes.length || a.inputs.length !== b.inputs.length) return false;
  const same = (x: Tensor, y: Tensor) => x.dtype === y.dtype && x.rank === y.rank && visit.values(x, y);
  for (const [i, x] of a.inputs.entries()) {
    const y = b.inputs[i];
    if (x.id !== y.id || !same(x, y)) return false;
    names.set(x.id, y.id);
  }
  const operands = (x: GraphNode, y: GraphNode, node: number) =>
    x.inputs.every((id, k) => {
      const [own, others] = [a.constants.get(id), b.constants.get(y.inputs[k])];
      if (own && others)
        return own.dtype === others.dtype && visit.constants(own, others, placeOfOperand(node, k));
      return !own && !others && (id === "" ? "" : names.get(id)) === y.inputs[k];
    });
  const results = (x: GraphNode, y: GraphNode) =>
    x.outputs.every((id, k) => {
      names.set(id, y.outputs[k]);
      const [own, others] = [ownValues.get(id), otherValues.get(y.outputs[k])];
      return own !== undefined && others !== undefined && same(own, others);
    });
  for (const [i, x] of a.nodes.entries()) {
    const y = b.nodes[i];
    if (!sameOperation(x, y) || !operands(x, y, i) || !results(x, y)) return false;
  }
  const [outputs, others] = [a, b].map((o) => Object.entries(o.written.outputs));
  const sameResult = (x: Tensor, y: Tensor) => {
    const [own, their] = [a.constants.get(x.id), b.constants.get(y.id)];
    return own && their ? sameConstant(own, their) : names.get(x.id) === y.id;
  };
  return (
    outputs.length === others.length &&
    outputs.every(([name, t], i) => others[i][0] === name && sameResult(t, others[i][1]))
  );
}

function sameOperation(x: GraphNode, y: GraphNode): boolean {
  const names = Object.keys(x.attributes);
  return (
    x.type === y.type &&
    x.domain === y.domain &&
    x.inputs.length === y.inputs.length &&
    x.outputs.length === y.outputs.length &&
    names.length === Object.keys(y.attributes).length &&
    names.every((name) => sameAttribute(x.attributes[name], y.attributes[name]))
  );
}

const sameAttribute = (a: Attribute, b: Attribute): boolean =>
  typeof a === "object" ? JSON.stringify(a) === JSON.stringify(b) : a === b;

export const sameConstant = (a: Constant, b: Constant): boolean =>
  sameNumbers(a.sizes, b.sizes) && sameNumbers(a.values, b.values);

export const sameNumbers = (a: readonly number[], b: readonly number[]): boolean =>
  a.length === b.length && a.every((n, i) => Object.is(n, b[i]));

/** Names the place of operand `operand` of node `node`. */
export const placeOfOperand = (node: number, operand: number): string => `${node} ${operand}`;
