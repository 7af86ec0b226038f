/**
 * The compiled heart of training: a packed batch in, losses, log-probabilities, rewards and (where wanted) gradients out.
 * Objective and model are one graph, compiled once where sizes are free. A batch may be cut into pieces in any way:
 * every piece knows the size of the whole batch, so its share of the loss and of the gradient is the same.
 */
import { withMismatched } from "../data/row-kinds/unpaired.ts";
import { type TokenRow, completionsOf, tokensOf } from "../data/token-row.ts";
import type { TensorArray } from "../engine/backends/backend.ts";
import { peakBytes } from "../engine/memory.ts";
import { writtenFor } from "../engine/program.ts";
import { evaluateExamples } from "../objectives/evaluate-examples.ts";
import type { RunningMean } from "../objectives/given-batch.ts";
import { HiddenStates } from "../scoring/hidden-states.ts";
import type { PackShape } from "../scoring/pack-shape.ts";
import type { Placements } from "../scoring/placements.ts";
import type { PackedBatch } from "../scoring/packing.ts";
import { ShapePrograms } from "../scoring/shape-programs.ts";
import { type RoleRequest, batchArrays } from "../scoring/text-graph.ts";
import { type RowScores, TextScorer } from "../scoring/text-scorer.ts";
import { BatchLayouts, LaidOut, type RunShapes } from "./batch-layouts.ts";
import { WholeBatchScores, coefficientArrays } from "./coupled-scores.ts";
import {
  type PieceWork,
  type ProgramOptions,
  buildPiece,
  pieceArrays,
  recomputes,
} from "./objective-graph.ts";
import { batchTotals, scoreArrays } from "./packed-scores.ts";
import { averages, referenceStates, roleRequests } from "./score-graph.ts";
import { companionsOf } from "./trained.ts";

/** What one batch gave, a value a record. */
export interface BatchResult {
  /** Mean loss of the batch. */
  readonly loss: number;
  readonly losses: readonly number[];
  /** Summed log-probability of each completion, by role. */
  readonly logps: Readonly<Record<string, readonly number[]>>;
  /** The same of the reference, where its scores are known for every record. */
  readonly referenceLogps: Readonly<Record<string, readonly number[]>>;
  /** Implicit rewards by role, where the objective has them. */
  readonly rewards: Readonly<Record<string, readonly number[]>>;
  /** Other numbers of the objective. */
  readonly metrics: Readonly<Record<string, readonly number[]>>;
  /** Means kept over batches, this one included. */
  readonly running: Readonly<Record<string, RunningMean>>;
  /** Tokens that went through the model, padding not counted. */
  readonly tokens: number;
  /** The same with padding. */
  readonly padded: number;
  /** Whether prompts stood once for all their completions, in every piece. */
  readonly sharedPrompts: boolean;
}

/** Where in its run a batch stands. */
export interface BatchContext {
  readonly step: number;
  readonly epoch: number;
  readonly running: Readonly<Record<string, RunningMean>>;
  /** Held-out data: running means are used and not changed. */
  readonly frozen?: boolean;
}

export class ObjectivePrograms {
  readonly #options: ProgramOptions;
  readonly #roles: readonly RoleRequest[];
  readonly #programs: ShapePrograms;
  readonly #layouts: BatchLayouts;
  readonly #referenceScorer: TextScorer | undefined;
  readonly #referenceStates: HiddenStates | undefined;

  constructor(options: ProgramOptions) {
    this.#options = options;
    this.#roles = roleRequests(options.kind, options.touched, (role) => options.present.has(role));
    const coupled = options.terms.some((t) => t.objective.coupled);
    const { architecture, backend } = options.model;
    this.#programs = new ShapePrograms(backend, { frugal: recomputes(options) });
    const { fixed } = this.#programs;
    this.#layouts = new BatchLayouts(architecture, this.#roles, coupled, fixed, options.placements);
    this.#referenceScorer = options.reference && new TextScorer(options.reference);
    this.#referenceStates = options.reference && new HiddenStates(options.reference);
  }

  /**
   * Evaluates a batch, `microBatch` records at a time (in a planned run so many on average). `reference` holds the reference's per-token
   * scores of each row where they are known. With gradients, those of the batch's mean loss are in the arrays afterwards.
   */
  async run(
    given: readonly TokenRow[],
    reference: readonly RowScores[] | undefined,
    microBatch: number,
    context: BatchContext,
  ): Promise<BatchResult> {
    const { terms } = this.#options;
    const rows = this.#rowsOf(given);
    const scores = await this.#referenceOf(rows, reference);
    const coupled = terms.some((t) => t.objective.coupled);
    const result = coupled
      ? await this.#runCoupled(rows, scores, microBatch, context)
      : await this.#runPieces(rows, scores, microBatch, context);
    return { ...result, referenceLogps: summed(scores, Object.keys(result.logps)) };
  }

