/**
 * The compiled heart of training: packed rows in, losses, log-probabilities, rewards and (where wanted) gradients out.
 * Objective and model are one graph; a program is compiled per shape and kept. A batch may be cut into pieces in any way:
 * every piece knows the size of the whole batch, so its share of the loss and of the gradient is the same.
 */
import { promptSuffix } from "../data/record-kinds.ts";
import type { RecordKind } from "../data/record-kinds.ts";
import { withMismatched } from "../data/row-kinds/unpaired.ts";
import { type TokenRow, completionsOf, tokensOf } from "../data/token-row.ts";
import type { TensorArray } from "../engine/backends/backend.ts";
import { gradients as differentiate } from "../engine/gradient.ts";
import { Graph } from "../engine/graph.ts";
import { segmentSum } from "../engine/ops/indexing.ts";
import { compile } from "../engine/program.ts";
import type { Tensor } from "../engine/tensor.ts";
import { modelArrays } from "../models/declare.ts";
import type { LanguageModel } from "../models/language-model.ts";
import { type Term, combine } from "../objectives/combined.ts";
import { evaluateExamples } from "../objectives/evaluate-examples.ts";
import type { RunningMean } from "../objectives/given-batch.ts";
import type { Touched } from "../objectives/touched.ts";
import { HiddenStates } from "../scoring/hidden-states.ts";
import { type PackShape, type PackedBatch, pack } from "../scoring/packing.ts";
import { type RoleRequest, batchArrays } from "../scoring/text-graph.ts";
import { ReusableProgram } from "../scoring/reusable-program.ts";
import { type RowScores, TextScorer } from "../scoring/text-scorer.ts";
import { type Coefficients, WholeBatchScores, coefficientArrays, weightedSum } from "./coupled-scores.ts";
import { PackedScores, batchTotals, scoreArrays } from "./packed-scores.ts";
import { averages, buildScores, referencePrefix, referenceStates, roleRequests } from "./score-graph.ts";
import { type Trained, companionsOf, prefixOf } from "./trained.ts";

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
}

export interface ProgramOptions {
  readonly model: LanguageModel;
  readonly terms: readonly Term[];
  readonly touched: Touched;
  readonly kind: RecordKind;
  /** Optional record fields that occur in the data. */
  readonly fields: ReadonlySet<string>;
  /** Roles that occur in the data. */
  readonly present: ReadonlySet<string>;
  /** Everything that has parameters in the graph; without gradients only weights count. */
  readonly trained: readonly Trained[];
  readonly computeGradients: boolean;
  /** The reference, where something of it cannot be computed beforehand. */
  readonly reference?: LanguageModel;
  /** Score everything with the reference as it is now, nothing from before. */
  readonly liveReference?: boolean;
  readonly maxLength: number;
  readonly seed: number;
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
  readonly #programs = new Map<string, Promise<ReusableProgram>>();
  readonly #referenceScorer: TextScorer | undefined;
  readonly #referenceStates: HiddenStates | undefined;

  constructor(options: ProgramOptions) {
    this.#options = options;
    this.#roles = roleRequests(options.kind, options.touched, (role) => options.present.has(role));
    this.#referenceScorer = options.reference && new TextScorer(options.reference);
    this.#referenceStates = options.reference && new HiddenStates(options.reference);
  }

  /**
   * Evaluates a batch, `microBatch` records at a time. `reference` holds the reference's per-token scores of each row where they are
   * known. With gradients, those of the batch's mean loss are in the arrays afterwards.
   */
  async run(
    given: readonly TokenRow[],
    reference: readonly RowScores[] | undefined,
    microBatch: number,
    context: BatchContext,
  ): Promise<BatchResult> {
    const { terms, touched, kind, maxLength } = this.#options;
    const mismatched = kind === "unpaired" && touched.tokens.has("mismatched");
    const rows = mismatched ? withMismatched(given, maxLength) : given;
    const scores = await this.#referenceOf(rows, reference);
    const coupled = terms.some((t) => t.objective.coupled);
    const result = coupled
      ? await this.#runCoupled(rows, scores, microBatch, context)
      : await this.#runPieces(rows, scores, microBatch, context);
    return { ...result, referenceLogps: summed(scores, Object.keys(result.logps)) };
  }

