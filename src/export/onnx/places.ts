/**
 * Where the tokens of a batch stand and what they may see, from `attention_mask` alone: rows may be padded on the left, and
 * new tokens are the last columns of the mask.
 */
import { toFloat, where } from "../../engine/ops/elementwise.ts";
import { type Dim, type Tensor, dim, freeDim } from "../../engine/tensor.ts";
import type { LayerAttention } from "../../nn/attention.ts";
import { hidden, narrowed } from "../../nn/masks.ts";
import { integer, lastOf, sizeOf, truth, widened } from "./nodes.ts";

/** The dimensions that a run decides, by the names that the file gives them. */
export const batch = freeDim("batch_size", 3);
export const time = freeDim("sequence_length", 5);
export const past = freeDim("past_sequence_length", 7);
export const total = freeDim("total_sequence_length", 12);
export const tokens = freeDim("tokens", 15);

export interface Places {
  /** [1] int64: rows, and new tokens of each. */
  readonly rows: Tensor;
  readonly columns: Tensor;
  /** Place of every token in its own sequence, those before included: [batch, total] int64. */
  readonly all: Tensor;
  /** Of the new ones: [batch, time] int64. */
  readonly fresh: Tensor;
  /** Tokens of every row: [batch, 1] int64. */
  readonly lengths: Tensor;
  /** What is added to a layer's scores: [batch, 1, 1, time, total]. */
  mask(layer: number): Tensor;
}

/** `ids` [batch, time] int64, `attention` [batch, total] int64, 1 where a token is. */
export function placesOf(ids: Tensor, attention: Tensor, layers: readonly LayerAttention[]): Places {
  const { graph } = ids;
  const [rows, columns] = [sizeOf(ids, 0), sizeOf(ids, 1)];
  const grid = [batch, total];
  const counted = integer(graph, "CumSum", [attention, graph.scalar(1, "int64")], grid);
  const before = integer(graph, "Sub", [counted, graph.scalar(1, "int64")], grid);
  const all = integer(graph, "Max", [before, graph.scalar(0, "int64")], grid);
  const fresh = lastOf(all, 1, columns, time);
  const lengths = graph.node(
    "ReduceSum",
    [attention, graph.integers([1])],
    { dtype: "int64", shape: [batch, dim("one", 1)] },
    { keepdims: 1 },
  );

  // A token sees the columns up to its own, of them those that hold tokens.
  const count = graph.node("Squeeze", [sizeOf(attention, 1)], { dtype: "int64", shape: [] });
  const range = [graph.scalar(0, "int64"), count, graph.scalar(1, "int64")];
  const column = integer(graph, "Range", range, [total]);
  const own = widened(lastOf(column, 0, columns, time), 1);
  const earlier = truth(graph, "LessOrEqual", [column, own], [time, total]);
  const isToken = graph.node("Cast", [attention], { dtype: "bool", shape: grid }, { to: 9 });
  const shape: Dim[] = [batch, dim("one", 1), dim("one", 1), time, total];
  const visible = truth(graph, "And", [earlier, widened(isToken, 1, 2, 3)], shape);
  const full = where(visible, 0, hidden);
  const float = { query: widened(toFloat(fresh), 1, 2, 4), key: widened(toFloat(all), 1, 2, 3) };
  const made = new Map<number, Tensor>();
  return {
    rows,
    columns,
    all,
    fresh,
    lengths,
    mask(layer) {
      const { window } = layers[layer];
      if (window === undefined) return full;
      const mask = made.get(window) ?? narrowed(full, float.query, float.key, window);
      made.set(window, mask);
      return mask;
    },
  };
}
