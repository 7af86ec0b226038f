/**
 * What a recipe names on the hub is downloaded before anything else, with progress, and the recipe goes on with the commits
 * that the names came to: so a run is resumed, and repeated from its `recipe.yaml`, with the same model and data.
 */
import { type HubOptions, progressText } from "../formats/hub-cache.ts";
import { isHubName } from "../formats/hub-name.ts";
import { locateData, locateModel } from "../formats/locations.ts";
import type { Given } from "./prepare.ts";
import { type Progress, withProgress } from "./progress.ts";
import type { Recipe } from "./recipe.ts";

type Locate = (name: string, options: HubOptions) => Promise<{ readonly name: string }>;

/** Downloads what the recipe names on the hub and is not given otherwise; returns the recipe with pinned names. */
export async function* fetchSources(recipe: Recipe, given: Given): AsyncGenerator<Progress, Recipe> {
  async function* pinned<T extends string | undefined>(
    name: T,
    locate: Locate,
    needed: boolean,
  ): AsyncGenerator<Progress, T | string> {
    if (name === undefined || !needed || !isHubName(name)) return name;
    const found = yield* withProgress((tell) =>
      locate(name, { onProgress: (p) => tell({ text: progressText(p), done: p.done, total: p.total }) }),
    );
    return found.name;
  }
  const model = yield* pinned(recipe.model, locateModel, !(given.model && given.tokenizer));
  const reference = yield* pinned(recipe.reference, locateModel, true);
  const from = recipe.adapter && "from" in recipe.adapter ? recipe.adapter.from : undefined;
  const adapter = yield* pinned(from, locateModel, true);
  const train = yield* pinned(recipe.data.train, locateData, !given.records);
  const held = yield* pinned(recipe.data.eval, locateData, !given.evalRecords);
  return {
    ...recipe,
    model,
    reference,
    ...(recipe.adapter && adapter !== undefined && { adapter: { ...recipe.adapter, from: adapter } }),
    data: { ...recipe.data, train, ...(held !== undefined && { eval: held }) },
  };
}
