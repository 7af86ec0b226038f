/**
 * Where models and data are on this disk: the one place that knows what a name can be. A folder or file, the folder of a run
 * (its `model`), something that comes with prefopt, or a name on the hub, which is downloaded when it is not here yet.
 */
import { RequestError } from "../errors.ts";
import { exists, packageFolder, readJson, resolvePath } from "./files.ts";
import type { HubOptions } from "./hub-cache.ts";
import type { ModelOptions } from "./hub.ts";
import { isHubName } from "./hub-name.ts";

export interface LocatedModel {
  /** A local folder, or a GGUF file. It need not exist where the name is a path: whoever reads it says so. */
  readonly path: string;
  /** The name as it was given; of the hub, with the commit that it came to. */
  readonly name: string;
}

export interface LocatedData {
  /** Local files, in order, with the names that errors call them by. */
  readonly files: readonly { readonly path: string; readonly name: string }[];
  readonly name: string;
}

/** Where a model is. What is wanted of a name on the hub (`part`) is downloaded first. */
export async function locateModel(name: string, options?: ModelOptions): Promise<LocatedModel> {
  if (isHubName(name)) {
    const { fetchModel } = await import("./hub.ts");
    const { path, pinned } = await fetchModel(name, options);
    return { path, name: pinned };
  }
  const holdsModel = async (path: string) =>
    (await exists(resolvePath(path, "config.json"))) || (await isAdapterFolder(path));
  if (await holdsModel(name)) return { path: name, name };
  const ofRun = resolvePath(name, "model");
  if (await holdsModel(ofRun)) return { path: ofRun, name };
  const own = resolvePath(packageFolder(), name);
  return { path: !(await exists(name)) && (await exists(own)) ? own : name, name };
}

/** Whether a folder holds an adapter and not a model: weights that belong beside those of another. */
export const isAdapterFolder = async (path: string): Promise<boolean> =>
  (await exists(resolvePath(path, "adapter_config.json"))) &&
  !(await exists(resolvePath(path, "config.json")));

/** The name of the model that an adapter belongs beside: a path, beside the folder or from here, or a name on the hub. */
export async function baseOfAdapter(folder: string): Promise<string> {
  const where = resolvePath(folder, "adapter_config.json");
  const config = (await readJson(where)) as { base_model_name_or_path?: unknown; revision?: unknown };
  const { base_model_name_or_path: name, revision } = config;
  const fail = (what: string, why?: string) =>
    new RequestError({
      code: "adapter-base",
      what,
      where,
      why,
      fix: "Set base_model_name_or_path to the folder, the GGUF file or the hub name of the model it was trained on",
    });
  if (typeof name !== "string" || name === "") throw fail("does not say which model the adapter belongs to");
  if (isHubName(name)) return name;
  for (const path of [resolvePath(folder, name), name]) if (await exists(path)) return path;
  if (!/^[\w.-]+\/[\w.-]+$/.test(name)) throw fail(`base model ${name} is not here`);
  return `hf://${name}${typeof revision === "string" && revision !== "" ? `@${revision}` : ""}`;
}

/** Where data are. A name on the hub is downloaded first. */
export async function locateData(name: string, options?: HubOptions): Promise<LocatedData> {
  if (!isHubName(name)) return { files: [{ path: name, name }], name };
  const { fetchData } = await import("./hub.ts");
  const { files, pinned } = await fetchData(name, options);
  return { files, name: pinned };
}
