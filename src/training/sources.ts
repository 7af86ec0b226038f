/**
 * What a recipe names on the hub is downloaded before anything else, with progress, and the recipe goes on with the commits
 * that the names came to: so a run is resumed, and repeated from its `recipe.yaml`, with the same model and data.
 */
import { type HubOptions, type HubProgress, progressText } from "../formats/hub-cache.ts";
import { isHubName } from "../formats/hub-name.ts";
import { locateData, locateModel } from "../formats/locations.ts";
import type { Given } from "./prepare.ts";
import type { Recipe } from "./recipe.ts";

/** How far the download at hand is, in words and in bytes. */
export interface SourceProgress {
  readonly text: string;
  readonly done: number;
  readonly total: number;
}

type Locate = (name: string, options: HubOptions) => Promise<{ readonly name: string }>;

/** Milliseconds between two words on a download. */
const interval = 500;

/** Downloads what the recipe names on the hub and is not given otherwise; returns the recipe with pinned names. */
export async function* fetchSources(recipe: Recipe, given: Given): AsyncGenerator<SourceProgress, Recipe> {
  async function* pinned<T extends string | undefined>(
    name: T,
    locate: Locate,
    needed: boolean,
  ): AsyncGenerator<SourceProgress, T | string> {
    if (name === undefined || !needed || !isHubName(name)) return name;
    return (yield* withProgress((onProgress) => locate(name, { onProgress }))).name;
  }
  const model = yield* pinned(recipe.model, locateModel, !(given.model && given.tokenizer));
  const reference = yield* pinned(recipe.reference, locateModel, true);
  const train = yield* pinned(recipe.data.train, locateData, !given.records);
  const held = yield* pinned(recipe.data.eval, locateData, !given.evalRecords);
  return {
    ...recipe,
    model,
    reference,
    data: { ...recipe.data, train, ...(held !== undefined && { eval: held }) },
  };
}

/** Yields what a download tells while it goes on, not too often, and returns its result. */
async function* withProgress<T>(
  work: (onProgress: (progress: HubProgress) => void) => Promise<T>,
): AsyncGenerator<SourceProgress, T> {
  let latest: HubProgress | undefined;
  const running = work((progress) => {
    latest = progress;
  });
  const ended = running.then(
    () => true,
    () => true,
  );
  let shown = "";
  for (;;) {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const pause = new Promise<false>((resolve) => (timer = setTimeout(() => resolve(false), interval)));
    const done = await Promise.race([ended, pause]);
    clearTimeout(timer);
    if (latest && progressText(latest) !== shown) {
      shown = progressText(latest);
      yield { text: shown, done: latest.done, total: latest.total };
    }
    if (done) return running;
  }
}
