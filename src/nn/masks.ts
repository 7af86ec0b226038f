/**
 * What each layer's tokens see: all that the batch's mask allows, or of it only a window of the latest positions. Windows count
 * positions in a token's own sequence, not columns, so packed rows and shared prompts are the same numbers as rows alone.
 */
import { greater, sub, toFloat, where } from "../engine/ops/elementwise.ts";
import { reshape } from "../engine/ops/shape.ts";
import { type Tensor, dim } from "../engine/tensor.ts";
import type { LayerAttention } from "./attention.ts";

/** What is added to a score that does not count. */
export const hidden = -1e9;

/** Each token's place in its own sequence, int64: of queries [rows · time] and of keys [rows · keys]. */
export interface Positions {
  readonly queries: Tensor;
  readonly keys: Tensor;
}

/** The mask of every layer, each distinct one made once: `full` [rows, 1, time, keys] is 0 where a token may look. */
export function layerMasks(
  full: Tensor,
  positions: Positions,
  layers: readonly LayerAttention[],
): (layer: number) => Tensor {
  const made = new Map<number, Tensor>();
  return (layer) => {
    const { window } = layers[layer];
    if (window === undefined) return full;
    const mask = made.get(window) ?? full.graph.untaped(() => windowed(full, positions, window));
    made.set(window, mask);
    return mask;
  };
}

/** Key j stays visible to query i only where position(i) - position(j) < window. */
function windowed(full: Tensor, positions: Positions, window: number): Tensor {
  const [rows, one, time, keys] = full.shape;
  const query = reshape(toFloat(positions.queries), [rows, one, time, dim("keys", 1)]);
  const key = reshape(toFloat(positions.keys), [rows, one, dim("time", 1), keys]);
  return narrowed(full, query, key, window);
}

/** A mask of which every query sees no more than a window; places of queries and keys as floats that broadcast to it. */
export function narrowed(full: Tensor, query: Tensor, key: Tensor, window: number): Tensor {
  return where(greater(sub(query, key), window - 1), hidden, full);
}
