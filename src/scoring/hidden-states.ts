/**
 * Hidden states of a model at the scored tokens of a packed batch, without gradients: what a reference contributes to divergences over
 * the whole vocabulary, and what similarity measures are made of.
 */
import { Graph } from "../engine/graph.ts";
import { gatherRows } from "../engine/ops/indexing.ts";
import type { Built } from "../engine/program.ts";
import type { Tensor } from "../engine/tensor.ts";
import { RequestError } from "../errors.ts";
import { declareModel, modelArrays } from "../models/declare.ts";
import type { LanguageModel } from "../models/language-model.ts";
import type { Rounding } from "./layout.ts";
import type { PackShape } from "./pack-shape.ts";
import type { RoleLayout } from "./segments.ts";
import type { PackedBatch } from "./packing.ts";
import { ShapePrograms } from "./shape-programs.ts";
import { batchArrays, declareBatch, hiddenStates } from "./text-graph.ts";

export class HiddenStates {
  readonly #model: LanguageModel;
  readonly #programs: ShapePrograms;
  readonly #layer: number;

  /**
   * `layer` chooses whose states: 0 is the embedding's output, k what the k-th layer makes of it, the number of layers (the default) the
   * last one's after the final norm. Throws where the model has no such layer.
   */
  constructor(model: LanguageModel, layer = model.architecture.layers) {
    if (!Number.isInteger(layer) || layer < 0 || layer > model.architecture.layers) {
      throw new RequestError({
        code: "no-such-layer",
        what: `there is no layer ${layer}`,
        fix: `Choose one from 0, the embedding, to ${model.architecture.layers}`,
      });
    }
    this.#model = model;
    this.#programs = new ShapePrograms(model.backend);
    this.#layer = layer;
  }

  /** How batches that are laid out for it should be rounded. */
  get rounding(): Rounding {
    return this.#programs.rounding;
  }

  /** States that predict each scored token of all roles, [scored, hidden] flat; the next call of this shape may overwrite them. */
  async at(batch: PackedBatch, roles: readonly RoleLayout[]): Promise<Float32Array> {
    const program = await this.#programs.get(JSON.stringify(roles), batch.shape, {
      build: (shape) => this.#build(shape, roles),
      arrays: () => ({ fixed: modelArrays(this.#model) }),
    });
    const outputs = await program.with(batchArrays(batch, roles));
    return outputs.states as Float32Array;
  }

  #build(shape: PackShape, roles: readonly RoleLayout[]): Built {
    const { architecture } = this.#model;
    const graph = new Graph();
    const declared = declareModel(graph, this.#model);
    const inputs = declareBatch(graph, architecture, shape, roles);
    const found: Tensor[] = [];
    hiddenStates(architecture, declared.weights, inputs, { observe: (x) => found.push(x) });
    return { graph, outputs: { states: gatherRows(found[this.#layer], inputs.index) } };
  }

  /** Frees its programs. */
  async release(): Promise<void> {
    await this.#programs.release();
  }
}
