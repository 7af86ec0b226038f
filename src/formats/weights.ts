/**
 * The weights of a Hugging Face folder, one file or many: `model.safetensors`, or shards named by
 * `model.safetensors.index.json`. Readers see one set of tensors either way.
 */
import { RequestError, quoted } from "../errors.ts";
import { baseName, exists, joinPath, listFolder, readJson, writeFileAtomic } from "./files.ts";
import {
  type FloatDtype,
  type SafetensorsFile,
  type TensorData,
  type TensorInfo,
  openSafetensors,
  writeSafetensors,
} from "./safetensors.ts";

export interface WeightsSource {
  readonly tensors: ReadonlyMap<string, { readonly shape: readonly number[] }>;
  readFloat32(name: string, into?: Float32Array): Promise<Float32Array>;
}

const single = "model.safetensors";
const indexName = "model.safetensors.index.json";

/** Opens the weights of a folder. Throws where there are none, or where the index and the shards disagree. */
export async function openWeights(folder: string): Promise<WeightsSource> {
  if (await exists(joinPath(folder, indexName))) return openShards(folder);
  if (await exists(joinPath(folder, single))) return openSafetensors(joinPath(folder, single));
  const old = (await listFolder(folder)).find((name) => /^pytorch_model.*\.bin$/.test(name));
  throw new RequestError({
    code: "no-weights",
    what: `there is no ${single}`,
    where: folder,
    why: old ? `it holds ${old}, an older format that can run code when it is read` : undefined,
    fix: old
      ? "Save the model as safetensors first: model.save_pretrained(folder) in Python's transformers"
      : "Name a folder with weights",
  });
}

async function openShards(folder: string): Promise<WeightsSource> {
  const path = joinPath(folder, indexName);
  const index = (await readJson(path)) as { weight_map?: unknown } | null;
  const map = Object.entries(index?.weight_map ?? {}).map(([tensor, file]: [string, unknown]) => [
    tensor,
    // A path would lead out of the folder.
    typeof file === "string" && baseName(file) === file ? file : "",
  ]);
  const fail = (what: string, why?: string) =>
    new RequestError({
      code: "index-invalid",
      what,
      where: path,
      why,
      fix: "Copy or download the folder again",
    });
  if (map.length === 0) throw fail('there is no "weight_map"');
  const unnamed = map.find(([, file]) => file === "");
  if (unnamed) throw fail(`tensor ${quoted(unnamed[0])} has no file in "weight_map"`);
  const files = new Map<string, SafetensorsFile>();
  for (const name of new Set(map.map(([, file]) => file))) {
    if (!(await exists(joinPath(folder, name)))) throw fail(`shard ${name} is missing`);
    files.set(name, await openSafetensors(joinPath(folder, name)));
  }
  const owners = new Map<string, SafetensorsFile>();
  const tensors = new Map<string, TensorInfo>();
  for (const [tensor, name] of map) {
    const file = files.get(name);
    const info = file?.tensors.get(tensor);
    if (!file || !info) throw fail(`tensor ${quoted(tensor)} is not in ${name}`);
    owners.set(tensor, file);
    tensors.set(tensor, info);
  }
  return {
    tensors,
    readFloat32(name, into) {
      const owner = owners.get(name);
      if (!owner) throw fail(`there is no tensor ${name}`);
      return owner.readFloat32(name, into);
    },
  };
}

export interface WriteWeightsOptions {
  readonly dtype?: FloatDtype;
  /** Most bytes of one file; more are written as shards with an index. Default 5 GB. */
  readonly maxShardBytes?: number;
}

/** Writes tensors into a folder, in shards where they are too large for one file. */
export async function writeWeights(
  folder: string,
  tensors: readonly TensorData[],
  options: WriteWeightsOptions = {},
): Promise<void> {
  const { dtype = "F32", maxShardBytes = 5e9 } = options;
  const bytesOf = (t: TensorData) => t.data.length * (dtype === "F32" ? 4 : 2);
  const shards: TensorData[][] = [[]];
  let filled = 0;
  for (const tensor of tensors) {
    if (filled > 0 && filled + bytesOf(tensor) > maxShardBytes) {
      shards.push([]);
      filled = 0;
    }
    shards[shards.length - 1].push({ ...tensor, dtype });
    filled += bytesOf(tensor);
  }
  if (shards.length === 1) return writeSafetensors(joinPath(folder, single), shards[0]);
  const weightMap: Record<string, string> = {};
  const number = (n: number) => String(n).padStart(5, "0");
  for (const [i, shard] of shards.entries()) {
    const name = `model-${number(i + 1)}-of-${number(shards.length)}.safetensors`;
    await writeSafetensors(joinPath(folder, name), shard);
    for (const tensor of shard) weightMap[tensor.name] = name;
  }
  const index = {
    metadata: { total_size: tensors.reduce((n, t) => n + bytesOf(t), 0) },
    weight_map: weightMap,
  };
  await writeFileAtomic(joinPath(folder, indexName), `${JSON.stringify(index, null, 2)}\n`);
}
