/**
 * A language model in memory: its architecture, its weights in one flat array, and the back end that runs it.
 * Read from Hugging Face folders and GGUF files, written to folders with the names and values that `transformers` has.
 */
import type { Backend } from "../engine/backends/backend.ts";
import { sha256 } from "../formats/sha256.ts";
import { configText } from "../formats/hugging-face-config.ts";
import { baseOfAdapter, isAdapterFolder, locateModel } from "../formats/locations.ts";
import { writeWeights } from "../formats/weights.ts";
import { isGgufPath } from "../formats/gguf.ts";
import { copyFile, exists, joinPath, writeFileAtomic } from "../formats/files.ts";
import { RequestError } from "../errors.ts";
import { ParameterArray, type ParameterSpec, layoutOf } from "../nn/parameters.ts";
import type { PackedMatrix } from "../nn/packed/packed.ts";
import { type PackedId, packed } from "../nn/packed/table.ts";
import { readTokenizerFiles } from "../text/tokenizer-files.ts";
import { type Adapter, copyOfAdapter } from "./adapter/adapter.ts";
import { architectureOf } from "./architectures.ts";
import type { CausalLm } from "./causal-lm.ts";
import { openModelSource } from "./model-source.ts";

export interface LanguageModel {
  readonly architecture: CausalLm;
  /** All parameters but those in `packed`. */
  readonly weights: ParameterArray;
  /** Frozen matrices in fewer bits, by name. */
  readonly packed?: ReadonlyMap<string, PackedMatrix>;
  /** What trains in place of the weights, which then stay as they are. */
  readonly adapter?: Adapter;
  readonly backend: Backend;
  /** The folder or GGUF file it was read from; undefined for a model made from scratch. */
  readonly folder?: string;
  /** How the model beneath an adapter, or this one, was named by whoever asked for it. */
  readonly name?: string;
  /** Ids that end a completion: generation_config.json's, else config.json's. */
  readonly endIds: readonly number[];
  readonly beginId?: number;
}

/**
 * Reads a Hugging Face folder, a GGUF file or the folder of an adapter, with the model beneath it, here or on the hub
 * (`hf://owner/name`). With `pack` the matrices of its layers are held in fewer bits and cannot be trained. Throws where a file is missing or broken, a tensor is missing, unknown or of another shape.
 */
export async function loadLanguageModel(
  name: string,
  backend: Backend,
  { pack }: { readonly pack?: PackedId } = {},
): Promise<LanguageModel> {
  const located = await locateModel(name);
  if (!(await isAdapterFolder(located.path))) return loadFullModel(located, backend, pack);
  const base = await loadFullModel(await locateModel(await baseOfAdapter(located.path)), backend, pack);
  return withAdapterOf(base, located.path);
}

/** The model with the adapter of a folder beside its weights. Throws where they do not belong together. */
export async function withAdapterOf(base: LanguageModel, folder: string): Promise<LanguageModel> {
  const { readAdapter } = await import("./adapter/peft-files.ts");
  return { ...base, adapter: await readAdapter(folder, base) };
}

