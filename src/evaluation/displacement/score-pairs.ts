/**
 * Similarity of the answers of each pair of a data set under a model (Razin et al., arXiv:2410.08847, §5): one pass without
 * gradients. The model is the one that will be trained, before it is.
 */
import { type TokenRow, completionsOf } from "../../data/token-row.ts";
import { Graph } from "../../engine/graph.ts";
import { matmul } from "../../engine/ops/matmul.ts";
import { softmax } from "../../engine/ops/normalization.ts";
import { compile } from "../../engine/program.ts";
import { dim } from "../../engine/tensor.ts";
import type { LanguageModel } from "../../models/language-model.ts";
import { declareModel, modelArrays } from "../../models/declare.ts";
import { HiddenStates } from "../../scoring/hidden-states.ts";
import { roundedUp } from "../../scoring/pack-shape.ts";
import { type PackedBatch, pack } from "../../scoring/packing.ts";
import { ReusableProgram } from "../../scoring/reusable-program.ts";
import { batches } from "../../scoring/text-scorer.ts";
import { type Coefficients, type Similarities, type SimilarityMeasure, similarities } from "./similarity.ts";

export interface ScorePairsOptions {
  /** `chesExact` needs the distributions over the vocabulary and is computed only where it is asked for. */
  readonly measures?: readonly SimilarityMeasure[];
  readonly onProgress?: (done: number) => void;
}

const roles = [
  { name: "chosen", many: false },
  { name: "rejected", many: false },
];

/** Similarities of each row's chosen and rejected completion; rows are of kind `pair`. */
export async function scorePairs(
  model: LanguageModel,
  rows: readonly TokenRow[],
  options: ScorePairsOptions = {},
): Promise<Similarities[]> {
  const { measures = ["ches", "lnChes", "minusEdit", "lastHidden"], onProgress } = options;
  const states = new HiddenStates(model);
  const exact = measures.includes("chesExact") ? new ExactCoefficients(model) : undefined;
  const width = model.architecture.hiddenSize;
  const found = new Array<Similarities>(rows.length);
  let done = 0;
  try {
    for (const indices of batches(rows)) {
      const own = indices.map((i) => rows[i]);
      const batch = pack(own, roles, model.architecture.rope, {
        slots: roundedUp(indices.length),
        hidden: model.architecture.hiddenSize,
        rounding: states.rounding,
      });
      const flat = await states.at(batch, roles);
      for (const [k, i] of indices.entries()) {
        const [chosen, rejected] = roles.map(({ name }, role) => {
          const [targets] = completionsOf(rows[i], name);
          const tokens = withoutEnd(targets, model.endIds);
          return { states: statesOf(flat, batch, role, k, width), tokens, targets };
        });
        const all = similarities(chosen, rejected, await exact?.coefficients(chosen, rejected));
        found[i] = Object.fromEntries(measures.map((m) => [m, all[m]]));
      }
      done += indices.length;
      onProgress?.(done);
    }
  } finally {
    await states.release();
    await exact?.release();
  }
  return found;
}

/** The rows of a flat [scored, width] array that predict one record's completion. */
function statesOf(flat: Float32Array, batch: PackedBatch, role: number, record: number, width: number) {
  const first = batch.shape.scored.slice(0, role).reduce((a, b) => a + b, 0);
  const unit = batch.owners[role].findIndex((owner) => owner === BigInt(record));
  const found: Float32Array[] = [];
  batch.segments[role].forEach((segment, i) => {
    if (Number(segment) === unit) found.push(flat.subarray((first + i) * width, (first + i + 1) * width));
  });
  return found;
}

const withoutEnd = (ids: readonly number[], endIds: readonly number[]) =>
  endIds.includes(ids[ids.length - 1]) ? ids.slice(0, -1) : ids;

interface Answer {
  readonly states: readonly Float32Array[];
  readonly targets: readonly number[];
}

/** The coefficients of `chesExact` from the model's next-token distributions, which never leave the graph. */
class ExactCoefficients {
  readonly #model: LanguageModel;
  readonly #programs = new Map<number, Promise<ReusableProgram>>();

  constructor(model: LanguageModel) {
    this.#model = model;
  }

  async coefficients(chosen: Answer, rejected: Answer): Promise<Coefficients> {
    const width = this.#model.architecture.hiddenSize;
    const rows = [...chosen.states, ...rejected.states];
    const tokens = [...chosen.targets, ...rejected.targets];
    const size = roundedUp(rows.length);
    const states = new Float32Array(size * width);
    rows.forEach((row, i) => states.set(row, i * width));
    const targets = new BigInt64Array(size);
    tokens.forEach((id, i) => (targets[i] = BigInt(id)));
    const program = this.#programs.get(size) ?? this.#compile(size);
    this.#programs.set(size, program);
    const outputs = await (await program).with({ states, targets });
    const [products, picked] = [outputs.products as Float32Array, outputs.picked as Float32Array];
    // ⟨e_y - π, e_z - π'⟩ = 1{y = z} - π'(y) - π(z) + ⟨π, π'⟩
    const alpha = (k: number, j: number) =>
      Number(tokens[k] === tokens[j]) - picked[j * size + k] - picked[k * size + j] + products[k * size + j];
    const block = (start: number, length: number) =>
      chosen.states.map((_, k) => Float64Array.from({ length }, (_, j) => alpha(k, start + j)));
    const split = chosen.states.length;
    return { chosen: block(0, split), rejected: block(split, rejected.states.length) };
  }

  async #compile(size: number): Promise<ReusableProgram> {
    const { architecture, backend } = this.#model;
    const graph = new Graph();
    const declared = declareModel(graph, this.#model);
    const [rows, others] = [dim("rows", size), dim("others", size)];
    const states = graph.input("states", "float", [rows, dim("hidden", architecture.hiddenSize)]);
    const targets = graph.input("targets", "int64", [others]);
    const p = softmax(architecture.logits(declared.weights, states));
    const outputs = {
      products: matmul(p, p, { transposeB: true }),
      picked: graph.node("Gather", [p, targets], { shape: [rows, others] }, { axis: 1 }),
    };
    return new ReusableProgram(await compile(backend, graph, outputs), modelArrays(this.#model));
  }

  async release(): Promise<void> {
    for (const program of this.#programs.values()) (await program).release();
    this.#programs.clear();
  }
}
