/**
 * Attention of the exported graph, in standard operators: new tokens against all before them and themselves. The cache grows by
 * concatenation. Keys are cached rotated, as everywhere; only where a longer row turns all its keys anew, as they were made.
 */
import { add, mul, tanh } from "../../engine/ops/elementwise.ts";
import { softmax } from "../../engine/ops/normalization.ts";
import { transpose } from "../../engine/ops/shape.ts";
import { type Dim, type Tensor, dim } from "../../engine/tensor.ts";
import type { Attend, HeadShape, LayerCache } from "../../nn/attention.ts";
import { reshapeFrom, widened } from "./nodes.ts";
import { type Places, batch, past, time, tokens, total } from "./places.ts";
import { type Turn, turned } from "./rotation.ts";

export interface Rotation {
  /** Of queries and of the keys made with them. */
  readonly fresh: Turn;
  /** Of all keys, where they are cached unrotated. */
  readonly all?: Turn;
}

/** `layers` are the caches as they come in, [batch, kvHeads, past, headDim]; `grown` collects them with the new tokens behind. */
export function growingAttention(
  shape: HeadShape,
  places: Places,
  rotation: Rotation | undefined,
  layers: readonly LayerCache[],
  grown: LayerCache[],
): Attend {
  const { heads, kvHeads, headDim, softcap } = shape;
  const kv = dim("kvHeads", kvHeads);
  const group = dim("group", heads / kvHeads);
  const width = dim("headDim", headDim);
  /** [tokens, count·headDim] → [batch, count, time, headDim] */
  const spread = (x: Tensor, count: Dim) =>
    transpose(reshapeFrom(x, places.rows, [batch, time, count, width]), [
      batch.name,
      count.name,
      time.name,
      width.name,
    ]);
  const longer = (old: Tensor, fresh: Tensor) =>
    fresh.graph.node("Concat", [old, fresh], { shape: [batch, kv, total, width] }, { axis: 2 });

  return (q, k, v, layer) => {
    const { graph } = q;
    const queries = spread(q, dim("heads", heads));
    const key = spread(k, kv);
    const keys = longer(layers[layer].keys, rotation && !rotation.all ? turned(key, rotation.fresh) : key);
    const values = longer(layers[layer].values, spread(v, kv));
    grown[layer] = { keys, values };

    const product = (a: Tensor, b: Tensor, last: Dim) =>
      graph.node("MatMul", [a, b], { shape: [batch, kv, group, time, last] });
    const grouped = reshapeFrom(rotation ? turned(queries, rotation.fresh) : queries, places.rows, [
      batch,
      kv,
      group,
      time,
      width,
    ]);
    const turnedKeys = rotation?.all ? turned(keys, rotation.all) : keys;
    const columns = transpose(turnedKeys, [batch.name, kv.name, width.name, total.name]);
    const scores = product(
      mul(grouped, shape.layers[layer].scale / (softcap ?? 1)),
      widened(columns, 2),
      total,
    );
    const capped = softcap === undefined ? scores : mul(tanh(scores), softcap);
    const p = softmax(add(capped, places.mask(layer)));
    const mixed = transpose(product(p, widened(values, 2), width), [
      batch.name,
      time.name,
      kv.name,
      group.name,
      width.name,
    ]);
    const flat = [tokens, q.shape[1]];
    return graph.node("Reshape", [mixed, graph.integers([-1, q.shape[1].size])], { shape: flat });
  };
}

/** The caches of every layer as inputs, by the names that transformers.js gives them. */
export const cacheName = (direction: "past_key_values" | "present", layer: number, part: "key" | "value") =>
  `${direction}.${layer}.${part}`;

/** [batch, kvHeads, past, headDim]; key heads and width are numbers, since readers make the first, empty cache of them. */
export const cacheShape = ({ kvHeads, headDim }: HeadShape): Dim[] => [
  batch,
  dim("kvHeads", kvHeads),
  past,
  dim("headDim", headDim),
];
