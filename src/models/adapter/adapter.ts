/**
 * An adapter: matrices that are trained beside a model's frozen weights, and parameters that train in full. Names are those of PEFT's
 * files without their prefix, so that a layout of an adapter is a layout like any other.
 */
import type { Backend } from "../../engine/backends/backend.ts";
import { dim } from "../../engine/tensor.ts";
import { RequestError } from "../../errors.ts";
import { ParameterArray, type ParameterSpec, layoutOf } from "../../nn/parameters.ts";
import type { CausalLm } from "../causal-lm.ts";
import type { AdapterConfig } from "./config.ts";
import { type AdaptedModule, adaptedModules, meansModule } from "./matching.ts";

export interface Adapter {
  readonly config: AdapterConfig;
  readonly modules: readonly AdaptedModule[];
  /** The adapter's own matrices and vectors, and full parameters under their own names, which stand for the model's. */
  readonly weights: ParameterArray;
  /** Whether it has changed nothing yet: B is 0. */
  readonly fresh: boolean;
  /** What of its file is not heeded. */
  readonly warnings?: readonly string[];
}

export const downName = (path: string): string => `${path}.lora_A.weight`;
export const upName = (path: string): string => `${path}.lora_B.weight`;
export const magnitudeName = (path: string): string => `${path}.lora_magnitude_vector`;

/** What an adapter of these settings is made of: its modules, and all its parameters. */
export interface AdapterPlan {
  readonly config: AdapterConfig;
  readonly modules: readonly AdaptedModule[];
  readonly parameters: readonly ParameterSpec[];
}

/** Plans an adapter for a model. Throws where the settings do not fit it. */
export function planAdapter(architecture: CausalLm, config: AdapterConfig, where: string): AdapterPlan {
  const modules = adaptedModules(architecture.parameters, config, where);
  const parameters = [
    ...modules.flatMap((module) => moduleParameters(module, config)),
    ...fullParameters(architecture, config, modules, where),
  ];
  return { config, modules, parameters };
}

/** A fresh adapter: B is 0, lengths are those of the rows, full parameters are copies. `read` gives the model's values. */
export function newAdapter(
  { config, modules, parameters }: AdapterPlan,
  backend: Backend,
  seed: number,
  read: (name: string) => Float32Array,
): Adapter {
  const weights = ParameterArray.allocate(backend, layoutOf(parameters));
  weights.initialize(seed);
  for (const { path, weight } of modules)
    if (config.dora) weights.view(magnitudeName(path)).set(rowLengths(weight, read(weight.name)));
  const own = new Set(modules.flatMap((m) => [downName(m.path), upName(m.path), magnitudeName(m.path)]));
  for (const { name } of parameters) if (!own.has(name)) weights.view(name).set(read(name));
  return { config, modules, weights, fresh: true };
}

/** The same adapter with a copy of its weights. */
export function copyOfAdapter(adapter: Adapter, backend: Backend): Adapter {
  const weights = ParameterArray.allocate(backend, adapter.weights.layout);
  weights.flat.set(adapter.weights.forReading().flat);
  return { ...adapter, weights };
}

function moduleParameters({ path, weight, rank }: AdaptedModule, config: AdapterConfig): ParameterSpec[] {
  const [first, second] = weight.shape;
  const [input, output] = weight.linear === "in-out" ? [first, second] : [second, first];
  const r = dim("rank", rank);
  const fresh =
    config.initialize === "gaussian" ? { normal: 1 / rank } : { uniform: 1 / Math.sqrt(input.size) };
  return [
    { name: downName(path), shape: [r, input], initial: fresh },
    { name: upName(path), shape: [output, r], initial: { constant: 0 } },
    ...(config.dora ? [{ name: magnitudeName(path), shape: [output], initial: { constant: 0 } }] : []),
  ];
}

/** Biases and modules that train in full, as the model has them. */
function fullParameters(
  architecture: CausalLm,
  { bias, modulesToSave = [] }: AdapterConfig,
  modules: readonly AdaptedModule[],
  where: string,
): ParameterSpec[] {
  const adapted = new Set(modules.map((m) => m.path));
  const moduleOf = (name: string) => name.replace(/\.(weight|bias)$/, "");
  const tied = tiedName(architecture);
  for (const entry of modulesToSave) {
    const meant = architecture.parameters.filter((p) => meansModule(entry, moduleOf(p.name)));
    const fail = (what: string, why?: string, fix?: string) =>
      new RequestError({ code: "adapter-target", what, where, why, fix });
    if (meant.length === 0) throw fail(`modulesToSave ${entry} means no module of this model`);
    if (meant.some((p) => p.name === tied))
      throw fail(
        `modulesToSave ${entry} is the embedding and the head at once`,
        "this model ties the two, and a copy of one would leave the other behind",
        "Leave it out, or train all weights",
      );
    if (meant.some((p) => adapted.has(moduleOf(p.name))))
      throw fail(
        `${entry} is a target of the adapter and in modulesToSave`,
        undefined,
        "Leave it out of one of them",
      );
  }
  return architecture.parameters.filter(({ name }) => {
    if (modulesToSave.some((entry) => meansModule(entry, moduleOf(name)))) return true;
    if (bias === "none" || !name.endsWith(".bias")) return false;
    return bias === "all" || adapted.has(moduleOf(name));
  });
}

/** The embedding's name where it is the head too. */
export function tiedName({ parameters, head }: CausalLm): string | undefined {
  const name = head((own) => ({ id: own }) as never).id;
  return name === parameters[0].name ? name : undefined;
}

/** ‖W‖ of every output row. */
export function rowLengths({ shape, linear }: ParameterSpec, values: Float32Array): Float32Array {
  const [rows, columns] = shape.map((d) => d.size);
  const squares = new Float64Array(linear === "in-out" ? columns : rows);
  for (let r = 0; r < rows; r++)
    for (let c = 0; c < columns; c++) squares[linear === "in-out" ? c : r] += values[r * columns + c] ** 2;
  return Float32Array.from(squares, Math.sqrt);
}
