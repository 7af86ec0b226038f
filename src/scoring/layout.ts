/**
 * How a batch is laid out: tokens one after another, prompts that several rows of attention look at first; rows of attention in which parts
 * of them look at one another; and where programs are compiled for fixed sizes, which of few shapes that is. Everything follows from the
 * lengths of a run's rows, so that a resumed run lays out the same batch the same way.
 */
import type { Scorable } from "../data/token-row.ts";
import { wholeBlocks } from "../engine/blocked-products.ts";
import {
  type PackShape,
  finelyRoundedUp,
  holds,
  layerCost,
  roundedUp,
  tokensOfShape,
  union,
  upTo8,
} from "./pack-shape.ts";
import { type Placements, allPlacements } from "./placements.ts";
import {
  type Placement,
  type RoleLayout,
  type Segment,
  type Span,
  isSplit,
  laidLength,
  looksOf,
  segmentsOf,
  spansOf,
  tokenCounts,
  tokensIn,
} from "./segments.ts";

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
  /** How completions of a prompt stand; of the ways that are the same for this batch the first that was given. */
  readonly placement: Placement;
  /** Tokens that are not padding. */
  readonly tokens: number;
}

/**
 * How sizes are rounded up: to few (the default); to multiples of 8, for callers who plan their shapes; or, where any size runs as well,
 * not at all but for the lengths of rows of attention, to multiples of 8. Many tokens are whole blocks (`wholeBlocks`) in the last two.
 */
export type Rounding = "few" | "fine" | "none";

export interface LayoutOptions {
  /** Record slots; default: as many as records. */
  readonly slots?: number;
  /** Hidden size of the model: wide models care less for attention. */
  readonly hidden?: number;
  /** How completions of a prompt may stand; default: in every way. */
  readonly placements?: Placements;
  readonly rounding?: Rounding;
  /** Shapes that programs are compiled for anyway: the cheapest that holds the batch is taken, where one does. */
  readonly shapes?: readonly PackShape[];
  /** Let one of `shapes` grow until it holds the batch. */
  readonly grow?: boolean;
}

/** Rows of attention may be this many times as long as the longest span: short ones then share a row. */
const stretches = { few: [1, 1.5, 2, 3], fine: [1, 1.125, 1.25, 1.375, 1.5, 1.75, 2, 2.5, 3] };

const rounders: Record<Rounding, (n: number) => number> = {
  few: finelyRoundedUp,
  fine: upTo8,
  none: (n) => n,
};

/** Numbers whose sum is whole blocks: the last is larger where it was not. */
function inWholeBlocks(numbers: readonly number[]): number[] {
  const total = numbers.reduce((a, b) => a + b, 0);
  return numbers.map((n, k) => (k === numbers.length - 1 ? n + wholeBlocks(total) - total : n));
}

/**
 * Tokens, and slots of the first row of attention, that are kept for padding: one, which all padding shares; or none, where there is no
 * padding, as with rows that were all cut to the same length.
 */
const spares = [1, 0];

/** Prompts that several rows look at may be cut into so many parts. */
const cuttings = [1, 2, 3, 4];

/** The cheapest layout of records: completions in one placement or another, rows of attention as long as the longest span or longer. */
export function layoutOf(
  records: readonly Scorable[],
  roles: readonly RoleLayout[],
  {
    slots = records.length,
    hidden = 64,
    placements = allPlacements,
    rounding = "few",
    shapes = [],
    grow = false,
  }: LayoutOptions = {},
): Layout {
  const settings = { slots, hidden, rounding, shapes, grow };
  let best: Candidate | undefined;
  for (const segmented of segmentations(records, roles, placements))
    for (const spare of spares)
      for (const candidate of candidatesOf(segmented, spare, roles, settings))
        if (!best || precedes(candidate, best)) best = candidate;
  // A shape that holds the numbers may still be too small for the rows: then the batch gets one of its own.
  if (!best) return layoutOf(records, roles, { slots, hidden, placements, rounding });
  const { shape, from, segmented, spans, spare } = best;
  const { segments, counts, placement } = segmented;
  return {
    shape,
    from,
    segments,
    spans: place(spans, shape, spare),
    owners: counts.owners,
    placement,
    tokens: tokensIn(segments),
  };
}

