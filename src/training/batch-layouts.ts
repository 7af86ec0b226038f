/** How the batches of a run are cut into pieces and laid out: in shapes chosen before the run, where they have been. */
import type { TokenRow } from "../data/token-row.ts";
import type { CausalLm } from "../models/causal-lm.ts";
import { type PackShape, layoutOf } from "../scoring/layout.ts";
import { type PackedBatch, pack } from "../scoring/packing.ts";
import { planShapes, shapeFlops } from "../scoring/shape-plan.ts";
import type { RoleRequest } from "../scoring/text-graph.ts";

/** Records of a batch that go through the model together. */
export interface Piece {
  /** Of its first record in the batch. */
  readonly start: number;
  readonly piece: readonly TokenRow[];
  /** Record slots of its layout. */
  readonly slots: number;
}

export class BatchLayouts {
  readonly #architecture: CausalLm;
  readonly #roles: readonly RoleRequest[];
  readonly #coupled: boolean;
  #shapes: readonly PackShape[] = [];

  /** `coupled`: losses of a batch depend on one another. */
  constructor(architecture: CausalLm, roles: readonly RoleRequest[], coupled: boolean) {
    this.#architecture = architecture;
    this.#roles = roles;
    this.#coupled = coupled;
  }

  /**
   * Chooses the shapes of a run beforehand, from batches that are `share` of it. Returns them, the costliest first.
   */
  plan(batches: readonly (readonly TokenRow[])[], microBatch: number, share = 1): readonly PackShape[] {
    const { hiddenSize, layers, vocabularySize } = this.#architecture;
    const uses = batches.flatMap((rows) => this.pieces(rows, microBatch).map((p) => this.#shapeOf(p)));
    const model = { hidden: hiddenSize, layers, vocabulary: vocabularySize };
    this.#shapes = planShapes(uses, model, share);
    return [...this.#shapes].sort((a, b) => shapeFlops(b, model) - shapeFlops(a, model));
  }

  /**
   * A batch cut into pieces. A last, smaller piece keeps the size of the others, its missing records with weight 0; where losses depend on
   * one another, records are not weighed in the graph, and it has its own size.
   */
  pieces(rows: readonly TokenRow[], microBatch: number): Piece[] {
    return Array.from({ length: Math.ceil(rows.length / microBatch) }, (_, i) => {
      const piece = rows.slice(i * microBatch, (i + 1) * microBatch);
      const slots = this.#coupled || rows.length <= microBatch ? piece.length : microBatch;
      return { start: i * microBatch, piece, slots };
    });
  }

  /** Lays a piece out. */
  pack(rows: readonly TokenRow[], slots: number, roles = this.#roles): PackedBatch {
    const { rope, hiddenSize } = this.#architecture;
    const shapes = roles === this.#roles ? this.#shapes : undefined;
    return pack(rows, roles, rope, { slots, hidden: hiddenSize, shapes });
  }

  #shapeOf({ piece, slots }: Piece): PackShape {
    const { rope, hiddenSize } = this.#architecture;
    const options = { slots, hidden: hiddenSize, apart: rope.dependsOnLength, fine: true };
    return layoutOf(piece, this.#roles, options).shape;
  }
}

/** Sums over the pieces of a batch. */
export class LaidOut {
  #tokens = 0;
  #padded = 0;
  #shared = true;

  take({ shape, tokens, shared }: PackedBatch): void {
    this.#tokens += tokens;
    this.#padded += shape.rows * shape.time;
    this.#shared &&= shared;
  }

  totals() {
    return { tokens: this.#tokens, padded: this.#padded, sharedPrompts: this.#shared };
  }
}
