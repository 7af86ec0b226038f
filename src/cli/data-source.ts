/** What `prefopt data` looks at: a data file with a model, or the data of a recipe, read as its run would read them. */
import type { RecordKind } from "../data/record-kinds.ts";
import type { DataKind } from "../data/record-formats.ts";
import type { RowBuilder } from "../data/rows.ts";
import { RequestError } from "../errors.ts";
import { termsOf } from "../methods/terms.ts";
import { type ModelFacts, readModelFacts } from "../models/language-model.ts";
import { type Tokenizer, hasTokenizer, loadTokenizer } from "../text/tokenizer.ts";
import { type Recipe, loadRecipe } from "../training/recipe.ts";
import { dataKindsOf, rowKindFor } from "../training/requirements.ts";
import { modelPath, warnOf } from "./model.ts";

export interface DataSourceOptions {
  readonly model?: string;
  readonly format?: string;
  readonly eval?: boolean;
  readonly set?: readonly string[];
}

export interface DataSource {
  /** A file, here or on the hub. */
  readonly data: string;
  /** Held-out data of a recipe. */
  readonly held?: string;
  readonly format?: string;
  readonly model?: string;
  readonly recipe?: Recipe;
  /** Kinds of records that a recipe takes. */
  readonly kinds?: readonly DataKind[];
  /** The kind of rows that records of a kind become. */
  readonly rowKind: (data: DataKind) => RecordKind | undefined;
  /** Without a model, rows of token ids alone can be made. */
  readonly builder: RowBuilder;
  readonly tokenizer?: Tokenizer;
}

export const isRecipe = (name: string): boolean => /\.ya?ml$/i.test(name);

/** Resolves what a command was asked to look at. */
export async function dataSource(name: string, options: DataSourceOptions): Promise<DataSource> {
  if (!isRecipe(name)) {
    const opened = await openFacts(options.model);
    return {
      data: name,
      format: options.format,
      model: options.model,
      rowKind: (data) => data,
      builder: builderOf(opened),
      tokenizer: opened?.tokenizer,
    };
  }
  const recipe = await loadRecipe(name, options.set ?? []);
  const terms = termsOf(recipe);
  const model = options.model ?? recipe.model;
  const opened = await openFacts(model);
  const { train, eval: held, format, truncation } = recipe.data;
  if (options.eval && held === undefined) {
    throw new RequestError({
      code: "no-eval-data",
      what: "--eval, and the recipe has no data.eval",
      where: name,
      fix: "Leave --eval out",
    });
  }
  const context = opened?.facts.architecture.context ?? Infinity;
  return {
    data: options.eval && held !== undefined ? held : train,
    held,
    format: options.format ?? format,
    model,
    recipe,
    kinds: dataKindsOf(terms),
    rowKind: (data) => rowKindFor(terms, data),
    tokenizer: opened?.tokenizer,
    builder: {
      ...builderOf(opened),
      limits: { maxLength: Math.min(recipe.data.maxLength ?? 512, context), truncation },
      settings: terms.reduce((all, { objective }) => ({ ...objective.rows, ...all }), {}),
    },
  };
}

interface Opened {
  readonly facts: ModelFacts;
  readonly tokenizer?: Tokenizer;
}

/** Configuration and tokenizer of a model; its weights are not read. */
async function openFacts(name: string | undefined): Promise<Opened | undefined> {
  if (name === undefined) return undefined;
  const path = await modelPath(name, "description");
  const facts = await readModelFacts(path);
  const tokenizer = (await hasTokenizer(path)) ? await loadTokenizer(path) : undefined;
  if (tokenizer) warnOf(tokenizer);
  return { facts, tokenizer };
}

function builderOf(opened: Opened | undefined): RowBuilder {
  const { facts, tokenizer } = opened ?? {};
  const own = facts?.endIds ?? [];
  return {
    tokenizer,
    vocabularySize: facts?.architecture.vocabularySize ?? Infinity,
    endIds: own.length > 0 ? own : [tokenizer?.endId].filter((id) => id !== undefined),
    limits: { maxLength: facts?.architecture.context ?? Infinity, truncation: "error" },
  };
}
