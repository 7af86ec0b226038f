/**
 * How packed rows are cut: which tokens stand in one piece, how long rows are, and which of few shapes they are laid out in, as programs
 * are compiled per shape. Everything follows from the lengths of the rows, so that a resumed run lays out the same batch the same way.
 */
import { promptSuffix } from "../data/record-kinds.ts";
import type { Part, Scorable, TokenTree } from "../data/token-row.ts";

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

/** A completion in place: which of its role's completions it is. */
export interface Laid {
  readonly role: number;
  readonly unit: number;
  readonly ids: readonly number[];
}

/** A run of tokens that look only at themselves: a whole tree, or one branch with its own copy of the prompt. */
export interface Segment {
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

/** How a batch is laid out. */
export interface Layout {
  readonly shape: PackShape;
  readonly segments: readonly PlacedSegment[];
  /** For each role, the record of each completion. */
  readonly owners: readonly (readonly number[])[];
  /** Whether a prompt stands once for all its completions, and not with each. */
  readonly shared: boolean;
  /** Tokens that are not padding. */
  readonly tokens: number;
}

export interface PlacedSegment {
  readonly segment: Segment;
  readonly row: number;
  readonly column: number;
}

export interface LayoutOptions {
  /** Record slots; default: as many as records. */
  readonly slots?: number;
  /** Hidden size of the model: wide models care less for long rows. */
  readonly hidden?: number;
  /** Completions must stand in rows of their own. */
  readonly apart?: boolean;
  /** Look for the length of rows that is filled best, and not among few: for callers who plan their shapes. */
  readonly fine?: boolean;
  /** Shapes that programs are compiled for anyway: the cheapest that holds the batch is taken, where one does. */
  readonly shapes?: readonly PackShape[];
}

/** Rows may be this many times as long as the longest segment. */
const stretches = [1, 1.5, 2, 3, 4];

/**
 * The cheapest layout of records: prompts shared or not, rows as long as the longest segment or longer, so that fewer are half empty.
 */
export function layoutOf(
  records: readonly Scorable[],
  roles: readonly RoleLayout[],
  { slots = records.length, hidden = 64, apart, fine = false, shapes = [] }: LayoutOptions = {},
): Layout {
  const cuts = (apart ? [true] : [false, true]).map((own) => segmentsOf(records, roles, own));
  // Apart and shared are the same where no prompt has several completions.
  const [first, second] = cuts;
  const different = second && second.segments.length > first.segments.length ? cuts : [first];
  let best: Layout | undefined;
  for (const [i, { segments, counts }] of different.entries()) {
    const longest = Math.max(1, ...segments.map((s) => s.length));
    const tokens = segments.reduce((n, s) => n + s.length, 0);
    const least = {
      scored: counts.tokens.map((n) => roundedUp(n)),
      units: roles.map((role, k) => (role.many ? roundedUp(counts.units[k]) : slots)),
      records: slots,
    };
    const given = shapes.filter((s) => s.time >= longest && holds(s, least));
    const times = fine ? fineTimes(longest) : [...new Set(stretches.map((f) => roundedUp(longest * f)))];
    const own = times.map((time) => ({ rows: 0, time, ...least }));
    for (const wanted of given.length > 0 ? given : own) {
      const placed = place(segments, wanted.time);
      if (wanted.rows > 0 && placed.rows > wanted.rows) continue;
      const shape = wanted.rows > 0 ? wanted : { ...wanted, rows: roundedUp(placed.rows, 8) };
      if (best && rowCost(best.shape, hidden) <= rowCost(shape, hidden)) continue;
      best = { shape, segments: placed.segments, owners: counts.owners, shared: !apart && i === 0, tokens };
    }
  }
  // A shape that holds the numbers may still be too small for the rows: then the batch gets one of its own.
  return best ?? layoutOf(records, roles, { slots, hidden, apart });
}

/** Lengths of rows to choose among, from the longest segment to four times that. */
function fineTimes(longest: number): number[] {
  const step = Math.max(8, 8 * Math.round(longest / 96));
  const first = Math.ceil(longest / step) * step;
  return Array.from({ length: Math.ceil((3 * first) / step) + 1 }, (_, i) => first + i * step);
}

/**
 * What the layers cost in a shape, in tokens: attention over rows of T tokens costs a share of about T / 6 hidden of the matrix
 * products, softmax and masks included (measured on 34M parameters: rows of 288, 576 and 1152 tokens).
 */
export const rowCost = ({ rows, time }: PackShape, hidden: number): number =>
  rows * time * (1 + time / (6 * hidden));

/** Whether a shape has room for these numbers. */
function holds(shape: PackShape, least: Pick<PackShape, "scored" | "units" | "records">): boolean {
  return (
    shape.records === least.records &&
    least.scored.every((n, k) => n <= shape.scored[k]) &&
    least.units.every((n, k) => n <= shape.units[k])
  );
}

/** Tokens of a branch. */
export const laidLength = (parts: readonly Laid[]) => parts.reduce((n, p) => n + p.ids.length, 0);

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
