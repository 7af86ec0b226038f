/** Everything a run needs before its first step: back end, model, tokenizer, rows, objective, and what `auto` settings come to. */
import type { Skipped } from "../data/load-records.ts";
import type { RecordKind } from "../data/record-kinds.ts";
import type { RowSettings } from "../data/rows.ts";
import { type TokenRow, rolesIn, tokensOf } from "../data/token-row.ts";
import type { Backend } from "../engine/backends/backend.ts";
import { openBackend } from "../engine/backends/open.ts";
import { RequestError } from "../errors.ts";
import { type LanguageModel, loadLanguageModel } from "../models/language-model.ts";
import { noLayers } from "../models/adapter/peft-files.ts";
import { packModel } from "../models/pack.ts";
import { type Term, checkBatch } from "../objectives/combined.ts";
import { type Touched, touchedBy } from "../objectives/touched.ts";
import { type Tokenizer, hasTokenizer, loadTokenizer } from "../text/tokenizer.ts";
import { adaptedModel } from "./adapted-model.ts";
import type { Recipe } from "./recipe.ts";
import { tokenizerOf, trainingRows } from "./training-rows.ts";
import { bringsReference } from "./given-reference.ts";

/** What a caller may pass instead of what the recipe names. */
export interface Given {
  readonly backend?: Backend;
  readonly terms: readonly Term[];
  /** Records instead of the files of `data`. */
  readonly records?: readonly unknown[];
  readonly evalRecords?: readonly unknown[];
  readonly model?: LanguageModel;
  readonly tokenizer?: Tokenizer;
}

export interface Prepared {
  /** With every `auto` replaced by what it came to, but for what depends on memory (`memory-plan.ts`). */
  readonly recipe: Recipe;
  /** Settings that were left to prefopt. */
  readonly automatic: ReadonlySet<"microBatch">;
  readonly backend: Backend;
  readonly model: LanguageModel;
  readonly tokenizer?: Tokenizer;
  readonly terms: readonly Term[];
  readonly kind: RecordKind;
  readonly rows: readonly TokenRow[];
  readonly evalRows: readonly TokenRow[];
  /** What the objectives touch of such rows. */
  readonly touched: Touched;
  readonly skipped: readonly Skipped[];
  /** Records whose prompt or completion was cut, and how many tokens in all. */
  readonly truncated: { readonly records: number; readonly tokens: number };
  readonly warnings: readonly string[];
  /** What is worth knowing of how the data were read: formats of others, fields that are not used, a cache. */
  readonly reading: readonly string[];
  /** Updates of the whole run. */
  readonly steps: number;
  /** Optional record fields that occur. */
  readonly fields: ReadonlySet<string>;
  /** Roles that occur. */
  readonly present: ReadonlySet<string>;
}

/** Tokens that a piece of a batch aims at: matrices large enough to be fast, activations small enough for the caches. */
const pieceTokens = 1024;

/** `onProgress` is told what goes on where that takes a while; `signal` stops it. */
export async function prepare(
  recipe: Recipe,
  given: Given,
  { signal, onProgress }: { signal?: AbortSignal; onProgress?: (text: string, done: number) => void } = {},
): Promise<Prepared> {
  const { terms } = given;
  const backend = await backendOf(recipe, given);
  const model = await policyOf(recipe, given, backend);
  const tokenizer =
    given.tokenizer ?? ((await hasTokenizer(recipe.model)) ? await loadTokenizer(recipe.model) : undefined);
  const maxLength = Math.min(recipe.data.maxLength ?? 512, model.architecture.context);
  const { invalid, format, truncation } = recipe.data;
  const endIds = model.endIds.length > 0 ? model.endIds : [tokenizer?.endId].filter((id) => id !== undefined);
  const reading = {
    terms,
    builder: {
      tokenizer,
      vocabularySize: model.architecture.vocabularySize,
      endIds,
      limits: { maxLength, truncation },
      settings: terms.reduce<RowSettings>((all, { objective }) => ({ ...objective.rows, ...all }), {}),
    },
    invalid,
    format,
    tokenizerFrom: given.tokenizer || !tokenizer ? undefined : await tokenizerOf(recipe.model),
    signal,
    onProgress,
  };
  const train = await trainingRows(given.records ?? recipe.data.train, reading);
  const evalFrom = given.evalRecords ?? recipe.data.eval;
  const held = evalFrom === undefined ? undefined : await trainingRows(evalFrom, reading, train.kind);
  const evalRows = held?.rows ?? [];
  const { rows, kind } = train;
  const all = [...rows, ...evalRows];
  const fields = fieldsOf(all);
  const touched = touchedBy(terms, kind, { fields });
  checkBatches(terms, recipe, { rows, evalRows, weighted: fields.has("weight") });
  if (touched.reference && recipe.reference === "none" && !all.every(bringsReference)) {
    throw new RequestError({
      code: "reference-needed",
      what: "reference: none",
      why: `objective ${terms.map((t) => t.objective.id).join(", ")} needs a reference`,
      fix: "Set reference: same",
    });
  }
  if (recipe.evaluate && evalRows.length === 0) {
    throw new RequestError({
      code: "no-eval-data",
      what: "evaluate is set and data.eval is not",
      fix: "Set data.eval to a file of held-out records, or leave evaluate out",
    });
  }
  const perEpoch = Math.ceil(rows.length / recipe.train.batchSize);
  const steps = recipe.train.steps ?? recipe.train.epochs * perEpoch;
  const meanTokens = rows.reduce((n, r) => n + tokensOf(r), 0) / rows.length;
  const microBatch =
    recipe.train.microBatch === "auto"
      ? Math.min(recipe.train.batchSize, Math.max(1, Math.round(pieceTokens / meanTokens)))
      : Math.min(recipe.train.microBatch, recipe.train.batchSize);
  return {
    recipe: {
      ...recipe,
      threads: backend.threads,
      data: { ...recipe.data, maxLength },
      train: { ...recipe.train, microBatch },
    },
    automatic: new Set(recipe.train.microBatch === "auto" ? ["microBatch"] : []),
    backend,
    model,
    tokenizer,
    terms,
    kind,
    rows,
    evalRows,
    touched,
    skipped: [...train.skipped, ...(held?.skipped ?? [])],
    truncated: {
      records: rows.filter((r) => r.truncated > 0).length,
      tokens: rows.reduce((n, r) => n + r.truncated, 0),
    },
    warnings: [
      ...new Set([
        ...terms.flatMap((t) => t.objective.warnings),
        ...(tokenizer?.warnings ?? []),
        ...(model.adapter?.warnings ?? []),
        ...train.warnings,
        ...(held?.warnings ?? []),
        ...rows.flatMap((r) => r.warning ?? []),
      ]),
    ],
    reading: [...train.reading, ...(held?.reading ?? [])],
    steps,
    fields,
    present: new Set(all.flatMap(rolesIn)),
  };
}