async function loadFullModel(
  { path: folder, name }: { readonly path: string; readonly name: string },
  backend: Backend,
  pack?: PackedId,
): Promise<LanguageModel> {
  const { config, generationConfig, configPath, openWeights } = await openModelSource(folder);
  const architecture = architectureOf(config, configPath);
  const source = await openWeights();
  /** What the files call each parameter. */
  const inFile = new Map(
    architecture.parameters.map(({ name }) => {
      const other = architecture.otherName(name);
      return [
        name,
        other !== undefined && !source.tensors.has(name) && source.tensors.has(other) ? other : name,
      ];
    }),
  );
  const wanted = new Set(inFile.values());
  const unexpected = [...source.tensors.keys()].filter(
    (name) => !wanted.has(name) && !architecture.ignores(name),
  );
  const missing = [...wanted].filter((name) => !source.tensors.has(name));
  if (missing.length > 0 || unexpected.length > 0) {
    const list = (names: string[]) =>
      names.slice(0, 3).join(", ") + (names.length > 3 ? `, … (${names.length})` : "");
    throw new RequestError({
      code: "weights-mismatch",
      what: "the weights do not belong to the configuration",
      where: folder,
      why: [
        missing.length > 0 && `missing: ${list(missing)}`,
        unexpected.length > 0 && `unexpected: ${list(unexpected)}`,
      ]
        .filter(Boolean)
        .join("; "),
      fix: "Check that configuration and weights come from the same model",
    });
  }
  for (const p of architecture.parameters) {
    const stored = inFile.get(p.name) ?? p.name;
    const found = source.tensors.get(stored)?.shape ?? [];
    const sizes = p.shape.map((d) => d.size);
    if (found.join() !== sizes.join()) {
      throw new RequestError({
        code: "weights-mismatch",
        what: `tensor ${stored} has shape [${found.join(", ")}]`,
        where: folder,
        why: `its configuration makes it [${sizes.join(", ")}]`,
      });
    }
  }
  // Only now that the file has what the configuration claims.
  const isPacked = (p: ParameterSpec) => pack !== undefined && p.linear !== undefined;
  const plain = architecture.parameters.filter((p) => !isPacked(p));
  const weights = ParameterArray.allocate(backend, layoutOf(plain));
  const matrices = new Map<string, PackedMatrix>();
  for (const spec of architecture.parameters) {
    const stored = inFile.get(spec.name) ?? spec.name;
    if (pack === undefined || !isPacked(spec)) await source.readFloat32(stored, weights.view(spec.name));
    else matrices.set(spec.name, packed(pack, await source.readFloat32(stored), spec));
  }
  return {
    ...{ architecture, weights, backend, folder, name },
    ...(pack !== undefined && { packed: matrices }),
    ...specialIds(config, generationConfig),
  };
}

/** What a model's files say of it beside its weights, which are not read. */
export interface ModelFacts {
  readonly architecture: CausalLm;
  readonly endIds: readonly number[];
  readonly beginId?: number;
}

/** Reads the configuration of a Hugging Face folder or a GGUF file, here or on the hub, and no weights. */
export async function readModelFacts(name: string): Promise<ModelFacts> {
  const { path } = await locateModel(name, { part: "description" });
  if (await isAdapterFolder(path)) return readModelFacts(await baseOfAdapter(path));
  const { config, generationConfig, configPath } = await openModelSource(path);
  return { architecture: architectureOf(config, configPath), ...specialIds(config, generationConfig) };
}

/** A model of the given configuration with fresh weights. */
export function newLanguageModel(
  config: Readonly<Record<string, unknown>>,
  seed: number,
  backend: Backend,
): LanguageModel {
  const architecture = architectureOf(config, "the configuration");
  const weights = ParameterArray.allocate(backend, layoutOf(architecture.parameters));
  weights.initialize(seed);
  return { architecture, weights, backend, ...specialIds(config, undefined) };
}

/**
 * The same model, with a copy of what trains: the reference of a run, which does not move. Beneath a fresh adapter it is the model
 * without one, in the same memory.
 */
export function copyOf(model: LanguageModel): LanguageModel {
  const { adapter, backend } = model;
  if (adapter) return { ...model, adapter: adapter.fresh ? undefined : copyOfAdapter(adapter, backend) };
  const weights = ParameterArray.allocate(backend, model.weights.layout);
  weights.flat.set(model.weights.forReading().flat);
  return { ...model, weights };
}

/** Frees what a copy of a model has of its own. */
export function releaseCopy(copy: LanguageModel, of: LanguageModel | undefined): void {
  const free = (array: ParameterArray) => copy.backend.free(array.flat.buffer as ArrayBuffer);
  if (copy.adapter && copy.adapter !== of?.adapter) free(copy.adapter.weights);
  if (copy.weights !== of?.weights) free(copy.weights);
}

export interface SaveOptions {
  readonly dtype?: "F32" | "F16" | "BF16";
  /** Folder or GGUF file whose tokenizer and generation_config.json go along; default: the model's own. */
  readonly tokenizerFrom?: string;
}

