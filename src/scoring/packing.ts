/**
 * Lays token rows out for the model without padding where it can: a prompt is written once for all its completions
 * (a tree), trees are packed into rows of about the longest one, and a mask keeps every token to its own tree and branch.
 * Positions restart after the prompt for each completion. Shapes are rounded up to few sizes, as programs are compiled per shape;
 * the layout depends on the rows alone, so a resumed run lays out the same batch in the same way.
 */
import type { Scorable } from "../data/token-row.ts";
import type { Rope } from "../nn/rotary.ts";
import {
  type Laid,
  type LayoutOptions,
  type PackShape,
  type RoleLayout,
  laidLength,
  layoutOf,
} from "./layout.ts";

export interface PackedBatch {
  readonly shape: PackShape;
  /** Whether a prompt stands once for all its completions, and not with each. */
  readonly shared: boolean;
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
  /** The position of each scored token itself. */
  readonly own: BigInt64Array;
  /** For each role [scored]: the completion of each scored token; the number of completions for padding. */
  readonly segments: readonly BigInt64Array[];
  /** For each role [scored]: the place of each scored token in its completion, from 0. */
  readonly positions: readonly Float32Array[];
  /** For each role [units]: completion tokens, at least 1. */
  readonly lengths: readonly Float32Array[];
  /** For each role [units]: the record of each completion; `records` for padding. */
  readonly owners: readonly BigInt64Array[];
  /** For each role [units]: the position of the completion's last token; 0 for padding. */
  readonly last: readonly BigInt64Array[];
  /** Tokens that are not padding. */
  readonly tokens: number;
}

const hidden = -1e9;

/**
 * Packs the trees of records for a model with these rotary positions. Parts that play none of the roles are context, branches
 * without any such part are left out. `options` choose among layouts.
 */
export function pack(
  records: readonly Scorable[],
  roles: readonly RoleLayout[],
  rope: Rope,
  options: LayoutOptions = {},
): PackedBatch {
  const layout = layoutOf(records, roles, {
    ...options,
    apart: options.apart === true || rope.dependsOnLength,
  });
  const { shape, tokens } = layout;
  const { rows, time, scored, units, records: slots } = shape;
  const half = rope.width / 2;

  const ids = new BigInt64Array(rows * time);
  const tokenPositions = new BigInt64Array(rows * time);
  const cos = new Float32Array(rows * time * half).fill(1);
  const sin = new Float32Array(rows * time * half);
  const mask = new Float32Array(rows * time * time).fill(hidden);
  const total = scored.reduce((a, b) => a + b, 0);
  const index = new BigInt64Array(total);
  const targets = new BigInt64Array(total);
  const own = new BigInt64Array(total);
  const segmentIds = scored.map((n, k) => new BigInt64Array(n).fill(BigInt(units[k])));
  const places = scored.map((n) => new Float32Array(n));
  const lengths = units.map((n) => new Float32Array(n).fill(1));
  const owners = units.map((n) => new BigInt64Array(n).fill(BigInt(slots)));
  const last = units.map((n) => new BigInt64Array(n));
  const next = scored.map((_, k) => scored.slice(0, k).reduce((a, b) => a + b, 0));
  const first = [...next];
  layout.owners.forEach((list, k) => list.forEach((record, unit) => (owners[k][unit] = BigInt(record))));

  /** Scores the tokens of a completion; token i stands at `at(i)` and is predicted from `before(i)`. */
  const score = (
    { role, unit, ids: tokens }: Laid,
    at: (i: number) => number,
    before: (i: number) => number,
  ) => {
    tokens.forEach((id, i) => {
      const slot = next[role]++;
      index[slot] = BigInt(before(i));
      targets[slot] = BigInt(id);
      own[slot] = BigInt(at(i));
      segmentIds[role][slot - first[role]] = BigInt(unit);
      places[role][slot - first[role]] = i;
    });
    lengths[role][unit] = Math.max(1, tokens.length);
    if (tokens.length > 0) last[role][unit] = BigInt(at(tokens.length - 1));
  };

  for (const { segment, row, column } of layout.segments) {
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
    const { prompt, branches, scoredPrompts } = segment;
    const longest = prompt.length + Math.max(0, ...branches.map(laidLength));
    write(0, prompt, 0, longest, 0);
    for (const scored of scoredPrompts) {
      // The first token of a prompt is only given.
      score(
        scored,
        (i) => origin + i + 1,
        (i) => origin + i,
      );
    }
    let offset = prompt.length;
    for (const parts of branches) {
      write(
        offset,
        parts.flatMap((p) => p.ids),
        prompt.length,
        longest,
        prompt.length,
      );
      let start = 0;
      for (const part of parts) {
        const [from, begin] = [origin + offset, start];
        if (part.role >= 0)
          score(
            part,
            (i) => from + begin + i,
            (i) => (begin + i === 0 ? origin + prompt.length - 1 : from + begin + i - 1),
          );
        start += part.ids.length;
      }
      offset += start;
    }
  }
  return {
    shape,
    shared: layout.shared,
    ids,
    tokenPositions,
    cos,
    sin,
    mask,
    index,
    targets,
    own,
    segments: segmentIds,
    positions: places,
    lengths,
    owners,
    last,
    tokens,
  };
}
