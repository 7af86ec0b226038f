/**
 * Log-probabilities of given completions under a language model, without gradients: what reference scores, `prefopt score`
 * and KL measurements are made of. Rows are sorted by length, packed into batches of a token budget, and returned in order.
 */
import { type Scorable, rolesIn, tokensOf } from "../data/token-row.ts";
import { Graph } from "../engine/graph.ts";
import type { Built } from "../engine/program.ts";
import { declareModel, modelArrays } from "../models/declare.ts";
import type { LanguageModel } from "../models/language-model.ts";
import { layoutOf } from "./layout.ts";
import { type PackShape, roundedUp } from "./pack-shape.ts";
import { type Placements, placementsOfRun } from "./placements.ts";
import type { RoleLayout } from "./segments.ts";
import { type PackedBatch, pack } from "./packing.ts";
import { ShapePrograms } from "./shape-programs.ts";
import { batchArrays, scoreText } from "./text-graph.ts";

/** Tokens of one batch; enough for the matrix products, small enough to stay near the caches. */
const batchTokens = 2048;

/** One prompt with its completions. */
export interface Tree {
  readonly prompt: readonly number[];
  readonly completions: readonly (readonly number[])[];
}

/** Per-token log-probabilities of each completion of a tree, in order. */
export type TreeScores = readonly Float32Array[];

/** Per-token log-probabilities by role, one list a completion. */
export type RowScores = Readonly<Record<string, readonly Float32Array[]>>;

export class TextScorer {
  readonly #model: LanguageModel;
  readonly #programs: ShapePrograms;

  constructor(model: LanguageModel) {
    this.#model = model;
    this.#programs = new ShapePrograms(model.backend);
  }

  /** Scores prompts with their completions. `onProgress` is told how many are done. */
  async score(trees: readonly Tree[], onProgress?: (done: number) => void): Promise<TreeScores[]> {
    const rows = trees.map(({ prompt, completions }) => ({
      trees: [{ prompt, branches: completions.map((ids) => [{ role: "completion", ids }]) }],
    }));
    const scores = await this.scoreRows(rows, undefined, onProgress);
    return scores.map((s) => s.completion ?? []);
  }

  /** Scores the completions of rows that play the given roles; by default all that occur. */
  async scoreRows(
    rows: readonly Scorable[],
    roles: readonly string[] = [...new Set(rows.flatMap(rolesIn))],
    onProgress?: (done: number) => void,
  ): Promise<RowScores[]> {
    const layouts = roles.map((name) => ({ name, many: true }));
    const scores = new Array<RowScores>(rows.length);
    let done = 0;
    const { rope, hiddenSize: hidden } = this.#model.architecture;
    const { rounding } = this.#programs;
    const rowsAt = (indices: readonly number[]) => indices.map((i) => rows[i]);
    const optionsOf = ({ length }: readonly number[], allowed: Placements) => {
      return { slots: roundedUp(length), hidden, placements: allowed, rounding };
    };
    const all = batches(rows);
    const placements = placementsOfRun(
      rope,
      hidden,
      all,
      (indices, allowed) => layoutOf(rowsAt(indices), layouts, optionsOf(indices, allowed)).shape,
    );
    for (const indices of all) {
      const batch = pack(rowsAt(indices), layouts, rope, optionsOf(indices, placements));
      const logps = await this.#run(batch, layouts);
      unpack(batch, layouts, logps, indices.length).forEach((s, k) => (scores[indices[k]] = s));
      done += indices.length;
      onProgress?.(done);
    }
    return scores;
  }

  async #run(batch: PackedBatch, roles: readonly RoleLayout[]): Promise<Float32Array[]> {
    const program = await this.#programs.get(JSON.stringify(roles), batch.shape, {
      build: (shape) => this.#build(shape, roles),
      arrays: () => ({ fixed: modelArrays(this.#model) }),
    });
    const outputs = await program.with(batchArrays(batch, roles));
    return roles.map(({ name }) => outputs[`logps/${name}`] as Float32Array);
  }

  #build(shape: PackShape, roles: readonly RoleLayout[]): Built {
    const graph = new Graph();
    const declared = declareModel(graph, this.#model);
    const scores = scoreText(graph, this.#model.architecture, declared.weights, shape, roles);
    const outputs = Object.fromEntries(roles.map((role, k) => [`logps/${role.name}`, scores.roles[k].logps]));
    return { graph, outputs };
  }

  /** Frees its programs. */
  async release(): Promise<void> {
    await this.#programs.release();
  }
}

/** Indices of rows, longest first so that the memory level is reached at once, in batches of the token budget. */
export function batches(rows: readonly Scorable[]): number[][] {
  const lengths = rows.map(tokensOf);
  const order = rows.map((_, i) => i).sort((a, b) => lengths[b] - lengths[a] || a - b);
  const result: number[][] = [];
  let tokens = Infinity;
  for (const i of order) {
    if (tokens + lengths[i] > batchTokens) {
      result.push([]);
      tokens = 0;
    }
    result[result.length - 1].push(i);
    tokens += lengths[i];
  }
  return result;
}

/**
 * Splits numbers of each role's scored tokens into records and completions. Copies, as outputs are overwritten by the next run.
 */
export function unpack(
  batch: PackedBatch,
  roles: readonly RoleLayout[],
  values: readonly (Float32Array | undefined)[],
  records: number,
): RowScores[] {
  const byRecord = Array.from({ length: records }, (): Record<string, Float32Array[]> => ({}));
  roles.forEach(({ name, many }, k) => {
    const numbers = values[k];
    if (!numbers) return;
    const units = batch.shape.units[k];
    const lists = Array.from({ length: units }, () => [] as number[]);
    batch.segments[k].forEach((unit, i) => lists[Number(unit)]?.push(numbers[i]));
    lists.forEach((list, unit) => {
      const record = Number(batch.owners[k][unit]);
      if (record < records && (many || list.length > 0))
        (byRecord[record][name] ??= []).push(Float32Array.from(list));
    });
  });
  return byRecord;
}