const companions = [
  "tokenizer.json",
  "tokenizer_config.json",
  "special_tokens_map.json",
  "chat_template.jinja",
  "generation_config.json",
];

/** Writes a Hugging Face folder into an existing, empty one (see `publishFolder` for doing so in one stroke). */
export async function saveLanguageModel(
  model: LanguageModel,
  folder: string,
  options: SaveOptions = {},
): Promise<void> {
  const { dtype = "F32", tokenizerFrom = model.folder } = options;
  if (model.adapter ?? model.packed)
    throw new TypeError(
      "a model with an adapter or packed matrices is merged before it is saved, or saved as an adapter",
    );
  // The type to compute with; files in half precision are only stored so.
  const config = { ...model.architecture.toConfig(), torch_dtype: "float32" };
  await writeFileAtomic(joinPath(folder, "config.json"), configText(config));
  const weights = model.weights.forReading();
  const tensors = model.architecture.parameters.map((p) => ({
    name: p.name,
    shape: p.shape.map((d) => d.size),
    data: weights.view(p.name),
  }));
  await writeWeights(folder, tensors, { dtype });
  if (tokenizerFrom !== undefined) await saveCompanions(model, folder, tokenizerFrom);
}

/** Writes the folder of a model's adapter into an existing, empty one: PEFT's files, and the tokenizer beside them. */
export async function saveAdapter(model: LanguageModel, folder: string): Promise<void> {
  const { writeAdapter } = await import("./adapter/peft-files.ts");
  await writeAdapter(model, folder);
  if (model.folder !== undefined) await saveCompanions(model, folder, model.folder);
}

/** Writes the tokenizer and generation_config.json of a folder or GGUF file into a folder. */
export async function saveCompanions(model: LanguageModel, folder: string, source: string): Promise<void> {
  if (isGgufPath(source)) return writeCompanions(model, folder, source);
  for (const name of companions) {
    const from = joinPath(source, name);
    if (await exists(from)) await copyFile(from, joinPath(folder, name));
  }
}

/** The files beside the weights, made out of what a GGUF file says. */
async function writeCompanions(model: LanguageModel, folder: string, gguf: string): Promise<void> {
  const write = (name: string, value: unknown, indent?: number) =>
    writeFileAtomic(joinPath(folder, name), `${JSON.stringify(value, null, indent)}\n`);
  const { endIds, beginId } = model;
  await write("generation_config.json", { bos_token_id: beginId, eos_token_id: endIds }, 2);
  const files = await readTokenizerFiles(gguf);
  if (!files) return;
  await write("tokenizer.json", files.tokenizerJson);
  await write("tokenizer_config.json", files.tokenizerConfigJson, 2);
}

/** A digest of architecture and weights: equal for models that score alike. */
export function fingerprint(model: LanguageModel): string {
  const digest = (array: ParameterArray) => {
    const { flat } = array.forReading();
    return sha256(new Uint8Array(flat.buffer, flat.byteOffset, flat.byteLength));
  };
  const { architecture, weights, adapter, packed } = model;
  const held = [...(packed ?? [])].map(([name, { kind, arrays }]) => [
    name,
    kind.id,
    Object.values(arrays).map((a) => sha256(new Uint8Array(a.buffer, a.byteOffset, a.byteLength))),
  ]);
  const own = adapter && [
    digest(adapter.weights),
    adapter.modules.map(({ path, scale }) => [path, scale]),
    adapter.config.dora,
  ];
  return sha256(JSON.stringify([architecture.toConfig(), digest(weights), ...(own ? [own] : []), ...held]));
}

function specialIds(
  config: Readonly<Record<string, unknown>>,
  generation: Readonly<Record<string, unknown>> | undefined,
) {
  const ids = (value: unknown): number[] => [value].flat().filter((v): v is number => typeof v === "number");
  const from = (key: string) => {
    const given = ids(generation?.[key]);
    return given.length > 0 ? given : ids(config[key]);
  };
  return { endIds: from("eos_token_id"), beginId: from("bos_token_id").at(0) };
}
