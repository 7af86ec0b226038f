/**
 * The compiled heart of training: packed rows in, losses, log-probabilities, rewards and (where wanted) gradients out.
 * Objective and model are one graph; a program is compiled per shape and kept. A batch may be cut into pieces in any way:
 * every piece knows the size of the whole batch, so its share of the loss and of the gradient is the same.
 */
import type { TensorArray } from "../engine/backends/backend.ts";
import { gradients as differentiate } from "../engine/gradient.ts";
import { Graph } from "../engine/graph.ts";
import { add, mul } from "../engine/ops/elementwise.ts";
import { segmentSum } from "../engine/ops/indexing.ts";
import { sum } from "../engine/ops/reduce.ts";
import { type Program, compile } from "../engine/program.ts";
import type { Tensor } from "../engine/tensor.ts";
import type { TokenRow } from "../data/rows.ts";
import type { LanguageModel } from "../models/language-model.ts";
import { ParameterArray, declareWeights } from "../nn/parameters.ts";
import { type Term, combine } from "../objectives/combined.ts";
import { evaluateExamples } from "../objectives/given-scores.ts";
import { type RecordKind, rolesOf } from "../objectives/objective.ts";
import type { ScoreSource } from "../objectives/scores.ts";
import { accumulator } from "../optim/accumulate.ts";
import { type PackShape, type PackedBatch, pack } from "../scoring/packing.ts";
import { PackedScores } from "./packed-scores.ts";
import { ReusableProgram, TextScorer, type TreeScores } from "../scoring/text-scorer.ts";
import { type TextScores, batchArrays, scoreText } from "../scoring/text-graph.ts";

/** What one batch gave, a value a record. */
export interface BatchResult {
  /** Mean loss of the batch. */
  readonly loss: number;
  readonly losses: readonly number[];
  /** Summed log-probability of each completion, by role. */
  readonly logps: Readonly<Record<string, readonly number[]>>;
  /** Implicit rewards by role, where the objective has them. */
  readonly rewards: Readonly<Record<string, readonly number[]>>;
  /** Tokens that went through the model, padding not counted. */
  readonly tokens: number;
}

export interface ProgramOptions {
  readonly model: LanguageModel;
  readonly terms: readonly Term[];
  readonly kind: RecordKind;
  /** Optional record fields that occur in the data. */
  readonly fields: ReadonlySet<string>;
  /** Where gradients go; absent: none are computed. */
  readonly gradients?: ParameterArray;
}

export class ObjectivePrograms {
  readonly #options: ProgramOptions;
  readonly #roles: readonly string[];
  readonly #programs = new Map<string, Promise<PieceProgram>>();
  #scorer: TextScorer | undefined;
  #accumulation: Promise<{ scratch: ParameterArray; add: () => Promise<void> }> | undefined;

  constructor(options: ProgramOptions) {
    this.#options = options;
    this.#roles = rolesOf[options.kind];
  }

