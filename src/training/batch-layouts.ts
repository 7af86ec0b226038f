/**
 * How the batches of a run are cut into pieces and laid out: at their own sizes, or where these are fixed, in shapes chosen before the run.
 */
import type { TokenRow } from "../data/token-row.ts";
import type { CausalLm } from "../models/causal-lm.ts";
import { type Layout, type LayoutOptions, layoutOf } from "../scoring/layout.ts";
import { type PackShape, structureOf, tokensOfShape } from "../scoring/pack-shape.ts";
import { type PackedBatch, pack } from "../scoring/packing.ts";
import { type Placements, placementsFor, placementsOfRun } from "../scoring/placements.ts";
import { laidTokens } from "../scoring/segments.ts";
import { type ModelCost, grownShapes, planShapes, shapeFlops } from "../scoring/shape-plan.ts";
import type { RoleRequest } from "../scoring/text-graph.ts";

/** Records of a batch that go through the model together. */
export interface Piece {
  /** Their places in the batch. */
  readonly places: readonly number[];
  readonly rows: readonly TokenRow[];
  /** Record slots of its layout. */
  readonly slots: number;
}

/** What is known of the shapes of a run. */
export interface RunShapes {
  /** Among these is the one that needs the most memory; the one with the most work comes first. */
  readonly largest: readonly PackShape[];
  /** How many programs are compiled for them, about. */
  readonly programs: number;
}

/**
 * Programs of pieces that are alike in structure: that of the first of a batch, and one that adds its gradients. Where each batch is one piece,
 * the second stands for those of reference scores and updates.
 */
const programsEach = 2;

/** What a piece may hold: tokens, in at most so many slots of records. */
interface Room {
  readonly tokens: number;
  readonly slots: number;
}

export class BatchLayouts {
  readonly #architecture: CausalLm;
  readonly #roles: readonly RoleRequest[];
  readonly #coupled: boolean;
  readonly #fixed: boolean;
  #shapes: readonly PackShape[] = [];
  #room: Room | undefined;
  #placements: Placements;

  /**
   * `coupled`: losses of a batch depend on one another. `fixed`: a program is compiled for a shape, so that they should be few. `placements`:
   * those of the run, where it has been planned.
   */
  constructor(
    architecture: CausalLm,
    roles: readonly RoleRequest[],
    coupled: boolean,
    fixed: boolean,
    placements?: Placements,
  ) {
    this.#placements = placementsFor(architecture.rope, placements);
    this.#architecture = architecture;
    this.#roles = roles;
    this.#coupled = coupled;
    this.#fixed = fixed;
  }

