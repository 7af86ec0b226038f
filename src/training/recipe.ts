/**
 * A recipe fully determines a run. Every key has the same name in YAML, in `--set` and in the API; defaults are those of
 * docs/recipes.md. An unknown key is an error that names the nearest known one.
 */
import { stringify as toYaml } from "yaml";
import { z } from "zod";
import { devices } from "../engine/backends/backend.ts";
import { type AdapterConfig, adapterSchema } from "../models/adapter/config.ts";
import type { PackedId } from "../nn/packed/table.ts";
import { RequestError, nearest } from "../errors.ts";
import { dirName, exists, packageFolder, readText, resolvePath } from "../formats/files.ts";
import { parseYaml } from "../formats/parse-yaml.ts";
import { isHubName } from "../formats/hub-name.ts";
import { bytesOfSetting } from "./memory-setting.ts";
import type { OptimizerOptions } from "../optim/optimizer.ts";
import { optimizerNamed, optimizerOptions } from "../optim/table.ts";

const count = z.number().int().positive();
const share = z.number().min(0);
const auto = <T extends z.ZodType>(type: T) => z.union([type, z.literal("auto")]).default("auto");

const termSchema = z.strictObject({
  objective: z.string(),
  weight: z.number().default(1),
  options: z.record(z.string(), z.unknown()).default({}),
});

const decay = z.number().min(0).lt(1);
const positive = z.number().positive();

/** Every option that some optimizer takes, under the names of src/optim. */
const optimizerShape = {
  betas: z.tuple([decay, decay]).optional(),
  epsilon: z.union([positive, z.tuple([positive, positive])]).optional(),
  momentum: decay.optional(),
  nesterov: z.boolean().optional(),
  alpha: decay.optional(),
  centered: z.boolean().optional(),
  beta1: decay.nullable().optional(),
  decayRate: z.number().negative().optional(),
  clipThreshold: positive.optional(),
  scaleParameter: z.boolean().optional(),
  relativeStep: z.boolean().optional(),
  warmupInit: z.boolean().optional(),
} satisfies Record<keyof OptimizerOptions, z.ZodType>;
const optimizerKeys = Object.keys(optimizerShape) as (keyof OptimizerOptions)[];

export const recipeSchema = z.strictObject({
  /** A method id; or `objective` instead. */
  method: z.string().optional(),
  /** One loss, or a list of losses with weights. */
  objective: z.union([z.string(), z.array(termSchema).min(1)]).optional(),
  options: z.record(z.string(), z.unknown()).default({}),
  model: z.string(),
  reference: z.string().default("same"),
  /** Absent: all weights train. */
  adapter: adapterSchema
    .extend({
      /** The folder of an adapter to go on with; then it has that one's settings. */
      from: z.string().optional(),
      /** How the frozen matrices beneath it are held. */
      base: z.enum(["float32", "bfloat16", "int8", "int4"]).default("float32"),
    })
    .strict()
    .optional(),
  data: z.strictObject({
    train: z.string(),
    eval: z.string().optional(),
    maxLength: count.optional(),
    truncation: z.enum(["error", "keep-end", "keep-start"]).default("error"),
    invalid: z.enum(["error", "skip"]).default("error"),
    /** The format of the files; absent: told from their rows. */
    format: z.string().optional(),
    shuffle: z.boolean().default(true),
  }),
  train: z
    .strictObject({
      epochs: count.default(1),
      steps: count.nullable().default(null),
      batchSize: count.default(32),
      microBatch: auto(count),
      /** Compute layers a second time for their gradients instead of keeping what is inside of them. */
      recompute: auto(z.boolean()),
      /** null: the optimizer sets it (Adafactor with relativeStep). */
      learningRate: z.number().positive().nullable().default(5e-5),
      schedule: z.string().default("cosine"),
      warmup: share.default(0.1),
      optimizer: z.string().default("adamw"),
      /** Options of optimizers; defaults are those of the one that is named. */
      ...optimizerShape,
      weightDecay: share.default(0),
      /** Parameters by name, the first pattern that fits, with a rate and a decay of their own. */
      groups: z
        .array(
          z
            .strictObject({
              match: z.string(),
              learningRate: share.optional(),
              weightDecay: share.optional(),
            })
            .refine((g) => g.learningRate !== undefined || g.weightDecay !== undefined, {
              message: "a group sets learningRate, weightDecay or both",
            }),
        )
        .default([]),
      /** A moving average of the weights, and where it stands for them. */
      ema: z
        .strictObject({
          decay: z.number().min(0).lt(1).default(0.999),
          every: count.default(1),
          use: z.array(z.enum(["evaluation", "model"])).default(["evaluation", "model"]),
        })
        .optional(),
      maxGradNorm: share.default(1),
      nonFinite: z.enum(["stop", "skip"]).default("stop"),
      seed: z.number().int().default(1),
    })
    .prefault({}),
  evaluate: z
    .strictObject({
      every: count.default(50),
      samples: z.number().int().min(0).default(8),
      prompts: count.default(256),
      maxTokens: count.default(32),
      metrics: z
        .array(z.enum(["loss", "reward", "kl", "winRate"]))
        .default(["loss", "reward", "kl", "winRate"]),
      reward: z.string().default("sentiment"),
    })
    .optional(),
  run: z
    .strictObject({
      folder: z.string().default("runs"),
      checkpointEvery: count.default(100),
      keep: count.default(2),
    })
    .prefault({}),
  device: z.enum(devices).default("cpu"),
  threads: auto(count),
  memory: z.string().default("auto"),
});