/** A way to lay a batch out. */
interface Candidate {
  readonly cost: number;
  readonly shape: PackShape;
  readonly from?: PackShape;
  readonly segmented: Segmented;
  readonly spans: readonly Span[];
  readonly spare: number;
}

/** Whether one goes before another: a shape that there is a program for before one of the batch's own, then what costs less. */
const precedes = (a: Candidate, b: Candidate): boolean =>
  !a.from === !b.from ? a.cost < b.cost : a.from !== undefined;

type Settings = Required<Omit<LayoutOptions, "placements">>;

/** The ways to lay segments out, `spare` tokens and slots of the first row kept for padding. */
function* candidatesOf(
  segmented: Segmented,
  spare: number,
  roles: readonly RoleLayout[],
  settings: Settings,
): Iterable<Candidate> {
  const { hidden, rounding, shapes, grow } = settings;
  const { segments } = segmented;
  const tokens = tokensIn(segments);
  const known = new Map<number, readonly Span[]>();
  const spansIn = ({ queries }: Pick<RowSize, "queries">) => {
    const spans =
      known.get(queries) ??
      segments.flatMap((s) => spansOf(s, queries)).sort((a, b) => b.keys - a.keys || b.queries - a.queries);
    known.set(queries, spans);
    return spans;
  };
  const { least, exact } = sizesOf(segmented, spare, roles, settings);
  const looks = ({ queries }: Pick<RowSize, "queries">) => looksOf(segments, queries);
  const holding = grow ? [] : shapes.filter((s) => holds(s, { ...exact, copies: looks(s) }));
  const grown = (from: PackShape) => {
    const [size] = rowSizes(spansIn(from), rounding, spare);
    const shape = union(from, { ...least, ...size, copies: looks(from), rows: 0 });
    return shape ? [{ shape, from }] : [];
  };
  const own = () =>
    cutLengths(segments)
      .flatMap((queries) => rowSizes(spansIn({ queries }), rounding, spare))
      .map((s) => ({ shape: { ...least, ...s, copies: looks(s), rows: 0 }, from: undefined }));
  const wanted = grow
    ? shapes.flatMap(grown)
    : holding.length > 0
      ? holding.map((from) => ({ shape: from, from }))
      : own();
  for (const { shape: given, from } of wanted) {
    if (spare === 0 && tokens % given.queries !== 0) continue; // not full
    const spans = spansIn(given);
    const rows = rowsFor(spans, given, spare);
    if (rows === undefined || (holding.length > 0 && rows > given.rows)) continue;
    const shape =
      rows <= given.rows ? given : { ...given, rows: rounding === "none" ? rows : roundedUp(rows, 8) };
    if (spare === 0 && !isFull(shape, spans, tokens)) continue;
    // What a shape grows by, other batches pay for too.
    const cost = layerCost(shape, hidden) * (grow ? 2 : 1) - (grow && from ? layerCost(from, hidden) : 0);
    yield { cost, shape, from, segmented, spans, spare };
  }
}

/** The numbers that a shape for segments must hold, as they are and rounded up; all but those of its rows of attention. */
function sizesOf(
  { segments, counts }: Segmented,
  spare: number,
  roles: readonly RoleLayout[],
  { slots, rounding, grow }: Settings,
) {
  const { prompts, others } = tokenCounts(segments);
  const up = grow ? upTo8 : rounders[rounding];
  const [promptTokens, otherTokens] = [prompts && up(prompts), up(others + spare)];
  const scores = counts.tokens.map((n) => Math.max(8, up(n)));
  const few = rounding === "few";
  const least = {
    prompts: promptTokens,
    others: few ? otherTokens : wholeBlocks(promptTokens + otherTokens) - promptTokens,
    scored: few ? scores : inWholeBlocks(scores),
    units: roles.map((role, k) => (role.many ? roundedUp(counts.units[k]) : slots)),
    records: slots,
  };
  return { least, exact: { ...least, prompts, others: others + spare, scored: counts.tokens } };
}