  /** Frees its programs and what they worked with. */
  async release(): Promise<void> {
    for (const program of this.#programs.values()) (await program).release();
    this.#programs.clear();
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
    const add = rows.length > microBatch;
    if (add) this.#clearGradients();
    const lists = { loss: [] as number[], logp: named(), reward: named(), metric: named() };
    let [loss, tokens] = [0, 0];
    for (let start = 0; start < rows.length; start += microBatch) {
      const piece = rows.slice(start, start + microBatch);
      // A last, smaller piece keeps the size of the others, its missing records with weight 0.
      const batch = this.#pack(piece, rows.length > microBatch ? microBatch : piece.length);
      const own = { kind, totals, fields, reference: reference?.slice(start, start + microBatch) };
      const arrays = await this.#arrays(batch);
      Object.assign(arrays, scoreArrays(batch, piece, this.#roles, { ...own, seed: seed + step }));
      const outputs = await this.#runPiece({ kind: "objective", add }, batch.shape, arrays);
      loss += (outputs.loss as Float32Array)[0];
      for (const [name, values] of Object.entries(outputs)) {
        const [prefix, ...rest] = name.split("/");
        const taken = () => Array.from((values as Float32Array).subarray(0, piece.length));
        if (name === "losses") lists.loss.push(...taken());
        else if (prefix === "logp" || prefix === "reward" || prefix === "metric")
          (lists[prefix][rest.join("/")] ??= []).push(...taken());
      }
      tokens += batch.tokens;
    }
    const { logp: logps, reward: rewards, metric: metrics } = lists;
    return { loss, losses: lists.loss, logps, rewards, metrics, running: {}, tokens };
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
    const pieces = Array.from({ length: Math.ceil(rows.length / microBatch) }, (_, i) => i * microBatch);
    for (const start of pieces) {
      const piece = rows.slice(start, start + microBatch);
      const batch = this.#pack(piece, piece.length);
      const outputs = await this.#runPiece({ kind: "scores" }, batch.shape, await this.#arrays(batch));
      whole.take(start, batch, outputs);
    }
    const evaluated = await evaluateExamples(model.backend, terms, kind, whole.examples(), {
      ...context,
      seed: seed + context.step,
    });
    let tokens = rows.reduce((n, r) => n + tokensOf(r), 0);
    if (computeGradients) {
      tokens = 0;
      const coefficients = whole.coefficients(evaluated.gradients);
      // What this batch pulls at may differ from what the last one did.
      this.#clearGradients();
      // Completions that nothing pulls at (a mismatched one stands for a mean) need not go through the model again.
      const roles = this.#roles.filter((r) => coefficients.roles.has(r.name));
      for (const start of pieces) {
        const piece = rows.slice(start, start + microBatch);
        const batch = pack(piece, roles, model.architecture.rope, piece.length);
        const arrays = await this.#arrays(batch, roles);
        Object.assign(arrays, coefficientArrays(batch, roles, coefficients, start));
        await this.#runPiece({ kind: "coefficients", roles, coefficients }, batch.shape, arrays);
        tokens += batch.tokens;
      }
    }
    const { loss, losses, rewards, metrics, running } = evaluated;
    return { loss, losses, rewards, metrics, running, logps: whole.logps(), tokens };
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

  #pack(rows: readonly TokenRow[], slots: number): PackedBatch {
    return pack(rows, this.#roles, this.#options.model.architecture.rope, slots);
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
    const key = JSON.stringify([work.kind, work.kind === "objective" && work.add, shape, pull]);
    const program = this.#programs.get(key) ?? this.#compile(work, shape);
    this.#programs.set(key, program);
    return (await (await program).with(arrays)).outputs;
  }

  async #compile(work: PieceWork, shape: PackShape): Promise<ReusableProgram> {
    const { model, terms, kind: records, fields, trained, touched, reference } = this.#options;
    const roles = work.kind === "coefficients" ? work.roles : this.#roles;
    const graph = new Graph();
    const { head } = companionsOf(terms);
    const built = buildScores(graph, shape, { model, reference, touched, roles, head });
    const outputs: Record<string, Tensor> = {};
    if (work.kind === "scores") WholeBatchScores.outputs(graph, built, roles, touched, outputs);
    else {
      const loss =
        work.kind === "coefficients"
          ? weightedSum(graph, built, work.coefficients)
          : objectiveOutputs(
              terms,
              records,
              new PackedScores(graph, built.batch, built.scores, records, fields),
              outputs,
            );
      outputs.loss = loss;
      built.scores.policy.roles.forEach((s, k) => {
        if (roles[k].many || promptSuffix.test(roles[k].name)) return;
        outputs[`logp/${roles[k].name}`] = graph.untaped(() => segmentSum(s.logps, s.segments, s.units));
      });
      const add = work.kind === "coefficients" || work.add;
      if (this.#options.computeGradients)
        Object.assign(outputs, gradientOutputs(loss, trained, built.parameters, add));
    }
    const program = await compile(model.backend, graph, outputs);
    const arrays = (prefix: string, of: "weights" | "gradients") =>
      Object.assign({}, ...trained.map((t) => t[of].named(prefix + prefixOf(t.name)))) as Record<
        string,
        Float32Array
      >;
    const fixed = {
      ...modelArrays(model),
      ...arrays("", "weights"),
      ...(reference && modelArrays(reference, { base: referencePrefix })),
      ...(this.#options.computeGradients && arrays(ontoPrefix, "gradients")),
    };
    const into = this.#options.computeGradients ? arrays(gradientPrefix, "gradients") : {};
    return new ReusableProgram(program, fixed, into);
  }
}

type PieceResult = Omit<BatchResult, "referenceLogps">;

/** What a program does with a piece: the objective, its gradient added to that of earlier pieces or not; or one half of a coupled one. */
type PieceWork =
  | { readonly kind: "objective"; readonly add: boolean }
  | { readonly kind: "scores" }
  | {
      readonly kind: "coefficients";
      readonly roles: readonly RoleRequest[];
      readonly coefficients: Coefficients;
    };

/** Gradients of everything that is trained, by name; with `add` each is added, in place, to what its array holds. */
function gradientOutputs(
  loss: Tensor,
  trained: readonly Trained[],
  parameters: Readonly<Record<string, readonly Tensor[]>>,
  add: boolean,
): Record<string, Tensor> {
  const wanted = trained.flatMap(({ name }) => parameters[name] ?? []);
  const onto = add ? wanted.map((t) => loss.graph.input(ontoPrefix + t.id, "float", t.shape)) : [];
  const found = differentiate(loss, wanted, { onto });
  return Object.fromEntries(
    found.flatMap((g, i) => (g && g !== onto[i] ? [[gradientPrefix + wanted[i].id, g]] : [])),
  );
}

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

/** The objective's loss; its other outputs are added by name. */
function objectiveOutputs(
  terms: readonly Term[],
  kind: RecordKind,
  source: PackedScores,
  outputs: Record<string, Tensor>,
): Tensor {
  const { losses, loss, rewards, metrics } = combine(terms, kind, source);
  outputs.losses = losses;
  for (const [prefix, tensors] of Object.entries({ reward: rewards, metric: metrics }))
    for (const [name, t] of Object.entries(tensors)) if (t) outputs[`${prefix}/${name}`] = t;
  return loss;
}

const gradientPrefix = "gradient/";
const ontoPrefix = "onto/";
