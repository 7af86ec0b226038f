/**
 * How much memory a program will need between its inputs and outputs, found by walking through its nodes as ONNX Runtime does: depth first
 * from the last results backwards, outputs allocated when a node runs and freed after their last use, elementwise results written over
 * operands that nobody needs any more.
 */
import { elementwiseTypes } from "./elementwise-types.ts";
import type { Graph, GraphNode } from "./graph.ts";
import { needed } from "./onnx.ts";
import { takenApart } from "./pieces.ts";
import type { Tensor } from "./tensor.ts";

/** Results that are their first input in another shape. */
const aliases = new Set(["Reshape", "Identity", "Squeeze", "Unsqueeze", "Flatten"]);
/** Operations that may write over an operand; a convolution may over what it is added to, its fourth. */
const inPlace = new Set([
  ...elementwiseTypes,
  ...["Softmax", "LogSoftmax", "Max", "Min", "Where", "Cos", "Sin", "Clip"],
]);

/** What the arena needs beyond the values that are alive: pieces between them, and its own notes. */
const slack = 1.08;

interface Buffer {
  readonly bytes: number;
  /** Uses that are still to come. */
  uses: number;
}

/** The most bytes of intermediate values that are there at once. Outputs are written into arrays of their own and do not count. */
export function peakBytes(graph: Graph, outputs: Readonly<Record<string, Tensor>>): number {
  const results = takenApart(outputs).map((p) => p.tensor);
  const nodes = inRunningOrder(needed(graph.nodes, results));
  const uses = new Map<string, number>();
  for (const node of nodes) for (const id of node.inputs) uses.set(id, (uses.get(id) ?? 0) + 1);
  const buffers = new Map<string, Buffer>();
  const kept = new Set(results.map((t) => t.id));
  let [live, peak] = [0, 0];
  for (const node of nodes) {
    const given = node.inputs.map((id) => buffers.get(id));
    node.outputs.forEach((id, i) => {
      const own = uses.get(id) ?? 0;
      const over = reused(node, i, given);
      if (over) {
        over.uses += own;
        buffers.set(id, over);
        return;
      }
      if (kept.has(id)) return;
      live += node.bytes[i];
      buffers.set(id, { bytes: node.bytes[i], uses: own });
    });
    peak = Math.max(peak, live);
    for (const buffer of given) if (buffer && --buffer.uses === 0) live -= buffer.bytes;
    for (const id of node.outputs) {
      const buffer = buffers.get(id);
      if (buffer?.uses === 0 && !given.includes(buffer)) live -= buffer.bytes; // nobody wants it
    }
  }
  return peak;
}

/** Bytes of the arena's region that holds so many bytes of values: what a back end is to `reserve`. */
export function arenaBytes(values: number): number {
  return values * slack;
}

/** The buffer that an output takes over from an input. */
function reused(
  { type, bytes }: GraphNode,
  output: number,
  given: readonly (Buffer | undefined)[],
): Buffer | undefined {
  if (output > 0) return undefined;
  if (aliases.has(type)) return given[0];
  const over = type === "Conv" ? given.slice(3) : inPlace.has(type) ? given : [];
  return over.find((b) => b?.uses === 1 && b.bytes === bytes[0]);
}

/**
 * The order in which ONNX Runtime runs nodes: the leave order of a depth-first walk against the arrows, which starts at the last node whose
 * results no other node wants and takes the inputs with the highest number first.
 */
function inRunningOrder(nodes: readonly GraphNode[]): GraphNode[] {
  const makers = new Map<string, number>();
  nodes.forEach((node, i) => node.outputs.forEach((id) => makers.set(id, i)));
  const wanted = new Set(nodes.flatMap((n) => n.inputs));
  const leaves = nodes.flatMap((n, i) => (n.outputs.some((id) => wanted.has(id)) ? [] : [i]));
  const order: GraphNode[] = [];
  const seen = new Set<number>();
  const stack: { node: number; leave: boolean }[] = leaves.map((node) => ({ node, leave: false }));
  for (let entry = stack.pop(); entry; entry = stack.pop()) {
    const { node, leave } = entry;
    if (leave) {
      order.push(nodes[node]);
      continue;
    }
    if (seen.has(node)) continue;
    seen.add(node);
    stack.push({ node, leave: true });
    const before = new Set(nodes[node].inputs.flatMap((id) => makers.get(id) ?? []));
    for (const i of [...before].sort((a, b) => a - b))
      if (!seen.has(i)) stack.push({ node: i, leave: false });
  }
  return order;
}