  /**
   * Evaluates a batch, `microBatch` records at a time. `reference` holds the reference's per-token scores of each row where the
   * objective touches them. With gradients, those of the batch's mean loss are in the array afterwards.
   */
  async run(
    rows: readonly TokenRow[],
    reference: readonly TreeScores[] | undefined,
    microBatch: number,
  ): Promise<BatchResult> {
    if (this.#options.terms.some((t) => t.objective.coupled))
      return this.#runCoupled(rows, reference, microBatch);
    const result = {
      losses: [] as number[],
      logps: this.#lists(),
      rewards: {} as Record<string, number[]>,
      tokens: 0,
    };
    const totals = {
      size: rows.length,
      tokens: this.#roles.map((_, k) => rows.reduce((n, r) => n + r.completions[k].length, 0)),
    };
    let loss = 0;
    for (let start = 0; start < rows.length; start += microBatch) {
      const end = Math.min(start + microBatch, rows.length);
      const piece = rows.slice(start, end);
      // A last, smaller piece keeps the size of the others, its missing records with weight 0.
      const slots = rows.length > microBatch ? microBatch : piece.length;
      const batch = pack(piece, this.#roles.length, this.#options.model.architecture.rope, slots);
      const arrays = this.#arrays(batch, piece, reference?.slice(start, end), totals);
      const outputs = await this.#runPiece(batch.shape, arrays, start > 0);
      const take = (name: string) => Array.from((outputs[name] as Float32Array).subarray(0, piece.length));
      loss += (outputs.loss as Float32Array)[0];
      result.losses.push(...take("losses"));
      for (const role of this.#roles) {
        result.logps[role].push(...take(`logp/${role}`));
        if (outputs[`reward/${role}`]) (result.rewards[role] ??= []).push(...take(`reward/${role}`));
      }
      result.tokens += batch.tokens;
    }
    return { loss, ...result };
  }

  /**
   * A batch whose losses depend on one another: scores of all its records first, then the objective on them as numbers, then its
   * gradient, a coefficient for each token, back through the model piece by piece.
   */
  async #runCoupled(
    rows: readonly TokenRow[],
    reference: readonly TreeScores[] | undefined,
    microBatch: number,
  ): Promise<BatchResult> {
    const { model, terms, kind, gradients } = this.#options;
    const trees = rows.map(({ prompt, completions }) => ({ prompt, completions }));
    const scores = await (this.#scorer ??= new TextScorer(model)).score(trees);
    const byRole = <T>(make: (k: number) => T) =>
      Object.fromEntries(this.#roles.map((role, k) => [role, make(k)]));
    const examples = rows.map((row, i) => ({
      fields: row.fields,
      completions: byRole((k) => ({
        policy: Array.from(scores[i][k]),
        reference: reference && Array.from(reference[i][k]),
      })),
    }));
    const evaluated = await evaluateExamples(model.backend, terms, kind, examples);
    let tokens = rows.reduce(
      (n, r) => n + r.prompt.length + r.completions.reduce((c, ids) => c + ids.length, 0),
      0,
    );
    if (gradients) {
      tokens = 0;
      const coefficients = evaluated.gradients.map((g) =>
        this.#roles.map((role) => Float32Array.from((g[role]?.policy ?? []) as number[])),
      );
      for (let start = 0; start < rows.length; start += microBatch) {
        const end = Math.min(start + microBatch, rows.length);
        const batch = pack(trees.slice(start, end), this.#roles.length, model.architecture.rope, end - start);
        const arrays = batchArrays(batch, this.#roles);
        this.#roles.forEach(
          (role, k) => (arrays[`${role}/coefficient`] = inSlots(batch, k, coefficients.slice(start, end))),
        );
        await this.#runPiece(batch.shape, arrays, start > 0);
        tokens += batch.tokens;
      }
    }
    const sum = (values: Float32Array) => values.reduce((a, b) => a + b, 0);
    const { loss, losses, rewards } = evaluated;
    return { loss, losses, rewards, logps: byRole((k) => scores.map((s) => sum(s[k]))), tokens };
  }

  #lists(): Record<string, number[]> {
    return Object.fromEntries(this.#roles.map((role) => [role, []]));
  }

  async #runPiece(shape: PackShape, arrays: Record<string, TensorArray>, accumulate: boolean) {
    const key = JSON.stringify(shape);
    const made = this.#programs.get(key) ?? this.#compile(shape);
    this.#programs.set(key, made);
    const program = await made;
    const { gradients } = this.#options;
    if (!gradients || !accumulate) return (await program.first.with(arrays)).outputs;
    const { scratch, add } = await (this.#accumulation ??= this.#makeAccumulation(gradients));
    const { outputs } = await program.later(scratch).with(arrays);
    await add();
    return outputs;
  }

  async #makeAccumulation(gradients: ParameterArray) {
    const { backend } = this.#options.model;
    const scratch = ParameterArray.allocate(backend, gradients.layout);
    return { scratch, add: await accumulator(backend, gradients, scratch) };
  }

  async #compile(shape: PackShape): Promise<PieceProgram> {
    const { model, terms, kind, fields, gradients } = this.#options;
    const { architecture, weights, backend } = model;
    const graph = new Graph();
    const declared = declareWeights(graph, architecture.parameters);
    const scores = scoreText(graph, architecture, declared.weights, shape, this.#roles);
    const outputs: Outputs = terms.some((t) => t.objective.coupled)
      ? { loss: weightedSum(graph, scores, this.#roles) }
      : objectiveOutputs(terms, kind, new PackedScores(graph, scores, shape, this.#roles, fields));
    const { loss } = outputs;
    scores.roles.forEach((s, k) => {
      outputs[`logp/${this.#roles[k]}`] = graph.untaped(() =>
        segmentSum(s.logps, s.segments, scores.records),
      );
    });
    if (gradients) {
      differentiate(loss, declared.tensors).forEach((g, i) => {
        if (g) outputs[gradientPrefix + declared.tensors[i].id] = g;
      });
    }
    const program = await compile(backend, graph, outputs);
    const bind = (target: ParameterArray | undefined) =>
      new ReusableProgram((arrays) =>
        program.bind({ ...weights.named(), ...arrays }, target?.named(gradientPrefix)),
      );
    const later = new Map<ParameterArray, ReusableProgram>();
    return {
      program,
      first: bind(gradients),
      later(scratch) {
        const known = later.get(scratch) ?? bind(scratch);
        later.set(scratch, known);
        return known;
      },
    };
  }

  #arrays(
    batch: PackedBatch,
    rows: readonly TokenRow[],
    reference: readonly TreeScores[] | undefined,
    totals: { size: number; tokens: number[] },
  ) {
    const arrays = batchArrays(batch, this.#roles);
    this.#roles.forEach((role, k) => {
      if (reference) arrays[`${role}/reference`] = inSlots(batch, k, reference);
      arrays[`batch/tokens/${role}`] = Float32Array.of(totals.tokens[k]);
    });
    arrays["batch/size"] = Float32Array.of(totals.size);
    arrays["batch/real"] = Float32Array.from({ length: batch.shape.records }, (_, i) =>
      Number(i < rows.length),
    );
    for (const name of this.#options.fields) {
      // NaN marks records without the field; the graph puts the objective's default there.
      arrays[`field/${name}`] = Float32Array.from(
        { length: batch.shape.records },
        (_, i) => rows[i]?.fields[name] ?? NaN,
      );
    }
    return arrays;
  }
}

/** The objective's outputs, by name. */
function objectiveOutputs(terms: readonly Term[], kind: RecordKind, source: ScoreSource): Outputs {
  const { losses, loss, rewards } = combine(terms, kind, source);
  const outputs: Outputs = { losses, loss };
  for (const [role, t] of Object.entries(rewards)) if (t) outputs[`reward/${role}`] = t;
  return outputs;
}

/** Σ coefficient · log-probability over all scored tokens: its gradient is that of the loss whose derivatives the coefficients are. */
function weightedSum(graph: Graph, scores: TextScores, roles: readonly string[]): Tensor {
  const parts = scores.roles.map(({ logps }, k) =>
    sum(mul(logps, graph.input(`${roles[k]}/coefficient`, "float", logps.shape))),
  );
  return parts.reduce((a, b) => add(a, b));
}

type Outputs = Record<string, Tensor> & { loss: Tensor };

interface PieceProgram {
  program: Program;
  first: ReusableProgram;
  later(scratch: ParameterArray): ReusableProgram;
}

const gradientPrefix = "gradient/";

/** Per-token values of one role in the order of a packed batch's scored tokens. */
function inSlots(batch: PackedBatch, role: number, scores: readonly TreeScores[]): Float32Array {
  const next = new Int32Array(batch.shape.records + 1);
  return Float32Array.from(
    batch.segments[role],
    (record) => scores[Number(record)]?.[role][next[Number(record)]++] ?? 0,
  );
}
