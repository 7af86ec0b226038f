/** A model in memory with the matrices of its layers in fewer bits. What is read from files need never be there in full: `loadLanguageModel`. */
import { ParameterArray, layoutOf } from "../nn/parameters.ts";
import type { PackedMatrix } from "../nn/packed/packed.ts";
import { type PackedId, packed } from "../nn/packed/table.ts";
import type { LanguageModel } from "./language-model.ts";

/** The packed model; the one that was given stays as it is. */
export function packModel(model: LanguageModel, id: PackedId): LanguageModel {
  const { architecture, backend } = model;
  const plain = architecture.parameters.filter((p) => p.linear === undefined);
  const weights = ParameterArray.allocate(backend, layoutOf(plain));
  for (const { name } of plain) weights.view(name).set(model.weights.forReading().view(name));
  const matrices = new Map<string, PackedMatrix>();
  for (const spec of architecture.parameters)
    if (spec.linear !== undefined) matrices.set(spec.name, packed(id, model.weights.view(spec.name), spec));
  return { ...model, weights, packed: matrices };
}
