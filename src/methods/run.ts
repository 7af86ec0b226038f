/** Training from a program: a recipe as an object (or a file), records as values or files, events as they happen. */
import { joinPath, resolvePath } from "../formats/files.ts";
import type { LanguageModel } from "../models/language-model.ts";
import type { Objective } from "../objectives/definition.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import { type RecipeInput, loadRecipe, parseRecipe } from "../training/recipe.ts";
import type { RunResult } from "../training/result.ts";
import { type TrainEvent, train } from "../training/train.ts";
import { termsOf } from "./terms.ts";

export type RunEvent = TrainEvent;

export interface RunOptions {
  /** Folder of the run; default: a new one under the recipe's run.folder. */
  out?: string;
  /** Go on with the run in `out`. */
  resume?: boolean;
  /** Records instead of the files of `data.train` and `data.eval`. */
  records?: readonly unknown[];
  evalRecords?: readonly unknown[];
  /** An objective of one's own instead of the recipe's. */
  objective?: Objective;
  /** A model in memory instead of the recipe's folder. */
  model?: LanguageModel;
  tokenizer?: Tokenizer;
  /** Saves and stops after the current step. */
  signal?: AbortSignal;
  onEvent?: (event: RunEvent) => void;
}

/** A recipe as an object; `data` may be left out where records are passed as values. */
export type RunRecipe = Omit<RecipeInput, "data"> & { data?: Partial<RecipeInput["data"]> };

/** A run that can be awaited for its result, or walked through event by event. */
export interface Run extends AsyncIterable<RunEvent>, PromiseLike<RunResult> {}

/**
 * Runs a recipe: `await run(recipe)` gives the result, `for await (const event of run(recipe))` what happens on the way.
 * Throws a RequestError for what is wrong with the request and a WorkError for what goes wrong on the way.
 */
export function run(recipe: RunRecipe | string, options: RunOptions = {}): Run {
  async function* events(): AsyncGenerator<RunEvent, RunResult> {
    const { objective, out, onEvent, ...rest } = options;
    const placed = objective ? { objective: objective.id, ...(recipe as object), method: undefined } : recipe;
    const resolved =
      typeof recipe === "string"
        ? await loadRecipe(recipe)
        : parseRecipe(withData(placed, options), "the recipe");
    const folder =
      out ?? joinPath(resolved.run.folder, new Date().toISOString().slice(0, 19).replaceAll(/[:T]/g, "-"));
    const terms = objective ? [{ objective, weight: 1 }] : termsOf(resolved);
    const walk = train({ ...rest, recipe: resolved, terms, out: resolvePath(folder) });
    for (;;) {
      const next = await walk.next();
      if (next.done) return next.value;
      onEvent?.(next.value);
      yield next.value;
    }
  }
  const finish = async () => {
    const walk = events();
    for (;;) {
      const next = await walk.next();
      if (next.done) return next.value;
    }
  };
  return {
    [Symbol.asyncIterator]: events,
    then: (resolve, reject) => finish().then(resolve, reject),
  };
}

/** Records that are passed as values need no file in the recipe. */
function withData(recipe: unknown, { records, evalRecords }: RunOptions): unknown {
  const given = recipe as { data?: object };
  return {
    ...given,
    data: { ...(records && { train: "records" }), ...(evalRecords && { eval: "records" }), ...given.data },
  };
}
