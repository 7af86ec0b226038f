/**
 * How a batch is laid out: tokens one after another, prompts that several completions share first; rows of attention in which parts of
 * them look at one another; and which of few shapes they are laid out in, as programs are compiled per shape. Everything follows from the lengths of the rows, so that a resumed run lays out the same batch the same way.
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
  /** Tokens of prompts that stand once for several completions. */
  readonly prompts: number;
  /** All other tokens, of which the last is padding. */
  readonly others: number;
  /** Rows of attention that may look at a token of those prompts: its own, and one for each completion; 0 without such prompts. */
  readonly copies: number;
  /** Rows of attention. */
  readonly rows: number;
  /** Tokens of a row that look at others, and tokens that they may look at. */
  readonly queries: number;
  readonly keys: number;
  /** Scored tokens of each role, rounded up. */
  readonly scored: readonly number[];
  /** Completions of each role: the record slots, or for roles of several a number of their own, rounded up. */
  readonly units: readonly number[];
  /** Record slots. */
  readonly records: number;
}

/** Tokens that go through the layers. */
export const tokensOfShape = ({ prompts, others }: PackShape): number => prompts + others;

/** A completion in place: which of its role's completions it is. */
export interface Laid {
  readonly role: number;
  readonly unit: number;
  readonly ids: readonly number[];
}

/** Tokens that look only at themselves: a whole tree, or one branch with its own copy of the prompt. */
export interface Segment {
  readonly prompt: readonly number[];
  /** The prompt as a completion of its own, for each role that scores its tokens. */
  readonly scoredPrompts: readonly Laid[];
  readonly branches: readonly (readonly Laid[])[];
}

/** Whether the prompt of a segment stands for several completions: then each of its parts attends for itself. */
export const isShared = ({ branches }: Segment): boolean => branches.length > 1;

/** Tokens that attend in one row: a prompt, a branch that looks at its prompt too, or a prompt with its only branch. */
export interface Span {
  readonly segment: Segment;
  /** Which branch; undefined for the prompt, with the branch that stands with it. */
  readonly branch: number | undefined;
  readonly queries: number;
  readonly keys: number;
}

/** A span in its row of attention. */
export interface PlacedSpan extends Span {
  readonly row: number;
  readonly firstQuery: number;
  readonly firstKey: number;
}

/** How a batch is laid out. */
export interface Layout {
  readonly shape: PackShape;
  /** Which of the shapes that were given this is, or has grown from. */
  readonly from?: PackShape;
  readonly segments: readonly Segment[];
  readonly spans: readonly PlacedSpan[];
  /** For each role, the record of each completion. */
  readonly owners: readonly (readonly number[])[];
  /** Whether a prompt stands once for all its completions, and not with each. */
  readonly shared: boolean;
  /** Tokens that are not padding. */
  readonly tokens: number;
}

export interface LayoutOptions {
  /** Record slots; default: as many as records. */
  readonly slots?: number;
  /** Hidden size of the model: wide models care less for attention. */
  readonly hidden?: number;
  /** Completions must stand with a prompt of their own. */
  readonly apart?: boolean;
  /** Leave sizes as they are, and do not round them to few: for callers who plan their shapes. */
  readonly fine?: boolean;
  /** Shapes that programs are compiled for anyway: the cheapest that holds the batch is taken, where one does. */
  readonly shapes?: readonly PackShape[];
  /** Let one of `shapes` grow until it holds the batch. */
  readonly grow?: boolean;
}

/** Rows of attention may be this many times as long as the longest span: short ones then share a row. */
const stretches = { few: [1, 1.5, 2, 3], fine: [1, 1.125, 1.25, 1.375, 1.5, 1.75, 2, 2.5, 3] };

