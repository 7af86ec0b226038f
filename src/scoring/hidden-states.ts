/**
 * Hidden states of a model at the scored tokens of a packed batch, without gradients: what a reference contributes to divergences over
 * the whole vocabulary, and what similarity measures are made of.
 */
import { Graph } from "../engine/graph.ts";
import { gatherRows } from "../engine/ops/indexing.ts";
import { compile } from "../engine/program.ts";
import { declareModel, modelArrays } from "../models/declare.ts";
import type { LanguageModel } from "../models/language-model.ts";
import type { PackShape, RoleLayout } from "./layout.ts";
import type { PackedBatch } from "./packing.ts";
import { ProgramCache } from "./program-cache.ts";
import { ReusableProgram } from "./reusable-program.ts";
import { batchArrays, declareBatch, hiddenStates } from "./text-graph.ts";

export class HiddenStates {
  readonly #model: LanguageModel;
  readonly #programs = new ProgramCache();

  constructor(model: LanguageModel) {
    this.#model = model;
  }

  /** States that predict each scored token of all roles, [scored, hidden] flat; overwritten by the next call of this shape. */
  async at(batch: PackedBatch, roles: readonly RoleLayout[]): Promise<Float32Array> {
    const key = JSON.stringify(batch.shape);
    const program = await this.#programs.get(key, () => this.#compile(batch.shape, roles));
    const bound = await program.with(batchArrays(batch, roles));
    return bound.outputs.states as Float32Array;
  }

  async #compile(shape: PackShape, roles: readonly RoleLayout[]): Promise<ReusableProgram> {
    const { architecture, backend } = this.#model;
    const graph = new Graph();
    const declared = declareModel(graph, this.#model);
    const inputs = declareBatch(graph, architecture, shape, roles);
    const states = gatherRows(hiddenStates(architecture, declared.weights, inputs), inputs.index);
    const program = await compile(backend, graph, { states });
    return new ReusableProgram(program, modelArrays(this.#model));
  }

  /** Frees its programs. */
  async release(): Promise<void> {
    await this.#programs.release();
  }
}
