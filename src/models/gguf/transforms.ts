/**
 * How the values of a tensor differ between a Hugging Face checkpoint and a GGUF file: rows in another order, a transposed
 * matrix, a norm stored with 1 added. Each is data, applied in both directions, so that there and back is the identity
 * (to the bit, except for the sum of the norms, which rounds).
 */

export interface HeadCounts {
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
}

export type Transform =
  /** The checkpoint's row that stands at a row of the GGUF tensor; matrices and biases alike. */
  | { readonly rows: (row: number, heads: HeadCounts) => number }
  /** Matrices [in, out] are stored as [out, in]; vectors as they are. */
  | { readonly transposed: true }
  | { readonly add: number };

/** Rotary pairs (i, i + d/2) of a head stand side by side in the architecture "llama": row 2i is row i, row 2i+1 is row i + d/2. */
const sideBySide: Transform = {
  rows(row, { headDim }) {
    const k = row % headDim;
    return row - k + (k >> 1) + (k & 1) * (headDim / 2);
  },
};
export const queryRows = sideBySide;
export const keyRows = sideBySide;

/** GPT-NeoX groups rows by head, [heads, q k v, d]; GGUF has all queries, all keys, all values, [q k v, heads, d]. */
export const groupedByHead: Transform = {
  rows(row, { heads, headDim }) {
    const k = row % headDim;
    const head = Math.floor(row / headDim) % heads;
    const part = Math.floor(row / (headDim * heads));
    return (head * 3 + part) * headDim + k;
  },
};

export const transposed: Transform = { transposed: true };
export const plusOne: Transform = { add: 1 };

/** The shape in the one form, given that in the other: only transposed matrices differ. */
export function otherShape(transform: Transform | undefined, shape: readonly number[]): readonly number[] {
  return transform && "transposed" in transform ? shape.toReversed() : shape;
}

/** Checkpoint to GGUF. `shape` is that of `from`; `from` and `into` are two arrays. */
export function toGguf(
  transform: Transform,
  from: Float32Array,
  into: Float32Array,
  shape: readonly number[],
  heads: HeadCounts,
): void {
  apply(transform, 1, from, into, shape, heads);
}

/** GGUF to checkpoint. */
export function toCheckpoint(
  transform: Transform,
  from: Float32Array,
  into: Float32Array,
  shape: readonly number[],
  heads: HeadCounts,
): void {
  apply(transform, -1, from, into, shape, heads);
}

function apply(
  transform: Transform,
  direction: 1 | -1,
  from: Float32Array,
  into: Float32Array,
  shape: readonly number[],
  heads: HeadCounts,
): void {
  if ("add" in transform) {
    for (let i = 0; i < from.length; i++) into[i] = from[i] + direction * transform.add;
  } else if ("transposed" in transform) {
    if (shape.length !== 2) return into.set(from);
    const [rows, columns] = shape;
    for (let r = 0; r < rows; r++)
      for (let c = 0; c < columns; c++) into[c * rows + r] = from[r * columns + c];
  } else {
    const rows = shape[0];
    const width = from.length / rows;
    for (let row = 0; row < rows; row++) {
      const other = transform.rows(row, heads);
      const [source, target] = direction === 1 ? [other, row] : [row, other];
      into.set(from.subarray(source * width, (source + 1) * width), target * width);
    }
  }
}