/** The cheapest layout of records: prompts shared or not, rows of attention as long as the longest part or longer. */
export function layoutOf(
  records: readonly Scorable[],
  roles: readonly RoleLayout[],
  { slots = records.length, hidden = 64, apart, fine = false, shapes = [], grow = false }: LayoutOptions = {},
): Layout {
  const cuts = (apart ? [true] : [false, true]).map((own) => segmentsOf(records, roles, own));
  // Apart and shared are the same where no prompt has several completions.
  const [first, second] = cuts;
  const different = second && second.segments.length > first.segments.length ? cuts : [first];
  let best:
    | { cost: number; shape: PackShape; from?: PackShape; cut: Cut; spans: Span[]; shared: boolean }
    | undefined;
  for (const [i, cut] of different.entries()) {
    const { segments, counts } = cut;
    const spans = segments.flatMap(spansOf).sort((a, b) => b.keys - a.keys || b.queries - a.queries);
    const { prompts, others, copies } = tokenCounts(segments);
    const up = (n: number) => (fine || grow ? upTo8(n) : finelyRoundedUp(n));
    const least = {
      prompts: prompts && up(prompts),
      others: up(others + 1),
      copies,
      scored: counts.tokens.map((n) => Math.max(8, up(n))),
      units: roles.map((role, k) => (role.many ? roundedUp(counts.units[k]) : slots)),
      records: slots,
    };
    const exact = { ...least, prompts, others: others + 1, scored: counts.tokens };
    const holding = grow ? [] : shapes.filter((s) => holds(s, exact));
    const sizes = rowSizes(spans, fine);
    const wanted: { shape: PackShape; from?: PackShape }[] = grow
      ? shapes.flatMap((from) => {
          const shape = union(from, { ...least, ...sizes[0], rows: 0 });
          return shape ? [{ shape, from }] : [];
        })
      : holding.length > 0
        ? holding.map((from) => ({ shape: from, from }))
        : sizes.map((s) => ({ shape: { ...least, ...s, rows: 0 } }));
    for (const { shape: least, from } of wanted) {
      const rows = rowsFor(spans, least);
      if (rows === undefined || (holding.length > 0 && rows > least.rows)) continue;
      const shape = rows <= least.rows ? least : { ...least, rows: roundedUp(rows, 8) };
      // What a shape grows by, other batches pay for too.
      const cost = layerCost(shape, hidden) * (grow ? 2 : 1) - (grow && from ? layerCost(from, hidden) : 0);
      // A shape that there is a program for goes before one of the batch's own.
      const better = !best || (from && !best.from) || (!best.from === !from && cost < best.cost);
      if (better) best = { cost, shape, from, cut, spans, shared: !apart && i === 0 };
    }
  }
  // A shape that holds the numbers may still be too small for the rows: then the batch gets one of its own.
  if (!best) return layoutOf(records, roles, { slots, hidden, apart });
  const { shape, from, cut, spans, shared } = best;
  const { segments, counts } = cut;
  const { prompts, others } = tokenCounts(segments);
  const placed = place(spans, shape);
  return { shape, from, segments, spans: placed, owners: counts.owners, shared, tokens: prompts + others };
}

type Cut = ReturnType<typeof segmentsOf>;

/**
 * The smallest shape that holds the numbers of both, with as many rows as should be enough, where they are longer for one of them; `grow`
 * finds out. Undefined where they count records differently.
 */
export function union(a: PackShape, b: PackShape): PackShape | undefined {
  if (a.records !== b.records) return undefined;
  const larger = (x: readonly number[], y: readonly number[]) => x.map((n, k) => Math.max(n, y[k]));
  const [queries, keys] = [Math.max(a.queries, b.queries), Math.max(a.keys, b.keys)];
  const rows = [a, b].map((s) => Math.ceil(s.rows * Math.max(s.queries / queries, s.keys / keys)));
  return {
    prompts: Math.max(a.prompts, b.prompts),
    others: Math.max(a.others, b.others),
    copies: Math.max(a.copies, b.copies),
    rows: Math.max(...rows),
    queries,
    keys,
    scored: larger(a.scored, b.scored),
    units: larger(a.units, b.units),
    records: a.records,
  };
}

/** Tokens of a record that are laid out: parts of these roles with what they follow, prompts once for all of them or, `apart`, with each. */
export function laidTokens(record: Scorable, roles: readonly RoleLayout[], apart: boolean): number {
  const { prompts, others } = tokenCounts(segmentsOf([record], roles, apart).segments);
  return prompts + others;
}

