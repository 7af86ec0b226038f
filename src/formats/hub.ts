/**
 * Models and data from the Hugging Face hub, downloaded once into the user's cache: of a repository only what is needed. A
 * model: configuration, weights as safetensors, tokenizer files; or one GGUF file. Data: the files that hold rows.
 */
import { join } from "node:path";
import { RequestError, nearest } from "../errors.ts";
import { type HubOptions, type HubRepository, openRepository } from "./hub-cache.ts";
import type { HubFile } from "./hub-client.ts";
import { type HubName, parseHubName, showHubName } from "./hub-name.ts";
import { readJson } from "./files.ts";
import { rowExtensions } from "./rows.ts";

export interface Fetched {
  /** The name with the commit that it came to: names the same bytes for ever. */
  readonly pinned: string;
}

export interface FetchedModel extends Fetched {
  /** A folder as `transformers` has it, or a GGUF file. */
  readonly path: string;
}

export interface FetchedData extends Fetched {
  /** Files on the disk, in order, with their names on the hub. */
  readonly files: readonly { readonly path: string; readonly name: string }[];
}

/** What of a model is wanted: all of it; what describes it, which is all but the weights; or its tokenizer's files. */
export type ModelPart = "all" | "description" | "tokenizer";

export interface ModelOptions extends HubOptions {
  readonly part?: ModelPart;
}

/**
 * Downloads what is wanted of a model. A GGUF file is one thing, whatever is wanted. Throws where the hub has no such model, or weights
 * are wanted and there are none in a format that can be read.
 */
export async function fetchModel(text: string, options: ModelOptions = {}): Promise<FetchedModel> {
  const { part = "all" } = options;
  const name = parseHubName(text);
  if (name.kind === "dataset") {
    throw new RequestError({
      code: "hub-kind",
      what: "is a data set, not a model",
      where: text,
      fix: `Name a model: hf://${name.repo} without datasets/ in front`,
    });
  }
  const repository = await openRepository(name, options);
  const pinned = pinnedName(repository);
  const { path } = name;
  const file = repository.files.find((f) => f.path === path);
  if (file) {
    if (!/\.gguf$/i.test(file.path)) throw notAModelFile(name);
    await repository.download([file]);
    return { pinned, path: join(repository.folder, file.path) };
  }
  const folder = path === undefined ? "" : `${path}/`;
  const inFolder = repository.files.filter((f) => f.path.startsWith(folder));
  if (path !== undefined && inFolder.length === 0) throw noFile(repository);
  const byName = new Map(inFolder.map((f) => [f.path.slice(folder.length), f]));
  const wanted = [...byName].filter(([own]) => isWanted[part](own)).map(([, f]) => f);
  if (part === "all") wanted.push(...(await weightsOf(repository, byName)));
  await repository.download(wanted);
  return { pinned, path: join(repository.folder, ...folder.split("/").filter(Boolean)) };
}

/** Downloads data: a named file, those of a pattern or folder, or all of the repository where they are one set. */
export async function fetchData(text: string, options?: HubOptions): Promise<FetchedData> {
  const name = parseHubName(text);
  const repository = await openRepository(name, options);
  const files = chosenData(repository);
  await repository.download(files);
  return {
    pinned: pinnedName(repository),
    files: files.map(({ path }) => ({
      path: join(repository.folder, path),
      name: showHubName({ ...name, path }),
    })),
  };
}

const pinnedName = ({ name, commit }: HubRepository): string => showHubName({ ...name, revision: commit });

/** Files of a model beside its weights. */
const companions: ReadonlySet<string> = new Set([
  "config.json",
  "generation_config.json",
  "tokenizer.json",
  "tokenizer_config.json",
  "special_tokens_map.json",
  "added_tokens.json",
  "vocab.json",
  "vocab.txt",
  "merges.txt",
  "tokenizer.model",
  "chat_template.jinja",
  "chat_template.json",
  "adapter_config.json",
  "adapter_model.safetensors",
]);

/** Those that are read for text alone. */
const tokenizerFiles: ReadonlySet<string> = new Set([
  "tokenizer.json",
  "tokenizer_config.json",
  "chat_template.jinja",
]);

const isWanted: Readonly<Record<ModelPart, (name: string) => boolean>> = {
  all: (name) => companions.has(name),
  description: (name) => companions.has(name) && !name.endsWith(".safetensors"),
  tokenizer: (name) => tokenizerFiles.has(name),
};

const indexName = "model.safetensors.index.json";

