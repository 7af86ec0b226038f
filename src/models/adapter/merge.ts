/**
 * An adapter put into the weights it stands beside: W + s B A, its rows brought to their trained lengths where it has them, and full
 * parameters in place of the model's. Afterwards the model needs no adapter and gives the same scores.
 */
import type { ParameterSpec } from "../../nn/parameters.ts";
import { ParameterArray, layoutOf } from "../../nn/parameters.ts";
import { readParameter } from "../declare.ts";
import type { LanguageModel } from "../language-model.ts";
import { type Adapter, downName, magnitudeName, rowLengths, upName } from "./adapter.ts";
import type { AdaptedModule } from "./matching.ts";

/** The model with its adapter merged, in memory of its own; without an adapter a plain copy. Weights are float32. */
export function mergedCopy(model: LanguageModel): LanguageModel {
  const { backend, architecture } = model;
  const weights = ParameterArray.allocate(backend, layoutOf(architecture.parameters));
  mergeInto(model, weights);
  return { ...model, weights, packed: undefined, adapter: undefined };
}

/** Writes the merged weights of a model into an array of its layout, which may be the model's own. */
export function mergeInto(model: LanguageModel, target: ParameterArray): void {
  const { adapter } = model;
  adapter?.weights.forReading();
  target.forWriting({ whole: target !== model.weights });
  const modules = new Map(adapter?.modules.map((m) => [m.weight.name, m]));
  const own = new Set(adapter?.weights.layout.parameters.map((p) => p.name));
  for (const { name } of model.architecture.parameters) {
    const view = target.view(name);
    const from = adapter && own.has(name) ? adapter.weights.view(name) : readParameter(model, name);
    if (from !== view) view.set(from);
    const module = modules.get(name);
    if (adapter && module) addAdapted(view, adapter, module);
  }
}

/** W ← W + s B A, then its rows to their lengths. */
function addAdapted(
  values: Float32Array,
  adapter: Adapter,
  { path, weight, rank, scale }: AdaptedModule,
): void {
  const [down, up] = [adapter.weights.view(downName(path)), adapter.weights.view(upName(path))];
  addProduct(values, { down, up, rank, scale }, weight);
  if (!adapter.config.dora) return;
  const [wanted, lengths] = [adapter.weights.view(magnitudeName(path)), rowLengths(weight, values)];
  const columns = weight.shape[1].size;
  const inOut = weight.linear === "in-out";
  for (let i = 0; i < values.length; i++) {
    const out = inOut ? i % columns : Math.floor(i / columns);
    values[i] *= wanted[out] / lengths[out];
  }
}

export interface LowRank {
  /** A, [rank, in] flat, and B, [out, rank] flat. */
  readonly down: Float32Array;
  readonly up: Float32Array;
  readonly rank: number;
  readonly scale: number;
}

/** values += scale · B A, or its transpose where values are [in, out]. */
export function addProduct(
  values: Float32Array,
  { down, up, rank, scale }: LowRank,
  { shape, linear }: Pick<ParameterSpec, "shape" | "linear">,
): void {
  const [rows, columns] = shape.map((d) => d.size);
  // Row by row: the left factor of a row is a number for each rank, the right one a vector.
  const inOut = linear === "in-out";
  const right = inOut ? transposed(up, columns, rank) : down;
  for (let r = 0; r < rows; r++) {
    const row = values.subarray(r * columns, (r + 1) * columns);
    for (let k = 0; k < rank; k++) {
      const factor = scale * (inOut ? down[k * rows + r] : up[r * rank + k]);
      if (factor === 0) continue;
      const vector = right.subarray(k * columns, (k + 1) * columns);
      for (let c = 0; c < columns; c++) row[c] += factor * vector[c];
    }
  }
}

/** [n, m] flat → [m, n] flat. */
function transposed(values: Float32Array, n: number, m: number): Float32Array {
  const result = new Float32Array(values.length);
  for (let i = 0; i < n; i++) for (let j = 0; j < m; j++) result[j * n + i] = values[i * m + j];
  return result;
}