/** Tokens of prompts for several completions, all others, and how often one of the former is looked at. */
function tokenCounts(segments: readonly Segment[]) {
  let [prompts, others, copies] = [0, 0, 0];
  for (const segment of segments) {
    const { prompt, branches } = segment;
    others += branches.reduce((n, b) => n + laidLength(b), 0);
    if (!isShared(segment)) others += prompt.length;
    else {
      prompts += prompt.length;
      copies = Math.max(copies, 1 + branches.length);
    }
  }
  return { prompts, others, copies };
}

function spansOf(segment: Segment): Span[] {
  const { prompt, branches } = segment;
  const lengths = branches.map(laidLength);
  if (!isShared(segment)) {
    const all = prompt.length + (lengths[0] ?? 0);
    return [{ segment, branch: undefined, queries: all, keys: all }];
  }
  const own = { segment, branch: undefined, queries: prompt.length, keys: prompt.length };
  return [own, ...lengths.map((n, branch) => ({ segment, branch, queries: n, keys: prompt.length + n }))];
}

/** Lengths of rows to choose among. One slot more than the longest needs: the first row keeps one for padding. */
function rowSizes(spans: readonly Span[], fine: boolean) {
  const longest = (of: (s: Span) => number) => Math.max(0, ...spans.map(of)) + 1;
  const sizes = (n: number) => {
    const found = stretches[fine ? "fine" : "few"].map((f) => finelyRoundedUp(Math.ceil(n * f)));
    return [...new Set(fine ? [upTo8(n), ...found.slice(1)] : found)];
  };
  const queries = sizes(longest((s) => s.queries));
  return sizes(longest((s) => s.keys)).flatMap((keys) => queries.map((q) => ({ queries: q, keys })));
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

const upTo8 = (n: number): number => 8 * Math.ceil(n / 8);

/** The smallest of few sizes that holds n: multiples of 8 up to 128, then eight steps an octave. */
function finelyRoundedUp(n: number): number {
  const step = Math.max(8, 2 ** (Math.ceil(Math.log2(Math.max(n, 1))) - 4));
  return Math.ceil(n / step) * step;
}

/**
 * What the layers cost in a shape, in tokens: T looks of a token at others cost a share of about T / 5 hidden of its matrix products,
 * softmax and masks included (measured on 34M parameters).
 */
export const layerCost = (shape: PackShape, hidden: number): number =>
  tokensOfShape(shape) + (shape.rows * shape.queries * shape.keys) / (5 * hidden);

/** Whether a shape has room for these numbers. */
function holds(shape: PackShape, least: Omit<PackShape, "rows" | "queries" | "keys">): boolean {
  return (
    shape.records === least.records &&
    shape.prompts >= least.prompts &&
    shape.others >= least.others &&
    shape.copies >= least.copies &&
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

type RowSize = Pick<PackShape, "queries" | "keys">;

/**
 * First fit: each span, in the order given, into the first row with room, which is handed to `at`. The first row keeps its last slots for
 * padding. Returns the number of rows; undefined where a span is longer than a row.
 */
function rowsFor(
  spans: readonly Span[],
  size: RowSize,
  at?: (span: Span, row: number, firstQuery: number, firstKey: number) => void,
): number | undefined {
  const [queries, keys] = [[0], [0]];
  for (const span of spans) {
    if (span.queries === 0) continue;
    if (span.queries > size.queries || span.keys > size.keys) return undefined;
    let row = 0;
    for (; row < queries.length; row++) {
      const padding = row === 0 ? 1 : 0;
      if (
        queries[row] + span.queries + padding <= size.queries &&
        keys[row] + span.keys + padding <= size.keys
      )
        break;
    }
    if (row === queries.length) {
      queries.push(0);
      keys.push(0);
    }
    at?.(span, row, queries[row], keys[row]);
    queries[row] += span.queries;
    keys[row] += span.keys;
  }
  return queries.length;
}

/** Each span in its row. */
function place(spans: readonly Span[], size: RowSize): PlacedSpan[] {
  const placed: PlacedSpan[] = [];
  rowsFor(spans, size, (span, row, firstQuery, firstKey) =>
    placed.push({ ...span, row, firstQuery, firstKey }),
  );
  return placed;
}
