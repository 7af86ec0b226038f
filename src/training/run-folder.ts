/**
 * The folder of a run: who may write into it, what is in it, and how a killed run is picked up. A folder that holds a run is
 * never overwritten; one process holds it at a time.
 */
import { RequestError } from "../errors.ts";
import { parseYaml } from "../formats/parse-yaml.ts";
import {
  exists,
  joinPath,
  listFolder,
  makeFolder,
  readText,
  removeLeftovers,
  writeFileAtomic,
} from "../formats/files.ts";
import { isPinOf } from "../formats/hub-name.ts";
import { type FolderLock, lockFolder } from "../formats/lock.ts";
import { type Recipe, parseRecipe, recipeToYaml } from "./recipe.ts";

export interface RunFolder {
  readonly path: string;
  readonly recipe: string;
  readonly metrics: string;
  readonly evaluations: string;
  readonly samples: string;
  /** Log-probabilities of held-out records at the start. */
  readonly start: string;
  readonly checkpoints: string;
  readonly model: string;
  readonly result: string;
  readonly report: string;
  release(): void;
}

export interface OpenedRun {
  readonly folder: RunFolder;
  /** The recipe that the folder's run was started with; undefined for a new run. */
  readonly earlier?: Recipe;
}

/** Takes a folder for a run. Throws when it holds a run and `resume` is not set, or when another process works in it. */
export async function openRunFolder(path: string, resume: boolean): Promise<OpenedRun> {
  await makeFolder(path);
  const lock = await lockFolder(path);
  try {
    const folder = paths(path, lock);
    const holdsRun = await exists(folder.recipe);
    if (!resume && (holdsRun || (await hasFiles(path)))) {
      throw new RequestError({
        code: "folder-not-empty",
        what: holdsRun ? "the folder holds a run" : "the folder is not empty",
        where: path,
        why: "nothing is overwritten",
        fix: holdsRun
          ? "Go on with it by --resume, or choose another folder with --out"
          : "Choose another folder with --out",
      });
    }
    for (const place of [path, folder.checkpoints, folder.samples]) {
      await makeFolder(place);
      await removeLeftovers(place);
    }
    return {
      folder,
      earlier: holdsRun
        ? parseRecipe(parseYaml(await readText(folder.recipe), folder.recipe), folder.recipe)
        : undefined,
    };
  } catch (error) {
    lock.release();
    throw error;
  }
}

/** Keeps the resolved recipe: what later resumes use. */
export const keepRecipe = (folder: RunFolder, recipe: Recipe): Promise<void> =>
  writeFileAtomic(folder.recipe, recipeToYaml(recipe));

/**
 * The recipe to resume with: as given now, with what `auto` came to at the start. Throws when it asks for something else than the
 * run was started with, naming the key.
 */
export function resumedRecipe(given: Recipe, earlier: Recipe, where: string): Recipe {
  const flatGiven = flatten(given);
  const flatEarlier = flatten(earlier);
  for (const key of new Set([...flatGiven.keys(), ...flatEarlier.keys()])) {
    const [now, then] = [flatGiven.get(key), flatEarlier.get(key)];
    const free =
      key.startsWith("run.") ||
      key === "threads" ||
      key === "memory" ||
      now === '"auto"' ||
      isPin(then, now) ||
      (key === "data.maxLength" && now === undefined);
    if (now !== then && !free) {
      throw new RequestError({
        code: "recipe-differs",
        what: `the run was started with ${key}: ${then ?? "not set"}, the recipe says ${now ?? "not set"}`,
        where,
        fix: "Resume with the same recipe and settings, or start a new run",
      });
    }
  }
  return { ...earlier, run: given.run, memory: given.memory };
}

/** Whether the run was started with the commit that a name on the hub had come to. */
function isPin(then: string | undefined, now: string | undefined): boolean {
  const [pinned, name] = [then, now].map((text) =>
    text === undefined ? undefined : (JSON.parse(text) as unknown),
  );
  return typeof pinned === "string" && typeof name === "string" && isPinOf(pinned, name);
}

function flatten(value: unknown, prefix = ""): Map<string, string> {
  const out = new Map<string, string>();
  for (const [key, inner] of Object.entries(value as Record<string, unknown>)) {
    const name = prefix ? `${prefix}.${key}` : key;
    if (typeof inner === "object" && inner !== null && !Array.isArray(inner))
      for (const [k, v] of flatten(inner, name)) out.set(k, v);
    else if (inner !== undefined) out.set(name, JSON.stringify(inner));
  }
  return out;
}

async function hasFiles(path: string): Promise<boolean> {
  return (await listFolder(path)).some((name) => !name.startsWith(".lock"));
}

function paths(path: string, lock: FolderLock): RunFolder {
  const at = (name: string) => joinPath(path, name);
  return {
    path,
    recipe: at("recipe.yaml"),
    metrics: at("metrics.jsonl"),
    evaluations: at("evaluations.jsonl"),
    samples: at("samples"),
    start: at("held-out-start.json"),
    checkpoints: at("checkpoints"),
    model: at("model"),
    result: at("result.json"),
    report: at("report.html"),
    release: () => lock.release(),
  };
}
