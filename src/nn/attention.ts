/**
 * Two of the three ways a decoder attends: over whole rows with a mask (reading prompts), and one new token a row against a cache
 * (generation); the third gathers its rows (`gathered-attention.ts`: training and scoring). A model's code calls `Attend` and does not
 * know which of them runs.
 */
import { attention } from "../engine/ops/attention.ts";
import { reshape, slice, transpose } from "../engine/ops/shape.ts";
import { type Dim, type Tensor, dim } from "../engine/tensor.ts";

export interface HeadShape {
  readonly heads: number;
  /** Key and value heads; query head h reads key head floor(h · kvHeads / heads). */
  readonly kvHeads: number;
  readonly headDim: number;
  /** c where a score s becomes c tanh(s/c) before the mask. */
  readonly softcap?: number;
  readonly layers: readonly LayerAttention[];
}

/** What may differ from one layer to the next. */
export interface LayerAttention {
  /** Factor of the scores, usually 1/√headDim. */
  readonly scale: number;
  /** Positions that a token sees, itself included; absent: all before it. */
  readonly window?: number;
}

/** q [tokens, heads·headDim], k and v [tokens, kvHeads·headDim], rotated already → [tokens, heads·headDim]. */
export type Attend = (q: Tensor, k: Tensor, v: Tensor, layer: number) => Tensor;

/**
 * Attention of whole rows: tokens = rows · time; the mask of a layer, [rows, 1, time, keys], is added to its scores (`layerMasks`).
 * `collect` is handed every layer's keys and values, [rows, kvHeads, keys, headDim], as a cache stores them.
 */
export function fullAttention(
  shape: HeadShape,
  rows: Dim,
  time: Dim,
  mask: (layer: number) => Tensor,
  collect: (layer: number, keys: Tensor, values: Tensor) => void,
): Attend {
  const { heads, kvHeads, headDim, softcap, layers } = shape;
  const kv = dim("kvHeads", kvHeads);
  const group = dim("group", heads / kvHeads);
  const width = dim("headDim", headDim);
  const keys = dim("keys", time.size);
  const queries = dim("queries", group.size * time.size);
  /** [tokens, heads·headDim] → [rows, kvHeads, group·time, headDim]; without groups a plain transposition, which is faster. */
  const fold = (q: Tensor) => {
    if (group.size === 1) return spread(q, queries);
    const split = reshape(q, [rows, time, kv, group, width]);
    return reshape(transpose(split, ["rows", "kvHeads", "group", "time", "headDim"]), [
      rows,
      kv,
      queries,
      width,
    ]);
  };
  const unfold = (y: Tensor) => {
    if (group.size === 1) return transpose(y, ["rows", "queries", "kvHeads", "headDim"]);
    return transpose(reshape(y, [rows, kv, group, time, width]), [
      "rows",
      "time",
      "kvHeads",
      "group",
      "headDim",
    ]);
  };
  const spread = (x: Tensor, along: Dim) =>
    transpose(reshape(x, [rows, along, kv, width]), ["rows", "kvHeads", along.name, "headDim"]);
  return (q, k, v, layer) => {
    const [cacheKeys, cacheValues] = [spread(k, keys), spread(v, keys)];
    collect(layer, cacheKeys, cacheValues);
    const mixed = attention(fold(q), cacheKeys, cacheValues, mask(layer), layers[layer].scale, softcap);
    return reshape(unfold(mixed), q.shape);
  };
}

/** All slots' keys and values of one layer, [slots, kvHeads, capacity, headDim]. */
export interface LayerCache {
  readonly keys: Tensor;
  readonly values: Tensor;
}

/** Width of a head in a cache: GroupQueryAttention wants multiples of 8; narrower heads are filled up with zeros. */
export const cacheWidth = (headDim: number): number => Math.ceil(headDim / 8) * 8;

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
    const { scale, window } = shape.layers[layer];
    const wide = cacheWidth(shape.headDim);
    const row = (x: Tensor, heads: number) => asRow(x, heads, shape.headDim, wide);
    const query = row(q, shape.heads);
    const [y, newKeys, newValues] = q.graph.nodesOut(
      "GroupQueryAttention",
      [query, row(k, shape.kvHeads), row(v, shape.kvHeads), keys, values, lengths, total],
      [{ shape: query.shape }, { shape: keys.shape }, { shape: values.shape }],
      {
        num_heads: shape.heads,
        kv_num_heads: shape.kvHeads,
        scale: { float: scale },
        softcap: { float: shape.softcap ?? 0 }, // 0 is none
        local_window_size: window ?? -1, // counts the new token, as ours does
      },
      "com.microsoft",
    );
    grown[layer] = { keys: newKeys, values: newValues };
    if (wide === shape.headDim) return reshape(y, q.shape);
    const heads = reshape(y, [q.shape[0], dim("heads", shape.heads), dim("width", wide)]);
    return reshape(slice(heads, "width", 0, shape.headDim), q.shape);
  };
}

/** [slots, heads·headDim] → [slots, 1, heads·wide], each head followed by zeros. */
function asRow(x: Tensor, heads: number, headDim: number, wide: number): Tensor {
  const [slots] = x.shape;
  const row = [slots, dim("time", 1), dim("headWidth", heads * wide)];
  if (wide === headDim) return reshape(x, row);
  const { graph } = x;
  const split = reshape(x, [slots, dim("heads", heads), dim("width", headDim)]);
  const padding = graph.integers([0, 0, 0, 0, 0, wide - headDim]);
  const padded = graph.node("Pad", [split, padding], {
    shape: [slots, dim("heads", heads), dim("width", wide)],
  });
  return reshape(padded, row);
}
