/**
 * Rotary positions of the exported graph: our own tables, made in double precision, one row a position. Where a scaling has
 * two sets of frequencies (LongRoPE) both stand in the table, and a row's length decides which of them it reads.
 */
import type { Graph } from "../../engine/graph.ts";
import { add, mul, sub } from "../../engine/ops/elementwise.ts";
import { slice } from "../../engine/ops/shape.ts";
import { type Tensor, dim } from "../../engine/tensor.ts";
import type { Rope } from "../../nn/rotary.ts";
import { integer, truth, widened } from "./nodes.ts";
import type { Places } from "./places.ts";

export interface RotationTable {
  /** [rows, width/2] */
  readonly cos: Float32Array;
  readonly sin: Float32Array;
  readonly rows: number;
  /** Longest row that reads the first frequencies, whose rows come first; absent: there are no others. */
  readonly switchAt?: number;
}

/** Turns of every position below `positions`. */
export function rotationTable(rope: Rope, positions: number): RotationTable {
  const switchAt = lastOfFirstRegime(rope, positions);
  const places = (n: number) => Array.from({ length: n }, (_, i) => i);
  const parts =
    switchAt === undefined
      ? [rope.tables(places(positions), positions)]
      : [rope.tables(places(switchAt), switchAt), rope.tables(places(positions), positions)];
  const rows = positions + (switchAt ?? 0);
  const joined = (key: "cos" | "sin") => {
    const all = new Float32Array((rows * rope.width) / 2);
    let at = 0;
    for (const { [key]: values } of parts) {
      all.set(values, at);
      at += values.length;
    }
    return all;
  };
  return { cos: joined("cos"), sin: joined("sin"), rows, switchAt };
}

/** The longest row whose frequencies are those of a row of one token; undefined where all have the same. */
function lastOfFirstRegime(rope: Rope, positions: number): number | undefined {
  const first = rope.regime(1);
  if (rope.regime(positions) === first) return undefined;
  let [low, high] = [1, positions];
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if (rope.regime(middle) === first) low = middle;
    else high = middle;
  }
  return low;
}

/** Angles of some tokens, [batch, 1, n, width/2] each. */
export interface Turn {
  readonly cos: Tensor;
  readonly sin: Tensor;
}

/** Names of the tables among the inputs of the graph. */
export const tableNames = { cos: "rotary.cos", sin: "rotary.sin" } as const;

/** Declares the tables; the result gives the angles of tokens at given places, [batch, n] int64. */
export function declareRotation(graph: Graph, table: RotationTable, { lengths }: Places) {
  const shape = [dim("tableRows", table.rows), dim("half", table.cos.length / table.rows)];
  const cos = graph.input(tableNames.cos, "float", shape);
  const sin = graph.input(tableNames.sin, "float", shape);
  return (at: Tensor): Turn => {
    const rows = table.switchAt === undefined ? at : shifted(at, lengths, table.switchAt);
    const read = (t: Tensor) =>
      widened(graph.node("Gather", [t, rows], { shape: [...at.shape, shape[1]] }, { axis: 0 }), 1);
    return { cos: read(cos), sin: read(sin) };
  };
}

/** Rows of the second frequencies for tokens of long rows. */
function shifted(at: Tensor, lengths: Tensor, switchAt: number): Tensor {
  const { graph } = at;
  const bound = graph.scalar(switchAt, "int64");
  const isLong = truth(graph, "Greater", [lengths, bound], lengths.shape);
  const long = graph.node("Cast", [isLong], { dtype: "int64", shape: lengths.shape }, { to: 7 });
  const shift = integer(graph, "Mul", [long, bound], lengths.shape);
  return integer(graph, "Add", [at, shift], at.shape);
}

/** (u_i, u_{i+d/2}) → (u_i cos - u_{i+d/2} sin, u_{i+d/2} cos + u_i sin) of the first dimensions of every head: x [batch, heads, n, headDim]. */
export function turned(x: Tensor, { cos, sin }: Turn): Tensor {
  const half = cos.shape[3].size;
  const headDim = x.shape[3].size;
  const part = (start: number) => slice(x, "headDim", start, start + half, "half");
  const [a, b] = [part(0), part(half)];
  const parts = [sub(mul(a, cos), mul(b, sin)), add(mul(b, cos), mul(a, sin))];
  if (half * 2 < headDim) parts.push(slice(x, "headDim", half * 2, headDim, "half"));
  return x.graph.node("Concat", parts, { shape: x.shape }, { axis: -1 });
}
