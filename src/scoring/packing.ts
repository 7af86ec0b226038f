/**
 * Lays token rows out for the model without padding where it can: a prompt is written once for all its completions
 * (a tree), trees are packed into rows of about the longest one, and a mask keeps every token to its own tree and branch.
 * Positions restart after the prompt for each completion. Shapes are rounded up to few sizes, as programs are compiled per shape;
 * the layout depends on the rows alone, so a resumed run lays out the same batch in the same way.
 */
import type { Rope } from "../nn/rotary.ts";

/** One prompt with its completions; completion k plays role k (chosen, rejected). */
export interface Tree {
  readonly prompt: readonly number[];
  readonly completions: readonly (readonly number[])[];
}

export interface PackShape {
  readonly rows: number;
  /** Columns of a row. */
  readonly time: number;
  /** Scored tokens of each role, rounded up. */
  readonly scored: readonly number[];
  /** Trees, rounded up. */
  readonly records: number;
}

export interface PackedBatch {
  readonly shape: PackShape;
  /** [rows · time] */
  readonly ids: BigInt64Array;
  /** [rows · time]: the place of each token in its own sequence, prompt and completion counted through. */
  readonly tokenPositions: BigInt64Array;
  /** [rows · time, headDim/2] */
  readonly cos: Float32Array;
  readonly sin: Float32Array;
  /** [rows, 1, time, time]: 0 where a token may look, -1e9 elsewhere. */
  readonly mask: Float32Array;
  /** Of all roles one after another: the position whose hidden state predicts a scored token, and that token. */
  readonly index: BigInt64Array;
  readonly targets: BigInt64Array;
  /** For each role [scored]: the record of each scored token; `records` for padding. */
  readonly segments: readonly BigInt64Array[];
  /** For each role [scored]: the place of each scored token in its completion, from 0. */
  readonly positions: readonly Float32Array[];
  /** For each role [records]: completion tokens, at least 1. */
  readonly lengths: readonly Float32Array[];
  /** Tokens that are not padding. */
  readonly tokens: number;
}

const hidden = -1e9;

/** A run of tokens that look only at themselves: a whole tree, or one completion with its own copy of the prompt. */
interface Segment {
  readonly record: number;
  readonly prompt: readonly number[];
  readonly branches: readonly { readonly role: number; readonly ids: readonly number[] }[];
  readonly length: number;
}

/** The tokens that a tree takes when laid out. */
export function treeLength({ prompt, completions }: Tree): number {
  return completions.reduce((n, c) => n + c.length, prompt.length);
}

/**
 * The smallest of few sizes that holds n: multiples of 8 up to 64, then four steps an octave.
 * `exact` leaves sizes up to it as they are.
 */
export function roundedUp(n: number, exact = 0): number {
  if (n <= exact) return Math.max(n, 1);
  const step = Math.max(exact ? 1 : 8, 2 ** (Math.ceil(Math.log2(n)) - 3));
  return Math.ceil(n / step) * step;
}

/** Packs trees for a model with these rotary positions. `records` sets the number of record slots (default: as many as trees). */
export function pack(trees: readonly Tree[], roles: number, rope: Rope, records = trees.length): PackedBatch {
  const segments = trees.flatMap((t, record) => segmentsOf(t, record, rope.dependsOnLength));
  const time = roundedUp(Math.max(...segments.map((s) => s.length)));
  const placed = place(segments, time);
  const rows = roundedUp(placed.rows, 8);
  const counts = Array.from({ length: roles }, (_, k) =>
    trees.reduce((n, t) => n + (t.completions[k]?.length ?? 0), 0),
  );
  const scored = counts.map((n) => roundedUp(n));
  const half = rope.width / 2;

  const ids = new BigInt64Array(rows * time);
  const tokenPositions = new BigInt64Array(rows * time);
  const cos = new Float32Array(rows * time * half).fill(1);
  const sin = new Float32Array(rows * time * half);
  const mask = new Float32Array(rows * time * time).fill(hidden);
  const total = scored.reduce((a, b) => a + b, 0);
  const index = new BigInt64Array(total);
  const targets = new BigInt64Array(total);
  const segmentIds = scored.map((n) => new BigInt64Array(n).fill(BigInt(records)));
  const places = scored.map((n) => new Float32Array(n));
  const lengths = counts.map(() => new Float32Array(records).fill(1));
  const next = scored.map((_, k) => scored.slice(0, k).reduce((a, b) => a + b, 0));
  const first = [...next];

  for (const { segment, row, column } of placed.segments) {
    const origin = row * time + column;
    const write = (
      offset: number,
      tokens: readonly number[],
      firstPosition: number,
      rowLength: number,
      promptEnd: number,
    ) => {
      const positions = tokens.map((_, i) => firstPosition + i);
      const table = rope.tables(positions, rowLength);
      cos.set(table.cos, (origin + offset) * half);
      sin.set(table.sin, (origin + offset) * half);
      tokens.forEach((id, i) => {
        const at = origin + offset + i;
        ids[at] = BigInt(id);
        tokenPositions[at] = BigInt(positions[i]);
        const line = at * time + column;
        mask.fill(0, line, line + promptEnd); // the prompt,
        mask.fill(0, line + offset, line + offset + i + 1); // and this branch up to the token itself
      });
    };
    const { prompt, branches, record } = segment;
    const longest = prompt.length + Math.max(0, ...branches.map((b) => b.ids.length));
    write(0, prompt, 0, longest, 0);
    let offset = prompt.length;
    for (const { role, ids: completion } of branches) {
      write(offset, completion, prompt.length, longest, prompt.length);
      completion.forEach((id, i) => {
        const slot = next[role]++;
        index[slot] = BigInt(origin + (i === 0 ? prompt.length - 1 : offset + i - 1));
        targets[slot] = BigInt(id);
        segmentIds[role][slot - first[role]] = BigInt(record);
        places[role][slot - first[role]] = i;
      });
      lengths[role][record] = Math.max(1, completion.length);
      offset += completion.length;
    }
  }
  const tokens = segments.reduce((n, s) => n + s.length, 0);
  return {
    shape: { rows, time, scored, records },
    ids,
    tokenPositions,
    cos,
    sin,
    mask,
    index,
    targets,
    segments: segmentIds,
    positions: places,
    lengths,
    tokens,
  };
}

/** A tree as one segment, or one segment a completion where rotary frequencies depend on the length of the row. */
function segmentsOf(tree: Tree, record: number, apart: boolean): Segment[] {
  const branches = tree.completions.map((ids, role) => ({ role, ids }));
  const groups = apart ? branches.map((b) => [b]) : [branches];
  return groups.map((group) => ({
    record,
    prompt: tree.prompt,
    branches: group,
    length: group.reduce((n, b) => n + b.ids.length, tree.prompt.length),
  }));
}

/** First-fit decreasing: each segment into the first row with room, longest first. */
function place(segments: readonly Segment[], time: number) {
  const order = [...segments].sort((a, b) => b.length - a.length);
  const used: number[] = [];
  const placed = order.map((segment) => {
    let row = used.findIndex((n) => n + segment.length <= time);
    if (row < 0) row = used.push(0) - 1;
    const column = used[row];
    used[row] += segment.length;
    return { segment, row, column };
  });
  return { rows: used.length, segments: placed };
}
