/**
 * The two ways a decoder attends: over whole rows with a mask (training, scoring, reading a prompt), and one new token
 * a row against a cache (generation). A model's code calls `Attend` and does not know which of them runs.
 */
import { attention } from "../engine/ops/attention.ts";
import { reshape, transpose } from "../engine/ops/shape.ts";
import { type Dim, type Tensor, dim } from "../engine/tensor.ts";

export interface HeadShape {
  readonly heads: number;
  /** Key and value heads; query head h reads key head floor(h · kvHeads / heads). */
  readonly kvHeads: number;
  readonly headDim: number;
  /** Factor of the scores, usually 1/√headDim. */
  readonly scale: number;
}

/** q [tokens, heads·headDim], k and v [tokens, kvHeads·headDim], rotated already → [tokens, heads·headDim]. */
export type Attend = (q: Tensor, k: Tensor, v: Tensor, layer: number) => Tensor;

/**
 * Full attention of packed rows: tokens = rows · time, mask [rows, 1, time, keys] added to the scores.
 * `collect` is handed every layer's keys and values, [rows, kvHeads, keys, headDim], as a cache stores them.
 */
export function fullAttention(
  shape: HeadShape,
  rows: Dim,
  time: Dim,
  mask: Tensor,
  collect?: (layer: number, keys: Tensor, values: Tensor) => void,
): Attend {
  const { heads, kvHeads, headDim, scale } = shape;
  const kv = dim("kvHeads", kvHeads);
  const group = dim("group", heads / kvHeads);
  const width = dim("headDim", headDim);
  const keys = dim("keys", time.size);
  return (q, k, v, layer) => {
    const queries = transpose(reshape(q, [rows, time, kv, group, width]), [
      "rows",
      "kvHeads",
      "group",
      "time",
      "headDim",
    ]);
    const folded = reshape(queries, [rows, kv, dim("queries", group.size * time.size), width]);
    const spread = (x: Tensor) =>
      transpose(reshape(x, [rows, keys, kv, width]), ["rows", "kvHeads", "keys", "headDim"]);
    const [cacheKeys, cacheValues] = [spread(k), spread(v)];
    collect?.(layer, cacheKeys, cacheValues);
    const y = attention(folded, cacheKeys, cacheValues, mask, scale);
    const unfolded = reshape(y, [rows, kv, group, time, width]);
    return reshape(transpose(unfolded, ["rows", "time", "kvHeads", "group", "headDim"]), q.shape);
  };
}

/** All slots' keys and values of one layer, [slots, kvHeads, capacity, headDim]. */
export interface LayerCache {
  readonly keys: Tensor;
  readonly values: Tensor;
}

/**
 * Attention of one new token in each slot against that slot's cache: ONNX Runtime's GroupQueryAttention. `past` are inputs,
 * `grown` collects the caches with the new token appended, to be bound to the same memory. `lengths` [slots] int32 counts the
 * tokens before the new one, `total` [1] int32 is the largest length including it.
 */
export function cachedAttention(
  shape: HeadShape,
  past: readonly LayerCache[],
  lengths: Tensor,
  total: Tensor,
  grown: LayerCache[],
): Attend {
  return (q, k, v, layer) => {
    const { keys, values } = past[layer];
    const row = (x: Tensor) => reshape(x, [x.shape[0], dim("time", 1), x.shape[1]]);
    const query = row(q);
    const [y, newKeys, newValues] = q.graph.nodesOut(
      "GroupQueryAttention",
      [query, row(k), row(v), keys, values, lengths, total],
      [{ shape: query.shape }, { shape: keys.shape }, { shape: values.shape }],
      { num_heads: shape.heads, kv_num_heads: shape.kvHeads, scale: { float: shape.scale } },
      "com.microsoft",
    );
    grown[layer] = { keys: newKeys, values: newValues };
    return reshape(y, q.shape);
  };
}
