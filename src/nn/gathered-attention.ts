/**
 * Attention of tokens that lie in any order: each row of attention gathers the tokens that ask (queries) and those that they may look at
 * (keys), so that tokens stand once, without padding, in everything else of a layer, and several rows may look at a prompt. Heads are
 * gathered with the tokens: it costs what the transpositions of attention over whole rows cost, and keys, values and answers are gathered
 * again for the backward, not kept.
 */
import { attention } from "../engine/ops/attention.ts";
import { add, div, mul } from "../engine/ops/elementwise.ts";
import { rearrangeRows } from "../engine/ops/indexing.ts";
import { reshape } from "../engine/ops/shape.ts";
import { after, remakeBy } from "../engine/ordering.ts";
import { type Dim, type Tensor, dim } from "../engine/tensor.ts";
import type { Attend, HeadShape } from "./attention.ts";

/** Where the tokens of a batch take part in attention; all int64. Tokens that several rows look at are the first ones. */
export interface AttentionPlaces {
  /** The token of each query slot, [rows, queries]; that of padding must have no gradient. */
  readonly queryTokens: Tensor;
  /** The token of each key slot, [rows, keys]. */
  readonly keyTokens: Tensor;
  /** The query slot of each token, [tokens], counted through all rows. */
  readonly querySlots: Tensor;
  /** The key slots of the tokens that several rows look at, [copies, shared]; where it has fewer, one that no query looks at. */
  readonly sharedKeySlots?: Tensor;
  /** The key slot of each other token, [tokens - shared]. */
  readonly keySlots: Tensor;
}

/** `mask` [rows, 1, queries, keys] of a layer is added to its scores (`layerMasks`). */
export function gatheredAttention(
  shape: HeadShape,
  places: AttentionPlaces,
  mask: (layer: number) => Tensor,
): Attend {
  const { heads, kvHeads, headDim, softcap, layers } = shape;
  const [rows, queries] = places.queryTokens.shape;
  const keys = places.keyTokens.shape[1];
  const width = dim("headDim", headDim);
  const { graph } = places.queryTokens;
  const index = graph.untaped(() => ({
    queries: rowsOfTokens(places.queryTokens, heads),
    asked: rowsOfSlots(places.querySlots, heads, queries),
    keys: rowsOfTokens(places.keyTokens, kvHeads),
    looked: rowsOfSlots(places.keySlots, kvHeads, keys),
    shared: places.sharedKeySlots && rowsOfSlots(places.sharedKeySlots, kvHeads, keys),
  }));
  const byHead = (x: Tensor, count: number) => reshape(x, [dim("headRows", x.shape[0].size * count), width]);
  const folded = (x: Tensor, sizes: readonly Dim[]) => reshape(x, [rows, ...sizes, width]);
  const kv = dim("kvHeads", kvHeads);
  return (q, k, v, layer) => {
    const asking = rearrangeRows(byHead(q, heads), index.queries, { rows: index.asked });
    const spread = (x: Tensor) => {
      const flat = byHead(x, kvHeads);
      const read = (at: Tensor) =>
        folded(rearrangeRows(flat, at, { rows: index.looked, repeated: index.shared }), [kv, keys]);
      return remakeBy(read(index.keys), (dependency) => read(after(index.keys, dependency)));
    };
    const mixed = attention(
      folded(asking, [kv, dim("queries", (heads / kvHeads) * queries.size)]),
      spread(k),
      spread(v),
      mask(layer),
      layers[layer].scale,
      softcap,
    );
    const answers = reshape(mixed, asking.shape);
    const read = (at: Tensor) => reshape(rearrangeRows(answers, at, { rows: index.queries }), q.shape);
    return remakeBy(read(index.asked), (dependency) => read(after(index.asked, dependency)));
  };
}

/** Rows of [tokens · heads, headDim] in the order [rows, heads, slots], for the token of each slot, [rows, slots]. */
function rowsOfTokens(tokens: Tensor, heads: number): Tensor {
  const { graph } = tokens;
  const [rows, slots] = tokens.shape;
  const first = mul(reshape(tokens, [rows, dim("heads", 1), slots]), graph.scalar(heads, "int64"));
  const head = reshape(graph.integers(range(heads)), [dim("heads", heads), dim(slots.name, 1)]);
  return reshape(add(first, head), [dim("headSlots", rows.size * heads * slots.size)]);
}

/** Rows of [rows · heads · slots, headDim] in the order [tokens, heads], for the slot of each token, [..., tokens]. */
function rowsOfSlots(places: Tensor, heads: number, slots: Dim): Tensor {
  const { graph } = places;
  const number = (n: number) => graph.scalar(n, "int64");
  // Slot t of row r counts r · slots + t and stands, for the first head, at r · heads · slots + t.
  const row = div(places, number(slots.size));
  const first = add(places, mul(row, number((heads - 1) * slots.size)));
  const head = graph.integers(range(heads).map((h) => h * slots.size));
  const lead = places.shape.slice(0, -1);
  const tokens = places.shape[places.rank - 1];
  const all = add(reshape(first, [...lead, tokens, dim("heads", 1)]), reshape(head, [dim("heads", heads)]));
  return reshape(all, [...lead, dim("headRows", tokens.size * heads)]);
}

const range = (n: number) => Array.from({ length: n }, (_, i) => i);