/** The weight files: those of the index, the one file, or the adapter's. Throws where there are none that can be read. */
async function weightsOf(
  repository: HubRepository,
  byName: ReadonlyMap<string, HubFile>,
): Promise<readonly HubFile[]> {
  const index = byName.get(indexName);
  if (index) {
    await repository.download([index]);
    const { weight_map: map } = (await readJson(join(repository.folder, index.path))) as {
      weight_map?: Record<string, unknown>;
    };
    const shards = [...new Set(Object.values(map ?? {}))].map((shard) => {
      const file = byName.get(String(shard));
      if (!file) throw noWeights(repository, `${indexName} names ${String(shard)}, which is not there`);
      return file;
    });
    return [index, ...shards];
  }
  const single = byName.get("model.safetensors");
  if (single) return [single];
  if (byName.has("adapter_model.safetensors")) return [];
  const gguf = [...byName.values()].filter((f) => /\.gguf$/i.test(f.path));
  if (gguf.length > 0) {
    const names = gguf.slice(0, 6).map((f) => showHubName({ ...repository.name, path: f.path }));
    throw noWeights(
      repository,
      "it holds GGUF files",
      `Name one of them: ${names.join(", ")}${gguf.length > 6 ? ", …" : ""}`,
    );
  }
  const pickled = [...byName.keys()].find((own) => /\.(bin|pt|pth|ckpt)$/.test(own));
  throw pickled
    ? noWeights(
        repository,
        `it holds ${pickled}, an older format that can run code when it is read`,
        "Name a repository with safetensors, or convert it: model.save_pretrained(folder) in Python's transformers",
      )
    : noWeights(repository, "it has neither model.safetensors nor GGUF files");
}

/** JSON files that describe data instead of holding it. */
const notData = /(^|\/)(dataset_infos?|state|config|metadata|\w*_config)\.json$/;

const isData = ({ path }: HubFile): boolean =>
  rowExtensions.some((end) => path.toLowerCase().endsWith(end)) &&
  !notData.test(path) &&
  !/(^|\/)\./.test(path);

/** The data files that a name means. */
function chosenData(repository: HubRepository): readonly HubFile[] {
  const { name, files } = repository;
  const { path } = name;
  const file = files.find((f) => f.path === path);
  if (file) return [file];
  const data = files.filter(isData).sort((a, b) => (a.path < b.path ? -1 : 1));
  if (path?.includes("*")) {
    const parts = path.split("*").map((part) => part.replaceAll(/[.+?^${}()|[\]\\]/g, "\\$&"));
    const pattern = new RegExp(`^${parts.join("[^/]*")}$`);
    const found = data.filter((f) => pattern.test(f.path));
    if (found.length === 0) throw noFile(repository);
    return found;
  }
  const inside = path === undefined ? data : data.filter((f) => f.path.startsWith(`${path}/`));
  if (inside.length === 0) throw noFile(repository);
  const sets = new Map<string, HubFile[]>();
  for (const f of inside) {
    const set = f.path.replace(/\d{3,}-of-(\d{3,})/, "*-of-$1");
    sets.set(set, [...(sets.get(set) ?? []), f]);
  }
  if (sets.size === 1) return inside;
  const names = [...sets.keys()].slice(0, 8).map((set) => showHubName({ ...name, path: set }));
  throw new RequestError({
    code: "hub-several-sets",
    what: "holds several sets of data",
    where: showHubName(name),
    why: "training and test data are not to be mixed",
    fix: `Name one: ${names.join(", ")}${sets.size > 8 ? `, … (${sets.size})` : ""}`,
  });
}

function noFile({ name, files }: HubRepository): RequestError {
  const paths = files.map((f) => f.path);
  const isModel = name.kind === "model";
  const readable = files
    .filter((f) => (isModel ? /\.(gguf|safetensors)$/i.test(f.path) : isData(f)))
    .map((f) => f.path);
  const wanted = name.path;
  const last = wanted?.split("/").at(-1) ?? "";
  const guess =
    wanted === undefined ? undefined : (nearest(wanted, paths) ?? paths.find((p) => p.endsWith(`/${last}`)));
  const list = `It has ${readable.slice(0, 6).join(", ")}${readable.length > 6 ? `, … (${readable.length})` : ""}`;
  return new RequestError({
    code: "hub-no-file",
    what: wanted === undefined ? "it has no data files" : `there is no ${wanted}`,
    where: showHubName({ ...name, path: undefined }),
    why:
      wanted === undefined
        ? `none of its files ends in ${rowExtensions.slice(0, 8).join(", ")} or .parquet`
        : undefined,
    fix: guess ? `Did you mean ${guess}?` : readable.length > 0 ? list : "Name another repository",
  });
}

function notAModelFile(name: HubName): RequestError {
  return new RequestError({
    code: "hub-no-model",
    what: `${name.path} is not a model by itself`,
    where: showHubName(name),
    fix: `Name the repository, ${showHubName({ ...name, path: undefined })}, or a .gguf file in it`,
  });
}

function noWeights({ name }: HubRepository, why: string, fix = "Name another repository"): RequestError {
  return new RequestError({
    code: "hub-no-weights",
    what: "it has no weights that can be read",
    where: showHubName(name),
    why,
    fix,
  });
}