/** The settings of an adapter, or the folder of one to go on with. */
export type AdapterSetting = (AdapterConfig | { readonly from: string }) & {
  readonly base: "float32" | PackedId;
};

export type Recipe = Omit<z.output<typeof recipeSchema>, "adapter"> & { readonly adapter?: AdapterSetting };
export type RecipeInput = z.input<typeof recipeSchema>;

/** Checks a recipe and fills in defaults. `where` names its file in errors. */
export function parseRecipe(value: unknown, where: string): Recipe {
  const result = recipeSchema.safeParse(value);
  if (!result.success) throw recipeError(result.error.issues[0], where);
  const given = (value as { train?: Readonly<Record<string, unknown>> }).train ?? {};
  const recipe = {
    ...result.data,
    adapter: resolvedAdapter(result.data.adapter, (value as RecipeInput).adapter, where),
    train: resolvedTraining(result.data.train, given, where),
  };
  bytesOfSetting(recipe.memory, where);
  if ((recipe.method === undefined) === (recipe.objective === undefined)) {
    throw new RequestError({
      code: "recipe-invalid",
      what:
        recipe.method === undefined
          ? "neither method nor objective is set"
          : "both method and objective are set",
      where,
      fix: "Set one of them, for example method: dpo",
    });
  }
  return recipe;
}

/** With the defaults of adapters; one that goes on from a folder has that folder's settings and no others. */
function resolvedAdapter(
  read: z.output<typeof recipeSchema>["adapter"],
  given: RecipeInput["adapter"],
  where: string,
): AdapterSetting | undefined {
  if (read === undefined) return undefined;
  const { from, ...settings } = read;
  if (from === undefined) return settings;
  const other = Object.keys(given ?? {}).find((key) => key !== "from" && key !== "base");
  if (other === undefined) return { from, base: settings.base };
  throw new RequestError({
    code: "recipe-invalid",
    what: `adapter.${other} is set, and adapter.from too`,
    where,
    why: "an adapter that training goes on with has the settings of its folder",
    fix: "Leave one of them out",
  });
}

/** The options of an optimizer out of a recipe's training settings. */
export function optimizerSettings(train: Recipe["train"]): OptimizerOptions {
  return Object.fromEntries(
    optimizerKeys.flatMap((key) => (train[key] === undefined ? [] : [[key, train[key]]])),
  );
}

/**
 * Training settings with the defaults of their optimizer. An optimizer that sets its own rate leaves none to the recipe: then
 * `given`, the settings as they were written, may not name one.
 */
function resolvedTraining(
  train: Recipe["train"],
  given: Readonly<Record<string, unknown>>,
  where: string,
): Recipe["train"] {
  const options = optimizerOptions(train.optimizer, optimizerSettings(train), `${where}, train`);
  const resolved = { ...train, ...(options as Partial<Recipe["train"]>) };
  if (optimizerNamed(train.optimizer).ownRate(options) === undefined) {
    if (train.learningRate !== null) return resolved;
    throw new RequestError({
      code: "recipe-invalid",
      what: "train.learningRate is null",
      where,
      why: "this optimizer does not set the rate itself",
      fix: "Set it, for example train.learningRate: 5.0e-5",
    });
  }
  const own = { learningRate: null, schedule: "constant", warmup: 0 } as const;
  const named = Object.entries(own).find(([key, value]) => given[key] !== undefined && given[key] !== value);
  const group = train.groups.findIndex((g) => g.learningRate !== undefined);
  if (named || group >= 0) {
    throw new RequestError({
      code: "rate-set-twice",
      what: `train.${named?.[0] ?? `groups[${group}].learningRate`} is set, and relativeStep too`,
      where,
      why: "with relative steps the optimizer sets the rate of every update itself",
      fix: "Leave one of them out",
    });
  }
  return { ...resolved, ...own };
}

