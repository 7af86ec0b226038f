/**
 * Lays token rows out for the model: every token stands once, a prompt once for all its completions, without padding but for a few at the
 * end; rows of attention gather the tokens that look at one another, and a mask keeps each to its own tree and branch. Positions restart
 * after the prompt for each completion. The layout depends on the rows of a run alone: resumed, it lays out the same batch in the same way.
 */
import type { Scorable } from "../data/token-row.ts";
import type { Rope } from "../nn/rotary.ts";
import { type Layout, type LayoutOptions, layoutOf } from "./layout.ts";
import { type PackShape, tokensOfShape } from "./pack-shape.ts";
import { placementsFor } from "./placements.ts";
import { type Laid, type Placement, type RoleLayout, type Segment, isSplit, laidLength } from "./segments.ts";

export interface PackedBatch {
  readonly shape: PackShape;
  /** How completions stand with their prompt. */
  readonly placement: Placement;
  /** [tokens] */
  readonly ids: BigInt64Array;
  /** [tokens]: the place of each token in its own sequence, prompt and completion counted through. */
  readonly tokenPositions: BigInt64Array;
  /** [tokens, headDim/2] */
  readonly cos: Float32Array;
  readonly sin: Float32Array;
  /** [rows, 1, queries, keys]: 0 where a token may look, -1e9 elsewhere. */
  readonly mask: Float32Array;
  /** [rows, queries] and [rows, keys]: the token in each slot of attention; slots of padding have the last one. */
  readonly queryTokens: BigInt64Array;
  readonly keyTokens: BigInt64Array;
  /** [tokens]: the query slot of each token; for padding one that no token has. */
  readonly querySlots: BigInt64Array;
  /** [copies, prompts] and [others]: the key slots of each token; where there are fewer, one that no token has or looks at. */
  readonly promptKeySlots: BigInt64Array;
  readonly keySlots: BigInt64Array;
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
    placements: placementsFor(rope, options.placements),
  });
  const { shape, tokens } = layout;
  const { scored, units, records: slots } = shape;
  const count = tokensOfShape(shape);
  const half = rope.width / 2;

  const ids = new BigInt64Array(count);
  const tokenPositions = new BigInt64Array(count);
  const cos = new Float32Array(count * half).fill(1);
  const sin = new Float32Array(count * half);
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

  const write = (at: number, tokens: readonly number[], firstPosition: number, length: number) => {
    const positions = tokens.map((_, i) => firstPosition + i);
    const table = rope.tables(positions, length);
    cos.set(table.cos, at * half);
    sin.set(table.sin, at * half);
    ids.set(tokens.map(BigInt), at);
    tokenPositions.set(positions.map(BigInt), at);
  };
  const starts = startsOf(layout);
  for (const [segment, { prompt: origin, branches: origins }] of starts) {
    const { prompt, branches, scoredPrompts } = segment;
    const longest = prompt.length + Math.max(0, ...branches.map(laidLength));
    write(origin, prompt, 0, longest);
    for (const scored of scoredPrompts) {
      // The first token of a prompt is only given.
      score(
        scored,
        (i) => origin + i + 1,
        (i) => origin + i,
      );
    }
    branches.forEach((parts, b) => {
      const from = origins[b];
      write(
        from,
        parts.flatMap((p) => p.ids),
        prompt.length,
        longest,
      );
      let begin = 0;
      for (const part of parts) {
        const start = begin;
        if (part.role >= 0)
          score(
            part,
            (i) => from + start + i,
            (i) => (start + i === 0 ? origin + prompt.length - 1 : from + start + i - 1),
          );
        begin += part.ids.length;
      }
    });
  }
  return {
    shape,
    placement: layout.placement,
    ids,
    tokenPositions,
    cos,
    sin,
    ...attentionPlaces(layout, starts),
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

/** Where the first token of a prompt stands, and of each of its branches. */
interface Starts {
  readonly prompt: number;
  readonly branches: readonly number[];
}

/** Prompts that several rows look at first, then everything else: a prompt and its branches one after another. */
function startsOf({ shape, segments }: Layout): Map<Segment, Starts> {
  let [prompts, others] = [0, shape.prompts];
  const taken = (n: number) => (others += n) - n;
  return new Map(
    segments.map((segment) => {
      const { prompt, branches } = segment;
      const own = isSplit(segment) ? (prompts += prompt.length) - prompt.length : taken(prompt.length);
      return [segment, { prompt: own, branches: branches.map((b) => taken(laidLength(b))) }];
    }),
  );
}

/** The last key slot of the first row that has one to spare, which nobody looks at; where none has, none is needed. */
function freeKey({ rows, keys }: PackShape, spans: Layout["spans"]): number {
  const used = new Uint32Array(rows);
  for (const span of spans) used[span.row] += span.keys;
  const row = Math.max(
    0,
    used.findIndex((n) => n < keys),
  );
  return row * keys + keys - 1;
}

/** The ranges of a span's keys that the token at a place among them looks at: itself and before it, but no other branch. */
function sightOf(
  { prompt, branches }: Segment,
  branch: number | undefined,
): (place: number) => readonly (readonly [number, number])[] {
  if (branch !== undefined || branches.length < 2) return (place) => [[0, place + 1]];
  const starts = branches.map((_, b) =>
    branches.slice(0, b).reduce((n, x) => n + laidLength(x), prompt.length),
  );
  return (place) => {
    const own = starts.findLast((start) => start <= place);
    return own === undefined
      ? [[0, place + 1]]
      : [
          [0, prompt.length],
          [own, place + 1],
        ];
  };
}

/** Who looks at whom. */
function attentionPlaces({ shape, spans }: Layout, starts: ReadonlyMap<Segment, Starts>) {
  const { prompts, others, copies, rows, queries, keys } = shape;
  const count = tokensOfShape(shape);
  const padding = BigInt(count - 1);
  const mask = new Float32Array(rows * queries * keys).fill(hidden);
  const queryTokens = new BigInt64Array(rows * queries).fill(padding);
  const keyTokens = new BigInt64Array(rows * keys).fill(padding);
  // The last slots of the first row are nobody's, where there is padding.
  const querySlots = new BigInt64Array(count).fill(BigInt(queries - 1));
  const promptKeySlots = new BigInt64Array(copies * prompts).fill(BigInt(freeKey(shape, spans)));
  const keySlots = new BigInt64Array(others).fill(BigInt(keys - 1));
  const looks = new Uint32Array(prompts);
  for (const { segment, branch, row, firstQuery, firstKey, ...span } of spans) {
    const start = starts.get(segment);
    if (!start) throw new TypeError("a span of no segment of this layout");
    const { prompt, branches } = start;
    const promptLength = segment.prompt.length;
    const ofBranch = branches[branch ?? 0]; // in a row with others, they follow one another
    const tokenOf = (place: number) =>
      place < promptLength ? prompt + place : ofBranch + place - promptLength;
    const before = span.keys - span.queries;
    const seen = sightOf(segment, branch);
    for (let q = 0; q < span.queries; q++) {
      const slot = row * queries + firstQuery + q;
      const token = tokenOf(before + q);
      queryTokens[slot] = BigInt(token);
      querySlots[token] = BigInt(slot);
      const line = slot * keys + firstKey;
      for (const [from, end] of seen(before + q)) mask.fill(0, line + from, line + end);
    }
    for (let k = 0; k < span.keys; k++) {
      const slot = row * keys + firstKey + k;
      const token = tokenOf(k);
      keyTokens[slot] = BigInt(token);
      if (token < prompts) promptKeySlots[looks[token]++ * prompts + token] = BigInt(slot);
      else keySlots[token - prompts] = BigInt(slot);
    }
  }
  return { mask, queryTokens, keyTokens, querySlots, promptKeySlots, keySlots };
}