  /** Learns from batches, which are `share` of the run, how large pieces are, and where sizes are fixed chooses their shapes. */
  plan(batches: readonly (readonly TokenRow[])[], microBatch: number, share = 1): RunShapes {
    const { hiddenSize, layers, vocabularySize } = this.#architecture;
    this.#room = undefined;
    if (!this.#coupled && batches.some((rows) => rows.length > microBatch)) {
      const cuts = batches.flatMap((rows) =>
        balanced(
          rows.map((r) => this.#tokensOf(r)),
          Math.ceil(rows.length / microBatch),
        ),
      );
      const tokens = Math.max(...cuts.map((p) => p.tokens));
      const slots = Math.max(
        ...batches.flatMap((rows) => this.#fewest(rows, { tokens, slots: Infinity }).map((p) => p.length)),
      );
      this.#room = { tokens, slots };
    }
    const pieces = batches.flatMap((rows) => this.pieces(rows, microBatch));
    const model = { hidden: hiddenSize, layers, vocabulary: vocabularySize };
    const rounding = this.#fixed ? "fine" : "none";
    const shapeOf = (piece: Piece, placements?: Placements) =>
      this.#layoutOf(piece, { rounding, placements }).shape;
    this.#placements = placementsOfRun(this.#architecture.rope, hiddenSize, pieces, shapeOf);
    const own = pieces.map((p) => shapeOf(p, this.#placements));
    if (this.#fixed) {
      this.#shapes = grownShapes(
        planShapes(own, model, share),
        pieces.map((p) => (options) => this.#layoutOf(p, options)),
      );
    }
    return this.#fixed
      ? { largest: largest(this.#shapes, model), programs: this.#shapes.length }
      : { largest: largest(own, model), programs: programsEach * new Set(own.map(structureOf)).size };
  }

  /**
   * A batch cut into pieces, whose missing records have weight 0. In a planned run they hold about as many tokens as one another, and there
   * are as few as find room in the largest of the run, where each batch is cut by the number of records: fewer and larger pieces cost less.
   * Where losses depend on one another, records are not weighed in the graph: then pieces are cut by number, and the last has its own size.
   */
  pieces(rows: readonly TokenRow[], microBatch: number): Piece[] {
    const room = this.#room;
    const places = room && rows.length > microBatch ? this.#fewest(rows, room) : byNumber(rows, microBatch);
    return places.map((own) => {
      const slots = this.#coupled || rows.length <= microBatch ? own.length : (room?.slots ?? microBatch);
      return { places: own, rows: own.map((i) => rows[i]), slots };
    });
  }

  /** Lays a piece out. */
  pack(rows: readonly TokenRow[], slots: number, roles = this.#roles): PackedBatch {
    const { rope, hiddenSize } = this.#architecture;
    const shapes = roles === this.#roles ? this.#shapes : undefined;
    return pack(rows, roles, rope, {
      slots,
      hidden: hiddenSize,
      shapes,
      placements: this.#placements,
      rounding: this.#fixed ? "few" : "none",
    });
  }

  /** How completions stand with their prompts in this run. */
  get placements(): Placements {
    return this.#placements;
  }

  #layoutOf({ rows, slots }: Piece, options: LayoutOptions): Layout {
    const { rope, hiddenSize } = this.#architecture;
    return layoutOf(rows, this.#roles, {
      slots,
      hidden: hiddenSize,
      ...options,
      placements: placementsFor(rope, options.placements ?? this.#placements),
    });
  }

  /** Places of records in as few pieces of about the same size as find room. A record that finds none has a piece of its own size. */
  #fewest(rows: readonly TokenRow[], room: Room): (readonly number[])[] {
    const lengths = rows.map((r) => this.#tokensOf(r));
    const tokens = Math.max(room.tokens, ...lengths);
    const all = lengths.reduce((a, b) => a + b, 0);
    for (let count = Math.max(1, Math.ceil(all / tokens)); ; count++) {
      const pieces = balanced(lengths, count);
      const fits = pieces.every((p) => p.tokens <= tokens && p.places.length <= room.slots);
      if (fits || count >= rows.length) return pieces.map((p) => p.places);
    }
  }

  /** Tokens of a record that are laid out, its prompts shared where they may be. */
  #tokensOf(row: TokenRow): number {
    return laidTokens(row, this.#roles, placementsFor(this.#architecture.rope)[0]);
  }
}

/** The shapes with the most work, tokens, looks of tokens at others, and scored tokens; the one with the most work first. */
function largest(shapes: readonly PackShape[], model: ModelCost): PackShape[] {
  const measures = [
    (s: PackShape) => shapeFlops(s, model),
    tokensOfShape,
    (s: PackShape) => s.rows * s.queries * s.keys,
    (s: PackShape) => s.scored.reduce((a, b) => a + b, 0),
  ];
  const found = measures.map((of) => shapes.reduce((a, b) => (of(b) > of(a) ? b : a)));
  return [...new Set(found)];
}

/** Records of these lengths in so many pieces: longest first, each into the piece that is the shortest so far. */
function balanced(
  lengths: readonly number[],
  count: number,
): { readonly tokens: number; readonly places: readonly number[] }[] {
  const order = lengths.map((_, i) => i).sort((a, b) => lengths[b] - lengths[a] || a - b);
  const pieces = Array.from({ length: count }, () => ({ tokens: 0, places: [] as number[] }));
  for (const i of order) {
    const shortest = pieces.reduce((a, b) => (b.tokens < a.tokens ? b : a));
    shortest.tokens += lengths[i];
    shortest.places.push(i);
  }
  return pieces.flatMap(({ tokens, places }) =>
    places.length > 0 ? [{ tokens, places: places.sort((a, b) => a - b) }] : [],
  );
}

/** Places of records, so many at a time. */
function byNumber(rows: readonly TokenRow[], count: number): number[][] {
  const all = rows.map((_, i) => i);
  return Array.from({ length: Math.ceil(rows.length / count) }, (_, i) =>
    all.slice(i * count, (i + 1) * count),
  );
}

/** Sums over the pieces of a batch. */
export class LaidOut {
  #tokens = 0;
  #padded = 0;
  #shared = true;

  take({ shape, tokens, placement }: PackedBatch): void {
    this.#tokens += tokens;
    this.#padded += tokensOfShape(shape);
    this.#shared &&= placement !== "apart";
  }

  totals() {
    return { tokens: this.#tokens, padded: this.#padded, sharedPrompts: this.#shared };
  }
}
