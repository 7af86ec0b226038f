/**
 * Log-probabilities of given completions under a language model, without gradients: what reference scores, `prefopt score`
 * and KL measurements are made of. Rows are sorted by length, packed into batches of a token budget, and returned in order.
 */
import { Graph } from "../engine/graph.ts";
import { type BoundProgram, compile } from "../engine/program.ts";
import type { TensorArray } from "../engine/backends/backend.ts";
import type { LanguageModel } from "../models/language-model.ts";
import { declareWeights } from "../nn/parameters.ts";
import { type PackShape, type PackedBatch, type Tree, pack, treeLength } from "./packing.ts";
import { batchArrays, scoreText } from "./text-graph.ts";

/** Tokens of one batch; enough for the matrix products, small enough to stay near the caches. */
const batchTokens = 2048;

/** Per-token log-probabilities of each completion of a tree, in role order. */
export type TreeScores = readonly Float32Array[];

export class TextScorer {
  readonly #model: LanguageModel;
  readonly #programs = new Map<string, Promise<ReusableProgram>>();

  constructor(model: LanguageModel) {
    this.#model = model;
  }

  /** Scores trees, all with the same number of completions. `onProgress` is told how many are done. */
  async score(trees: readonly Tree[], onProgress?: (done: number) => void): Promise<TreeScores[]> {
    const roles = trees[0]?.completions.length ?? 0;
    const scores = new Array<TreeScores>(trees.length);
    let done = 0;
    for (const indices of batches(trees)) {
      const batch = pack(
        indices.map((i) => trees[i]),
        roles,
        this.#model.architecture.rope,
        indices.length,
      );
      const logps = await this.#run(batch, roles);
      unpack(batch, logps, roles).forEach((s, k) => (scores[indices[k]] = s));
      done += indices.length;
      onProgress?.(done);
    }
    return scores;
  }

  async #run(batch: PackedBatch, roles: number): Promise<Float32Array[]> {
    const names = Array.from({ length: roles }, (_, k) => `completion ${k}`);
    const key = JSON.stringify(batch.shape);
    const program = this.#programs.get(key) ?? this.#compile(batch.shape, names);
    this.#programs.set(key, program);
    const bound = await (await program).with(batchArrays(batch, names));
    return names.map((name) => bound.outputs[name] as Float32Array);
  }

  async #compile(shape: PackShape, roles: readonly string[]): Promise<ReusableProgram> {
    const { architecture, weights, backend } = this.#model;
    const graph = new Graph();
    const declared = declareWeights(graph, architecture.parameters);
    const scores = scoreText(graph, architecture, declared.weights, shape, roles);
    const outputs = Object.fromEntries(roles.map((role, k) => [role, scores.roles[k].logps]));
    const program = await compile(backend, graph, outputs);
    return new ReusableProgram((arrays) => program.bind({ ...weights.named(), ...arrays }));
  }
}

/** A program bound once, whose input arrays are refilled for every run. */
export class ReusableProgram {
  readonly #bind: (arrays: Readonly<Record<string, TensorArray>>) => BoundProgram;
  #bound: { program: BoundProgram; arrays: Record<string, TensorArray> } | undefined;

  constructor(bind: (arrays: Readonly<Record<string, TensorArray>>) => BoundProgram) {
    this.#bind = bind;
  }

  /** Copies the arrays in, runs, and returns the program with its outputs, which the next run overwrites. */
  async with(arrays: Readonly<Record<string, TensorArray>>): Promise<BoundProgram> {
    if (this.#bound) {
      for (const [name, own] of Object.entries(this.#bound.arrays)) copyInto(own, arrays[name]);
    } else {
      const own = Object.fromEntries(Object.entries(arrays).map(([name, a]) => [name, a.slice()]));
      this.#bound = { program: this.#bind(own), arrays: own };
    }
    await this.#bound.program.run();
    return this.#bound.program;
  }
}

function copyInto(target: TensorArray, source: TensorArray): void {
  // Both were made for the same input, so their element types agree.
  (target as Float32Array).set(source as Float32Array);
}

/** Indices of trees, longest first so that the memory level is reached at once, in batches of the token budget. */
function batches(trees: readonly Tree[]): number[][] {
  const lengths = trees.map(treeLength);
  const order = trees.map((_, i) => i).sort((a, b) => lengths[b] - lengths[a] || a - b);
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

/** Splits the flat scores of each role into records. Copies, as outputs are overwritten by the next run. */
function unpack(batch: PackedBatch, logps: readonly Float32Array[], roles: number): TreeScores[] {
  const { records } = batch.shape;
  const lists = Array.from({ length: records }, () => Array.from({ length: roles }, () => [] as number[]));
  logps.forEach((values, role) => {
    batch.segments[role].forEach((record, i) => {
      if (Number(record) < records) lists[Number(record)][role].push(values[i]);
    });
  });
  return lists.map((byRole) => byRole.map((list) => Float32Array.from(list)));
}
