/**
 * A model in a graph: its parameters as inputs, what an adapter adds to its layers, and the arrays that are bound to all that. One
 * graph may hold a model twice: frozen weights of both are then the same inputs.
 */
import type { TensorArray } from "../engine/backends/backend.ts";
import type { Graph } from "../engine/graph.ts";
import { type DType, type Tensor, elementsOf } from "../engine/tensor.ts";
import type { PackedMatrix } from "../nn/packed/packed.ts";
import type { ParameterArray, Weights } from "../nn/parameters.ts";
import { downName, magnitudeName, upName } from "./adapter/adapter.ts";
import type { LanguageModel } from "./language-model.ts";

export interface Prefixes {
  /** Before the names of the weights that a model has without an adapter. */
  readonly base?: string;
  /** Before the names of what trains: the adapter, or all weights where there is none. Default: as `base`. */
  readonly own?: string;
}

export interface DeclaredModel {
  readonly weights: Weights;
  /** What trains. */
  readonly trained: readonly Tensor[];
}

type Parts = Pick<LanguageModel, "architecture" | "adapter" | "packed">;

/** Declares a model's parameters as inputs of the graph, each where it is first asked for; those that train at once. */
export function declareModel(graph: Graph, model: Parts, prefixes: Prefixes = {}): DeclaredModel {
  const { architecture, adapter } = model;
  const names = prefixesOf(model, prefixes);
  const known = new Map<string, Tensor>();
  const input = (id: string, shape: Tensor["shape"], dtype: DType = "float") => {
    const tensor = known.get(id) ?? graph.inputs.find((t) => t.id === id) ?? graph.input(id, dtype, shape);
    known.set(id, tensor);
    return tensor;
  };
  const trained = new Map(
    (adapter?.weights.layout.parameters ?? architecture.parameters).map((p) => [
      p.name,
      input(names.own + p.name, p.shape),
    ]),
  );
  const shapes = new Map(architecture.parameters.map((p) => [p.name, p.shape]));
  const remade = new Map<string, Tensor>();
  /** A packed matrix, made again for each use. */
  const unpacked = (name: string, { kind, spec }: PackedMatrix): Tensor => {
    const known = remade.get(name);
    if (known) return known;
    const parts = Object.fromEntries(
      Object.entries(kind.parts(spec)).map(([part, { dtype, shape }]) => [
        part,
        input(`${names.base}${name}/${part}`, shape, dtype),
      ]),
    );
    const tensor = graph.untaped(() => kind.tensor(parts, spec));
    graph.remakes.set(tensor.id, (dependency) => kind.tensor(parts, spec, dependency));
    remade.set(name, tensor);
    return tensor;
  };
  const own = (name: string): Tensor => {
    const tensor = trained.get(name);
    if (!tensor) throw new RangeError(`no parameter "${name}"`);
    return tensor;
  };
  const weight = (name: string): Tensor => {
    const held = model.packed?.get(name);
    if (held) return unpacked(name, held);
    const shape = shapes.get(name);
    return trained.get(name) ?? (shape ? input(names.base + name, shape) : own(name));
  };
  const modules = new Map(adapter?.modules.map((m) => [m.path, m]));
  const lora = (path: string) => {
    const module = modules.get(path);
    if (!module) return undefined;
    return {
      down: own(downName(path)),
      up: own(upName(path)),
      scale: module.scale,
      magnitude: adapter?.config.dora ? own(magnitudeName(path)) : undefined,
    };
  };
  return { weights: Object.assign(weight, { lora }), trained: [...trained.values()] };
}

/** The arrays of a model under the names that `declareModel` gave its inputs. */
export function modelArrays(model: LanguageModel, prefixes: Prefixes = {}): Record<string, TensorArray> {
  const { base, own } = prefixesOf(model, prefixes);
  const held = [...(model.packed ?? [])].flatMap(([name, { arrays }]) =>
    Object.entries(arrays).map(([part, array]) => [`${base}${name}/${part}`, array] as const),
  );
  return {
    ...model.weights.named(base),
    ...Object.fromEntries(held),
    ...model.adapter?.weights.named(own),
  };
}

/** The values of one of the model's own parameters, as they are without an adapter; of a packed one a copy. */
export function readParameter({ weights, packed }: LanguageModel, name: string): Float32Array {
  const held = packed?.get(name);
  return held ? held.kind.unpack(held.arrays, held.spec) : weights.forReading().view(name);
}

/** How many numbers a model has, those of an adapter not counted, and how many of all train. */
export function parameterCounts(model: LanguageModel): { readonly all: number; readonly trained: number } {
  const all = model.architecture.parameters.reduce((n, p) => n + elementsOf(p.shape), 0);
  return { all, trained: trainedWeights(model).layout.elements };
}

/** What of a model trains: its adapter's weights, else its own. */
export const trainedWeights = ({ adapter, weights }: LanguageModel): ParameterArray =>
  adapter?.weights ?? weights;

function prefixesOf({ adapter }: Parts, { base = "", own = base }: Prefixes) {
  return { base: adapter ? base : own, own };
}