/** The back end of the recipe's device, on which a given model must be. */
async function backendOf(recipe: Recipe, given: Given): Promise<Backend> {
  const threads = recipe.threads === "auto" ? undefined : recipe.threads;
  const backend = given.backend ?? (await openBackend({ threads, device: recipe.device }));
  const at = given.model?.backend.device ?? backend.device;
  if (at === backend.device) return backend;
  throw new RequestError({
    code: "model-elsewhere",
    what: `device: ${backend.device}, and the model that was passed is on ${at}`,
    fix: `Load it with openBackend({ device: "${backend.device}" }), or set device: ${at}`,
  });
}

/** The model of the recipe, with its adapter where it asks for one. */
async function policyOf(recipe: Recipe, given: Given, backend: Backend): Promise<LanguageModel> {
  const base = recipe.adapter?.base ?? "float32";
  const pack = base === "float32" ? undefined : base;
  if (given.model?.packed && (!recipe.adapter || !pack || !holdsAs(given.model, pack)))
    throw new RequestError({
      code: "packed-model",
      what: "the model that was given is held in fewer bits",
      why: recipe.adapter ? `and not as adapter.base says, ${base}` : "and can only be trained by an adapter",
      fix: recipe.adapter
        ? "Set adapter.base to how it is held, or give it in full"
        : "Set adapter: { base: … }",
    });
  const packed = given.model && pack && !given.model.packed ? packModel(given.model, pack) : given.model;
  const model = packed ?? (await loadLanguageModel(recipe.model, backend, { pack }));
  const policy = recipe.adapter ? await adaptedModel(model, recipe.adapter, recipe.train.seed) : model;
  if (policy.adapter?.modules.length === 0) throw noLayers(recipe.model);
  return policy;
}

/** Whether a model's matrices are held in a way; those whose shapes do not fit it are in 8 bits. */
const holdsAs = ({ packed }: LanguageModel, id: string) =>
  [...(packed?.values() ?? [])].some(({ kind }) => kind.id === id);

/** Every batch must hold as many records as the objectives need, the last one of an epoch too. */
function checkBatches(
  terms: readonly Term[],
  recipe: Recipe,
  {
    rows,
    evalRows,
    weighted,
  }: { rows: readonly TokenRow[]; evalRows: readonly TokenRow[]; weighted: boolean },
): void {
  const size = recipe.train.batchSize;
  checkBatch(terms, size, weighted, "train.batchSize");
  const rest = rows.length % size;
  const lonely = terms.find((t) => rest > 0 && rest < t.objective.leastRecords);
  if (lonely) {
    throw new RequestError({
      code: "batch-of-one",
      what: `objective ${lonely.objective.id} needs at least two records in a batch`,
      why:
        rows.length === 1
          ? "there is one record"
          : `${rows.length} records in batches of ${size} leave one alone`,
      fix: rows.length === 1 ? "Give more records" : "Choose another train.batchSize",
    });
  }
  if (evalRows.length > 0) checkBatch(terms, evalRows.length, weighted, "data.eval");
}

const fieldsOf = (rows: readonly TokenRow[]) => new Set(rows.flatMap((r) => Object.keys(r.fields)));