/** Reads a recipe file; paths in it are resolved against its folder, then against prefopt's own. Names on the hub stay. */
export async function loadRecipe(path: string, settings: readonly string[] = []): Promise<Recipe> {
  const file = (await exists(path)) ? path : resolvePath(packageFolder(), path);
  const text = await readText((await exists(file)) ? file : path);
  const value = parseYaml(text, path);
  if (typeof value !== "object" || value === null)
    throw new RequestError({ code: "recipe-invalid", what: "is not a recipe", where: path });
  for (const setting of settings) applySetting(value as Record<string, unknown>, setting);
  const recipe = parseRecipe(value, path);
  const found = async (p: string) => {
    if (isHubName(p)) return p;
    const beside = resolvePath(dirName(file), p);
    if (await exists(beside)) return beside;
    const own = resolvePath(packageFolder(), p);
    return (await exists(own)) ? own : beside;
  };
  return {
    ...recipe,
    model: await found(recipe.model),
    ...(recipe.adapter &&
      "from" in recipe.adapter && {
        adapter: { ...recipe.adapter, from: await found(recipe.adapter.from) },
      }),
    reference: ["same", "none"].includes(recipe.reference) ? recipe.reference : await found(recipe.reference),
    data: {
      ...recipe.data,
      train: await found(recipe.data.train),
      ...(recipe.data.eval && { eval: await found(recipe.data.eval) }),
    },
  };
}

/** `a.b=value`, the value read as YAML. */
function applySetting(recipe: Record<string, unknown>, setting: string): void {
  const at = setting.indexOf("=");
  if (at <= 0) {
    throw new RequestError({
      code: "setting-invalid",
      what: `--set ${setting}`,
      why: "it has no value",
      fix: "Write --set key=value, for example --set train.steps=60",
    });
  }
  const path = setting.slice(0, at).split(".");
  if (path.includes("__proto__"))
    throw new RequestError({ code: "unknown-key", what: `unknown key "${path.join(".")}"`, where: "--set" });
  const last = path.pop() ?? "";
  let target = recipe;
  for (const key of path) {
    const inner = Object.hasOwn(target, key) ? target[key] : undefined;
    target = target[key] =
      typeof inner === "object" && inner !== null ? (inner as Record<string, unknown>) : {};
  }
  target[last] = parseYaml(setting.slice(at + 1), `--set ${setting.slice(0, at)}`);
}

export const recipeToYaml = (recipe: Recipe): string => toYaml(recipe);

function recipeError(issue: z.core.$ZodIssue, where: string): RequestError {
  const at = (path: readonly PropertyKey[]) => path.map(String).join(".");
  if (issue.code === "unrecognized_keys") {
    const key = at([...issue.path, issue.keys[0]]);
    const guess = nearest(key, knownKeys(recipeSchema));
    return new RequestError({
      code: "unknown-key",
      what: `unknown key "${key}"`,
      where,
      fix: guess ? `Did you mean ${guess}?` : "See docs/recipes.md for all keys",
    });
  }
  return new RequestError({
    code: "recipe-invalid",
    what: `key "${at(issue.path)}" is not valid`,
    where,
    why: issue.message,
  });
}

/** Every key of the schema, dotted. */
function knownKeys(schema: z.ZodType, prefix = ""): string[] {
  const inner = unwrap(schema);
  if (!(inner instanceof z.ZodObject)) return prefix ? [prefix] : [];
  const own = Object.entries(inner.shape).flatMap(([key, value]) =>
    knownKeys(value as z.ZodType, prefix ? `${prefix}.${key}` : key),
  );
  return prefix ? [prefix, ...own] : own;
}

function unwrap(schema: z.ZodType): z.ZodType {
  const inner = (schema as { def?: { innerType?: z.ZodType } }).def?.innerType;
  return inner ? unwrap(inner) : schema;
}
