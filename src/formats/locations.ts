/**
 * Where models and data are on this disk: the one place that knows what a name can be. A folder or file, the folder of a run
 * (its `model`), something that comes with prefopt, or a name on the hub, which is downloaded when it is not here yet.
 */
import { exists, packageFolder, resolvePath } from "./files.ts";
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
  const holdsModel = (path: string) => exists(resolvePath(path, "config.json"));
  if (await holdsModel(name)) return { path: name, name };
  const ofRun = resolvePath(name, "model");
  if (await holdsModel(ofRun)) return { path: ofRun, name };
  const own = resolvePath(packageFolder(), name);
  return { path: !(await exists(name)) && (await exists(own)) ? own : name, name };
}

/** Where data are. A name on the hub is downloaded first. */
export async function locateData(name: string, options?: HubOptions): Promise<LocatedData> {
  if (!isHubName(name)) return { files: [{ path: name, name }], name };
  const { fetchData } = await import("./hub.ts");
  const { files, pinned } = await fetchData(name, options);
  return { files, name: pinned };
}