  /** Learns how large the pieces of a run are, from batches that are `share` of it. */
  plan(batches: readonly (readonly TokenRow[])[], microBatch: number, share = 1): RunShapes {
    return this.#layouts.plan(
      batches.map((rows) => this.#rowsOf(rows)),
      microBatch,
      share,
    );
  }

  /** How completions stand with their prompts, in a planned run in all its batches. */
  get placements(): Placements {
    return this.#layouts.placements;
  }

  /** Frees its programs and what they worked with. */
  async release(): Promise<void> {
    await this.#programs.release();
    await this.#referenceScorer?.release();
    await this.#referenceStates?.release();
  }

  async #runPieces(
    rows: readonly TokenRow[],
    reference: readonly RowScores[] | undefined,
    microBatch: number,
    { step, epoch }: BatchContext,
  ): Promise<PieceResult> {
    const { kind, fields, seed } = this.#options;
    const totals = batchTotals(rows, this.#roles, epoch);
    // The first piece writes its gradients and the others add theirs; where that takes two programs a shape, all add, to zeros.
    const allAdd = rows.length > microBatch && this.#programs.fixed;
    if (allAdd) this.#clearGradients();
    const losses = new Array<number>(rows.length);
    const lists = { logp: named(), reward: named(), metric: named() };
    const laid = new LaidOut();
    let loss = 0;
    for (const [i, { places, rows: piece, slots }] of this.#layouts.pieces(rows, microBatch).entries()) {
      const add = i > 0 || allAdd;
      const batch = this.#layouts.pack(piece, slots);
      const own = { kind, totals, fields, reference: reference && places.map((p) => reference[p]) };
      const arrays = await this.#arrays(batch);
      Object.assign(arrays, scoreArrays(batch, piece, this.#roles, { ...own, seed: seed + step }));
      const outputs = await this.#runPiece({ kind: "objective", add }, batch.shape, arrays);
      loss += (outputs.loss as Float32Array)[0];
      for (const [name, values] of Object.entries(outputs)) {
        const [prefix, ...rest] = name.split("/");
        const take = (list: number[]) => places.forEach((p, k) => (list[p] = (values as Float32Array)[k]));
        if (name === "losses") take(losses);
        else if (prefix === "logp" || prefix === "reward" || prefix === "metric")
          take((lists[prefix][rest.join("/")] ??= new Array<number>(rows.length)));
      }
      laid.take(batch);
    }
    const { logp: logps, reward: rewards, metric: metrics } = lists;
    return { loss, losses, logps, rewards, metrics, running: {}, ...laid.totals() };
  }

  /**
   * A batch whose losses depend on one another: scores of all its records first, then the objective on them as numbers, then its
   * gradient, a coefficient for each number, back through the model piece by piece.
   */
  async #runCoupled(
    rows: readonly TokenRow[],
    reference: readonly RowScores[] | undefined,
    microBatch: number,
    context: BatchContext,
  ): Promise<PieceResult> {
    const { model, terms, kind, seed, computeGradients } = this.#options;
    const whole = new WholeBatchScores(this.#roles, rows, reference);
    const pieces = this.#layouts.pieces(rows, microBatch);
    for (const { places, rows: piece, slots } of pieces) {
      const batch = this.#layouts.pack(piece, slots);
      const outputs = await this.#runPiece({ kind: "scores" }, batch.shape, await this.#arrays(batch));
      whole.take(places, batch, outputs);
    }
    const evaluated = await evaluateExamples(model.backend, terms, kind, whole.examples(), {
      ...context,
      seed: seed + context.step,
    });
    const laid = new LaidOut();
    if (computeGradients) {
      const coefficients = whole.coefficients(evaluated.gradients);
      // What this batch pulls at may differ from what the last one did.
      this.#clearGradients();
      // Completions that nothing pulls at (a mismatched one stands for a mean) need not go through the model again.
      const pulled = this.#roles.filter((r) => coefficients.roles.has(r.name));
      const roles = pulled.length === this.#roles.length ? this.#roles : pulled;
      for (const { places, rows: piece, slots } of pieces) {
        const batch = this.#layouts.pack(piece, slots, roles);
        const arrays = await this.#arrays(batch, roles);
        Object.assign(arrays, coefficientArrays(batch, roles, coefficients, places));
        await this.#runPiece({ kind: "coefficients", roles, coefficients }, batch.shape, arrays);
        laid.take(batch);
      }
    }
    const { loss, losses, rewards, metrics, running } = evaluated;
    const scored = rows.reduce((n, r) => n + tokensOf(r), 0);
    const totals = computeGradients ? laid.totals() : { ...laid.totals(), tokens: scored, padded: scored };
    return { loss, losses, rewards, metrics, running, logps: whole.logps(), ...totals };
  }

  /** Reference scores of the batch: those known beforehand, and now the others that objectives touch. */
  async #referenceOf(
    rows: readonly TokenRow[],
    known: readonly RowScores[] | undefined,
  ): Promise<readonly RowScores[] | undefined> {
    const { touched, liveReference } = this.#options;
    const wanted = this.#roles
      .map((r) => r.name)
      .filter((role) => touched.tokens.get(role)?.has("reference"));
    const missing = wanted.filter(
      (role) => liveReference || !known || rows.some((row, i) => hasRole(row, role) && !known[i][role]),
    );
    if (missing.length === 0) return known;
    if (!this.#referenceScorer) throw new TypeError("the objective touches a reference that is not loaded");
    const scored = await this.#referenceScorer.scoreRows(rows, missing);
    return scored.map((own, i) => ({ ...known?.[i], ...own }));
  }

  /** The rows of a batch, with completions of one another where the objective compares with such. */
  #rowsOf(given: readonly TokenRow[]): readonly TokenRow[] {
    const { touched, kind, maxLength } = this.#options;
    const mismatched = kind === "unpaired" && touched.tokens.has("mismatched");
    return mismatched ? withMismatched(given, maxLength) : given;
  }

  /** The arrays of a batch, with the reference's states where divergences are touched. */
  async #arrays(
    batch: PackedBatch,
    roles: readonly RoleRequest[] = this.#roles,
  ): Promise<Record<string, TensorArray>> {
    const { touched, terms } = this.#options;
    const arrays = batchArrays(batch, roles);
    if (companionsOf(terms).head?.pooling === "mean")
      roles.forEach(({ name }, k) => (arrays[`${name}/averages`] = averages(batch, k)));
    if (touched.referenceVocabulary && this.#referenceStates)
      arrays[referenceStates] = await this.#referenceStates.at(batch, roles);
    return arrays;
  }

  #clearGradients(): void {
    if (!this.#options.computeGradients) return;
    for (const { gradients } of this.#options.trained) gradients.clear();
  }

  async #runPiece(
    work: PieceWork,
    shape: PackShape,
    arrays: Record<string, TensorArray>,
  ): Promise<Readonly<Record<string, TensorArray>>> {
    const pull = work.kind === "coefficients" && [work.roles, [...work.coefficients.names].sort()];
    const key = JSON.stringify([work.kind, work.kind === "objective" && work.add, pull]);
    const program = await this.#programs.get(key, shape, {
      build: (own) => buildPiece(this.#options, this.#roles, work, own),
      arrays: () => pieceArrays(this.#options),
    });
    return program.with(arrays);
  }

  /** What the program of a shape holds between its inputs and outputs, in bytes, and the nodes of its graph; nothing is compiled. */
  predict(shape: PackShape, add: boolean): { readonly values: number; readonly nodes: number } {
    const coupled = this.#options.terms.some((t) => t.objective.coupled);
    const work: PieceWork = coupled ? { kind: "all" } : { kind: "objective", add };
    const { graph, outputs } = writtenFor(
      this.#options.model.backend,
      buildPiece(this.#options, this.#roles, work, shape),
      { frugal: recomputes(this.#options) },
    );
    return { values: peakBytes(graph, outputs), nodes: graph.nodes.length };
  }
}

type PieceResult = Omit<BatchResult, "referenceLogps">;

const named = (): Record<string, number[]> => ({});

/** Sums of per-token scores by role, for the roles that every row has once. */
function summed(
  scores: readonly RowScores[] | undefined,
  roles: readonly string[],
): Record<string, number[]> {
  const known = roles.filter((role) => scores?.every((s) => s[role]?.length === 1));
  return Object.fromEntries(
    known.map((role) => [role, (scores ?? []).map((s) => s[role][0].reduce((a, b) => a + b, 0))]),
  );
}

const hasRole = (row: TokenRow, role: string) => completionsOf(row, role).length > 0;
