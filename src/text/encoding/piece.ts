/**
 * A stretch of text on its way to becoming tokens, which remembers what of the original text each of its UTF-16 units came
 * from. The memory is optional: ids alone need none, and the same code makes both.
 */

export interface Piece {
  readonly text: string;
  /** Whether the piece begins where the original text does. */
  readonly first: boolean;
  /** For each unit of `text` the range [start, end) of the original. */
  readonly from?: { readonly starts: Int32Array; readonly ends: Int32Array };
}

/** The original text as a piece. Units of a surrogate pair stand for the whole character. */
export function original(text: string, remember: boolean): Piece {
  if (!remember) return { text, first: true };
  const [starts, ends] = [new Int32Array(text.length), new Int32Array(text.length)];
  for (let i = 0; i < text.length;) {
    const end = i + unitsAt(text, i);
    for (const start = i; i < end; i++) [starts[i], ends[i]] = [start, end];
  }
  return { text, first: true, from: { starts, ends } };
}

/** UTF-16 units of the character at a position. */
export const unitsAt = (text: string, at: number): number => ((text.codePointAt(at) ?? 0) > 0xffff ? 2 : 1);

/** Units [begin, end) of a piece. */
export function slice(piece: Piece, begin: number, end: number): Piece {
  const { text, first, from } = piece;
  if (begin === 0 && end === text.length) return piece;
  return {
    text: text.slice(begin, end),
    first: first && begin === 0,
    from: from && { starts: from.starts.subarray(begin, end), ends: from.ends.subarray(begin, end) },
  };
}

/** The original range that units [begin, end) came from; end > begin. */
export function rangeOf({ from }: Piece, begin: number, end: number): [start: number, end: number] {
  if (!from) return [0, 0];
  let [start, stop] = [Infinity, 0];
  for (let i = begin; i < end; i++) {
    start = Math.min(start, from.starts[i]);
    stop = Math.max(stop, from.ends[i]);
  }
  return [start, stop];
}

/** Units [begin, end) are kept, or replaced by `text`, which then comes from all of them. */
export type Edit = readonly [begin: number, end: number, text?: string];

/** A piece made of edits in order. What no edit names is left out. */
export function edited(piece: Piece, edits: readonly Edit[]): Piece {
  const text = edits.map(([begin, end, made]) => made ?? piece.text.slice(begin, end)).join("");
  const [begin] = edits.find(([, , made]) => made !== "") ?? [0];
  const first = piece.first && begin === 0;
  if (!piece.from) return { text, first };
  const [starts, ends] = [new Int32Array(text.length), new Int32Array(text.length)];
  let at = 0;
  for (const [begin, end, made] of edits) {
    if (made === undefined) {
      starts.set(piece.from.starts.subarray(begin, end), at);
      ends.set(piece.from.ends.subarray(begin, end), at);
      at += end - begin;
    } else {
      const [start, stop] = rangeOf(piece, begin, end);
      starts.fill(start, at, at + made.length);
      ends.fill(stop, at, at + made.length);
      at += made.length;
    }
  }
  return { text, first, from: { starts, ends } };
}

/** The piece with text before it, which counts as part of its first character. */
export function prepended(piece: Piece, text: string): Piece {
  if (piece.text === "") return piece;
  return edited(piece, [
    [0, unitsAt(piece.text, 0), text],
    [0, piece.text.length],
  ]);
}

/** Every match of a pattern, replaced by what `replace` makes of it. */
export function replaced(piece: Piece, pattern: RegExp, replace: (match: string) => string): Piece {
  const edits: Edit[] = [];
  let at = 0;
  for (const match of piece.text.matchAll(pattern)) {
    const end = match.index + match[0].length;
    if (match.index > at) edits.push([at, match.index]);
    if (end > match.index) edits.push([match.index, end, replace(match[0])]);
    at = end;
  }
  if (at === 0) return piece;
  if (at < piece.text.length) edits.push([at, piece.text.length]);
  return edited(piece, edits);
}
