/** The two files of a PEFT adapter: adapter_config.json and adapter_model.safetensors. */
import { joinPath, readJson, resolvePath, writeFileAtomic } from "../../formats/files.ts";
import { isHubName, parseHubName } from "../../formats/hub-name.ts";
import { type SafetensorsFile, openSafetensors, writeSafetensors } from "../../formats/safetensors.ts";
import { RequestError } from "../../errors.ts";
import { ParameterArray, type ParameterSpec, layoutOf } from "../../nn/parameters.ts";
import { readParameter } from "../declare.ts";
import type { LanguageModel } from "../language-model.ts";
import { type Adapter, downName, planAdapter, tiedName, upName } from "./adapter.ts";
import { addProduct } from "./merge.ts";
import { type AdaptedModule, adaptedModules } from "./matching.ts";
import { fromPeftConfig, toPeftConfig } from "./peft-config.ts";

const adapterConfigFile = "adapter_config.json";
const weightsFile = "adapter_model.safetensors";
const prefix = "base_model.model.";

/**
 * Reads the adapter of a folder for this model. Embeddings and heads that the file adapts become parameters in full, as modulesToSave are.
 * Throws where the two do not belong together.
 */
export async function readAdapter(folder: string, model: LanguageModel): Promise<Adapter> {
  const { architecture, backend } = model;
  const where = joinPath(folder, adapterConfigFile);
  const json = (await readJson(where)) as Record<string, unknown>;
  const { config, warnings } = fromPeftConfig(json, architecture.modelType, where);
  const path = joinPath(folder, weightsFile);
  const file = await openSafetensors(path);
  const names = new Map([...file.tensors.keys()].map((key) => [nameIn(key, path), key]));
  const linear = new Map(
    architecture.parameters.flatMap((p) => (p.linear ? [[p.name.replace(/\.weight$/, ""), p] as const] : [])),
  );
  const folded = foldedModules(names, linear, architecture, path);
  const target = Array.isArray(config.target)
    ? config.target.filter((t) => !folded.some((m) => m === t || m.endsWith(`.${t}`)))
    : config.target;
  const own =
    Array.isArray(target) && target.length === 0
      ? []
      : adaptedModules(architecture.parameters, { ...config, target }, where);
  const full = fullNames(names, architecture.parameters, folded);
  const plan = planned(own, { ...config, modulesToSave: undefined, bias: "none" }, architecture, where);
  const specs = new Map(architecture.parameters.map((p) => [p.name, p]));
  const kept = [...new Set([...full.keys(), ...folded.map((m) => `${m}.weight`)])];
  const parameters = [...plan, ...kept.flatMap((name) => specs.get(name) ?? [])];
  const weights = ParameterArray.allocate(backend, layoutOf(parameters));
  const used = new Set<string>();
  const read = async (name: string, spec: ParameterSpec, into: Float32Array) => {
    const key = names.get(name);
    const sizes = spec.shape.map((d) => d.size);
    if (key === undefined || file.tensors.get(key)?.shape.join() !== sizes.join()) {
      throw new RequestError({
        code: "adapter-mismatch",
        what:
          key === undefined
            ? `there is no tensor ${prefix}${name}`
            : `tensor ${key} is not [${sizes.join(", ")}]`,
        where: path,
        why: "the adapter does not fit the model and the settings beside it",
        fix: "Check base_model_name_or_path in adapter_config.json",
      });
    }
    used.add(key);
    await file.readFloat32(key, into);
  };
  for (const spec of plan) await read(spec.name, spec, weights.view(spec.name));
  for (const [name, inFile] of full) {
    const spec = specs.get(name);
    if (spec) await read(inFile, spec, weights.view(name));
  }
  for (const module of folded) {
    const spec = specs.get(`${module}.weight`);
    if (spec) await fold(spec, module, { model, config, file, names, used, weights });
  }
  const left = [...file.tensors.keys()].filter((key) => !used.has(key) && !/\.base_layer\.weight$/.test(key));
  if (left.length > 0)
    throw new RequestError({
      code: "adapter-mismatch",
      what: `${left.length} tensors belong to no layer that the adapter's settings choose: ${left.slice(0, 3).join(", ")}`,
      where: path,
      fix: "Check target_modules in adapter_config.json, and that the base model is the right one",
    });
  const modulesToSave = [...(config.modulesToSave ?? []), ...folded];
  const settings = { ...config, target, ...(modulesToSave.length > 0 && { modulesToSave }) };
  return { config: settings, modules: own, weights, fresh: false, warnings };
}

/** Writes the files of a model's adapter into a folder, as PEFT reads them. */
export async function writeAdapter(model: LanguageModel, folder: string): Promise<void> {
  const { adapter, architecture, name } = model;
  if (!adapter) throw new TypeError("the model has no adapter");
  if (adapter.modules.length === 0) throw noLayers(name ?? "the adapter");
  const hub = name !== undefined && isHubName(name) ? parseHubName(name) : undefined;
  const json = toPeftConfig(adapter.config, {
    name: hub?.repo ?? (model.folder && resolvePath(model.folder)),
    revision: hub && hub.revision !== "main" ? hub.revision : undefined,
    modelType: architecture.modelType,
    paths: adapter.modules.map((m) => m.path),
    inOut: adapter.modules.some((m) => m.weight.linear === "in-out"),
  });
  await writeFileAtomic(joinPath(folder, adapterConfigFile), `${JSON.stringify(json, null, 2)}\n`);
  const weights = adapter.weights.forReading();
  const tensors = weights.layout.parameters.map((p) => ({
    name: prefix + p.name,
    shape: p.shape.map((d) => d.size),
    data: weights.view(p.name),
  }));
  await writeSafetensors(joinPath(folder, weightsFile), tensors);
}