/** Records in segments for each of these placements, of which one does where no prompt has several completions. */
function segmentations(
  records: readonly Scorable[],
  roles: readonly RoleLayout[],
  placements: Placements,
): Segmented[] {
  const [first, ...others] = placements.map((placement) => ({
    placement,
    ...segmentsOf(records, roles, placement),
  }));
  const branching = first.segments.some(({ branches }) => branches.length > 1);
  const differ = ({ segments }: Segmented) => branching || segments.length !== first.segments.length;
  return [first, ...others.filter(differ)];
}

type Segmented = ReturnType<typeof segmentsOf> & Pick<Layout, "placement">;

/** Numbers of queries that prompts which several rows look at may be cut to; no fewer than the longest of all other spans has. */
function cutLengths(segments: readonly Segment[]): number[] {
  const split = segments.filter(isSplit);
  const longest = Math.max(0, ...split.map((s) => s.prompt.length));
  const others = Math.max(1, ...split.flatMap((s) => s.branches.map(laidLength)));
  return [...new Set(cuttings.map((n) => Math.max(others, Math.ceil(longest / n))))];
}

/**
 * Whether nothing of a shape is padding, no token and no query; and tokens of split prompts that fewer rows look at than others have a key
 * that nobody looks at for want of another.
 */
function isFull(shape: PackShape, spans: readonly Span[], tokens: number): boolean {
  const placed = spans.filter((s) => s.queries > 0); // a branch without tokens has no row
  const queries = placed.reduce((n, s) => n + s.queries, 0);
  const keys = placed.reduce((n, s) => n + s.keys, 0);
  return (
    tokensOfShape(shape) === tokens &&
    shape.rows * shape.queries === queries &&
    (shape.copies * shape.prompts === keys - shape.others || keys < shape.rows * shape.keys)
  );
}

/** Lengths of rows to choose among; where there is padding one more than the longest needs, as the first row keeps one for it. */
function rowSizes(spans: readonly Span[], rounding: Rounding, spare: number) {
  const fine = rounding !== "few";
  const longest = (of: (s: Span) => number) => Math.max(0, ...spans.map(of)) + spare;
  const sizes = (n: number) => {
    const found = stretches[fine ? "fine" : "few"].map((f) => finelyRoundedUp(Math.ceil(n * f)));
    return [...new Set(fine ? [upTo8(n), ...found.slice(1)] : found)];
  };
  const queries = sizes(longest((s) => s.queries));
  return sizes(longest((s) => s.keys)).flatMap((keys) => queries.map((q) => ({ queries: q, keys })));
}

type RowSize = Pick<PackShape, "queries" | "keys">;

/**
 * First fit: each span, in the order given, into the first row with room, which is handed to `at`. The first row keeps its last `spare`
 * slots for padding. Returns the number of rows; undefined where a span is longer than a row.
 */
function rowsFor(
  spans: readonly Span[],
  size: RowSize,
  spare: number,
  at?: (span: Span, row: number, firstQuery: number, firstKey: number) => void,
): number | undefined {
  const [queries, keys] = [[0], [0]];
  for (const span of spans) {
    if (span.queries === 0) continue;
    if (span.queries > size.queries || span.keys > size.keys) return undefined;
    let row = 0;
    for (; row < queries.length; row++) {
      const padding = row === 0 ? spare : 0;
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
function place(spans: readonly Span[], size: RowSize, spare: number): PlacedSpan[] {
  const placed: PlacedSpan[] = [];
  rowsFor(spans, size, spare, (span, row, firstQuery, firstKey) =>
    placed.push({ ...span, row, firstQuery, firstKey }),
  );
  return placed;
}
