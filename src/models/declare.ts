/**
 * A model in a graph: its parameters as inputs, what an adapter adds to its layers, and the arrays that are bound to all that. One
 * graph may hold a model twice: frozen weights of both are then the same inputs.
 */
import type { TensorArray } from "../engine/backends/backend.ts";
import type { Graph } from "../engine/graph.ts";
import { type Tensor, elementsOf } from "../engine/tensor.ts";
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

type Parts = Pick<LanguageModel, "architecture" | "adapter">;

/** Declares a model's parameters as inputs of the graph, each where it is first asked for; those that train at once. */
export function declareModel(graph: Graph, model: Parts, prefixes: Prefixes = {}): DeclaredModel {
  const { architecture, adapter } = model;
  const names = prefixesOf(model, prefixes);
  const known = new Map<string, Tensor>();
  const input = (id: string, shape: Tensor["shape"]) => {
    const tensor = known.get(id) ?? graph.inputs.find((t) => t.id === id) ?? graph.input(id, "float", shape);
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
  const own = (name: string): Tensor => {
    const tensor = trained.get(name);
    if (!tensor) throw new RangeError(`no parameter "${name}"`);
    return tensor;
  };
  const weight = (name: string): Tensor => {
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
  return model.adapter
    ? { ...model.weights.named(base), ...model.adapter.weights.named(own) }
    : model.weights.named(own);
}

/** The values of one of the model's own parameters, as they are without an adapter. */
export const readParameter = ({ weights }: LanguageModel, name: string): Float32Array =>
  weights.forReading().view(name);

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
