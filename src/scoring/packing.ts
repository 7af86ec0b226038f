/**
 * Lays token rows out for the model without padding where it can: a prompt is written once for all its completions
 * (a tree), trees are packed into rows of about the longest one, and a mask keeps every token to its own tree and branch.
 * Positions restart after the prompt for each completion. Shapes are rounded up to few sizes, as programs are compiled per shape;
 * the layout depends on the rows alone, so a resumed run lays out the same batch in the same way.
 */
import type { Part, Scorable, TokenTree } from "../data/token-row.ts";
import { promptSuffix } from "../data/record-kinds.ts";
import type { Rope } from "../nn/rotary.ts";

/** A role that is laid out and scored. */
export interface RoleLayout {
  /** Its name; with the suffix of prompts, the tokens of the prompt before that role's first completion. */
  readonly name: string;
  /** Whether a record may have several completions of it. */
  readonly many: boolean;
}

export interface PackShape {
  readonly rows: number;
  /** Columns of a row. */
  readonly time: number;
  /** Scored tokens of each role, rounded up. */
  readonly scored: readonly number[];
  /** Completions of each role: the record slots, or for roles of several a number of their own, rounded up. */
  readonly units: readonly number[];
  /** Record slots. */
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

/** A completion in place: which of its role's completions it is. */
interface Laid {
  readonly role: number;
  readonly unit: number;
  readonly ids: readonly number[];
}

/** A run of tokens that look only at themselves: a whole tree, or one branch with its own copy of the prompt. */
interface Segment {
  readonly prompt: readonly number[];
  /** The prompt as a completion of its own, for each role that scores its tokens. */
  readonly scoredPrompts: readonly Laid[];
  readonly branches: readonly (readonly Laid[])[];
  readonly length: number;
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

/**
 * Packs the trees of records for a model with these rotary positions. Parts that play none of the roles are context, branches
 * without any such part are left out. `slots` sets the number of record slots (default: as many as records).
 */
export function pack(
  records: readonly Scorable[],
  roles: readonly RoleLayout[],
  rope: Rope,
  slots = records.length,
): PackedBatch {
  const { segments, counts } = segmentsOf(records, roles, rope.dependsOnLength);
  const time = roundedUp(Math.max(1, ...segments.map((s) => s.length)));
  const placed = place(segments, time);
  const rows = roundedUp(placed.rows, 8);
  const scored = counts.tokens.map((n) => roundedUp(n));
  const units = roles.map((role, k) => (role.many ? roundedUp(counts.units[k]) : slots));
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
  counts.owners.forEach((list, k) => list.forEach((record, unit) => (owners[k][unit] = BigInt(record))));

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
  const tokens = segments.reduce((n, s) => n + s.length, 0);
  return {
    shape: { rows, time, scored, units, records: slots },
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

const laidLength = (parts: readonly Laid[]) => parts.reduce((n, p) => n + p.ids.length, 0);

/**
 * Every tree as one segment, or one segment a branch where rotary frequencies depend on the length of the row; completions are
 * numbered by role in the order of the records.
 */
function segmentsOf(records: readonly Scorable[], roles: readonly RoleLayout[], apart: boolean) {
  const tokens = roles.map(() => 0);
  const units = roles.map(() => 0);
  const owners = roles.map((): number[] => []);
  const numbers = new Map(roles.map((role, k) => [role.name, k]));
  const take = (role: number, record: number, ids: readonly number[]): Laid => {
    const unit = roles[role].many ? units[role]++ : record;
    owners[role][unit] = record;
    tokens[role] += ids.length;
    return { role, unit, ids };
  };
  const segments: Segment[] = [];
  records.forEach(({ trees }, record) => {
    const prompts = new Set<number>(); // prompts scored already, by role: a record's role has one
    for (const { prompt, branches } of trees) {
      const wanted = branches.filter((b) => b.some((p) => numbers.has(p.role)));
      const scored = promptRoles(branches, roles).filter((k) => !prompts.has(k));
      scored.forEach((k) => prompts.add(k));
      if (wanted.length === 0 && scored.length === 0) continue;
      const laid = wanted.map((b) =>
        b.map((p) => {
          const role = numbers.get(p.role);
          return role === undefined ? { role: -1, unit: -1, ids: p.ids } : take(role, record, p.ids);
        }),
      );
      const scoredPrompts = scored.map((k) => take(k, record, prompt.slice(1)));
      const groups = apart && laid.length > 0 ? laid.map((b) => [b]) : [laid];
      groups.forEach((group, g) =>
        segments.push({
          prompt,
          scoredPrompts: g === 0 ? scoredPrompts : [],
          branches: group,
          length: group.reduce((n, b) => n + laidLength(b), prompt.length),
        }),
      );
    }
  });
  return { segments, counts: { tokens, units, owners } };
}

/** The roles that score the prompt of these branches. */
function promptRoles(branches: TokenTree["branches"], roles: readonly RoleLayout[]): number[] {
  const here = new Set(branches.flatMap((b: readonly Part[]) => b.map((p) => p.role)));
  return roles.flatMap(({ name }, k) =>
    promptSuffix.test(name) && here.has(name.replace(promptSuffix, "")) ? [k] : [],
  );
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