/** PEFT has no adapters of embeddings and heads alone once these are in full. */
export const noLayers = (where: string): RequestError =>
  new RequestError({
    code: "adapter-target",
    what: "the adapter changes no layer, only embeddings or the head",
    where,
    why: "these are read as parameters in full, and an adapter of such alone cannot be written",
    fix: "Merge it first: prefopt export ADAPTER --to safetensors --out MODEL",
  });

function nameIn(key: string, where: string): string {
  if (key.startsWith(prefix)) return key.slice(prefix.length);
  throw new RequestError({
    code: "adapter-mismatch",
    what: `tensor ${key} does not begin with ${prefix}`,
    where,
    fix: "Save the adapter with model.save_pretrained(folder) of Python's peft",
  });
}

/** Modules that the file adapts and that are no linear layers of the decoder: embeddings and heads. */
function foldedModules(
  names: ReadonlyMap<string, string>,
  linear: ReadonlyMap<string, ParameterSpec>,
  architecture: LanguageModel["architecture"],
  where: string,
): string[] {
  const { parameters } = architecture;
  const tied = tiedName(architecture);
  const adapted = [...names.keys()].flatMap(
    (n) => /^(.*)\.lora_(?:A\.weight|embedding_A)$/.exec(n)?.[1] ?? [],
  );
  const folded = adapted.filter((module) => !linear.has(module));
  for (const module of folded) {
    const weight = `${module}.weight`;
    if (weight !== tied && parameters.some((p) => p.name === weight)) continue;
    throw new RequestError({
      code: "adapter-mismatch",
      what:
        weight === tied ? `${module} is adapted, and is the head too` : `the model has no module ${module}`,
      where,
      why:
        weight === tied
          ? "its change would reach the head, which the file leaves as it is"
          : "either the base model is another one, or its head is tied to the embedding",
      fix: "Merge the adapter with Python's peft first: model.merge_and_unload().save_pretrained(folder)",
    });
  }
  return folded;
}

/** Parameters that the file has in full, by the model's name of them, with the name in the file. */
function fullNames(
  names: ReadonlyMap<string, string>,
  parameters: readonly ParameterSpec[],
  folded: readonly string[],
): Map<string, string> {
  const known = new Set(parameters.map((p) => p.name));
  return new Map(
    [...names.keys()].flatMap((inFile) => {
      const name = inFile.replace(/\.base_layer\.(weight|bias)$/, ".$1");
      const isFolded = folded.some((m) => name === `${m}.weight`);
      return known.has(name) && !isFolded ? [[name, inFile] as const] : [];
    }),
  );
}

/** The parameters of the modules alone. */
function planned(
  modules: readonly AdaptedModule[],
  config: Adapter["config"],
  architecture: LanguageModel["architecture"],
  where: string,
): readonly ParameterSpec[] {
  if (modules.length === 0) return [];
  const target = modules.map((m) => m.path);
  return planAdapter(architecture, { ...config, target, exclude: undefined, layers: undefined }, where)
    .parameters;
}

interface Folding {
  readonly model: LanguageModel;
  readonly config: Adapter["config"];
  readonly file: SafetensorsFile;
  readonly names: ReadonlyMap<string, string>;
  readonly used: Set<string>;
  readonly weights: ParameterArray;
}

/** W + s B A of a head, or W + s (B A)ᵀ of an embedding, [vocabulary, hidden] both. */
async function fold(spec: ParameterSpec, module: string, f: Folding): Promise<void> {
  const own = f.weights.view(spec.name);
  own.set(readParameter(f.model, spec.name));
  const read = async (name: string) => {
    const key = f.names.get(name);
    if (key === undefined)
      throw new RequestError({
        code: "adapter-mismatch",
        what: `there is no tensor ${prefix}${name}`,
        where: module,
      });
    f.used.add(key);
    return { values: await f.file.readFloat32(key), shape: f.file.tensors.get(key)?.shape ?? [] };
  };
  const embedded = f.names.has(`${module}.lora_embedding_A`);
  const down = await read(embedded ? `${module}.lora_embedding_A` : downName(module));
  const up = await read(embedded ? `${module}.lora_embedding_B` : upName(module));
  const [rank] = down.shape;
  const [{ scale }] = adaptedModules(
    [{ ...spec, linear: "out-in" }],
    { ...f.config, target: [module], exclude: undefined, layers: undefined },
    module,
  );
  // An embedding's A is [rank, vocabulary] and its B [hidden, rank]: ΔW = (B A)ᵀ, as of a matrix stored [in, out].
  const linear = embedded ? "in-out" : "out-in";
  addProduct(own, { down: down.values, up: up.values, rank, scale }, { shape: spec.shape, linear });
}
