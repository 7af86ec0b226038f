/** Everything a run needs before its first step: back end, model, tokenizer, rows, objective, and what `auto` settings come to. */
import {
  type LoadedRecords,
  type Skipped,
  type Source,
  loadRecords,
  showSource,
} from "../data/load-records.ts";
import { type DataRecord, formats, parseRecord } from "../data/records.ts";
import type { RecordKind } from "../data/record-kinds.ts";
import { type RowBuilder, type RowSettings, buildRows } from "../data/rows.ts";
import { type TokenRow, rolesIn, tokensOf } from "../data/token-row.ts";
import type { Backend } from "../engine/backends/backend.ts";
import { openBackend } from "../engine/backends/open.ts";
import { RequestError } from "../errors.ts";
import { type LanguageModel, loadLanguageModel } from "../models/language-model.ts";
import { type Term, checkBatch } from "../objectives/combined.ts";
import { type Touched, touchedBy } from "../objectives/touched.ts";
import { type Tokenizer, hasTokenizer, loadTokenizer } from "../text/tokenizer.ts";
import type { Recipe } from "./recipe.ts";
import { checkRow, dataKindsOf, objectivesFor, rowKindFor, usefulFor } from "./requirements.ts";

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
  /** With every `auto` replaced by what it came to. */
  readonly recipe: Recipe;
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
  /** Updates of the whole run. */
  readonly steps: number;
  /** Optional record fields that occur. */
  readonly fields: ReadonlySet<string>;
  /** Roles that occur. */
  readonly present: ReadonlySet<string>;
}

/** Tokens that a piece of a batch aims at: matrices large enough to be fast, activations small enough for the caches. */
const pieceTokens = 1024;

export async function prepare(recipe: Recipe, given: Given): Promise<Prepared> {
  const { terms } = given;
  const backend =
    given.backend ?? (await openBackend({ threads: recipe.threads === "auto" ? undefined : recipe.threads }));
  const model = given.model ?? (await loadLanguageModel(recipe.model, backend));
  const tokenizer =
    given.tokenizer ?? ((await hasTokenizer(recipe.model)) ? await loadTokenizer(recipe.model) : undefined);
  const maxLength = Math.min(recipe.data.maxLength ?? 512, model.architecture.context);
  const builder: RowBuilder = {
    tokenizer,
    vocabularySize: model.architecture.vocabularySize,
    endIds: model.endIds.length > 0 ? model.endIds : [tokenizer?.endId].filter((id) => id !== undefined),
    limits: { maxLength, truncation: recipe.data.truncation },
    settings: terms.reduce<RowSettings>((all, { objective }) => ({ ...objective.rows, ...all }), {}),
  };
  const { invalid } = recipe.data;
  const loading = {
    invalid,
    kinds: dataKindsOf(terms),
    hint: (value: unknown, line: number) => hintFor(value, line, builder),
  };
  const train = rowsOf(
    await loadRecords(given.records ?? recipe.data.train, loading),
    builder,
    terms,
    invalid,
  );
  const evalFrom = given.evalRecords ?? recipe.data.eval;
  const held =
    evalFrom === undefined
      ? undefined
      : rowsOf(await loadRecords(evalFrom, loading), builder, terms, invalid, train.kind);
  const evalRows = held?.rows ?? [];
  const { rows, kind } = train;
  const all = [...rows, ...evalRows];
  const fields = fieldsOf(all);
  const touched = touchedBy(terms, kind, { fields });
  checkBatches(terms, recipe, { rows, evalRows, weighted: fields.has("weight") });
  if (touched.reference && recipe.reference === "none") {
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
    warnings: [...new Set([...(tokenizer?.warnings ?? []), ...rows.flatMap((r) => r.warning ?? [])])],
    steps,
    fields,
    present: new Set(all.flatMap(rolesIn)),
  };
}

/** For whom a record would do that this run cannot use. */
function hintFor(value: unknown, line: number, builder: RowBuilder): string | undefined {
  const parsed = parseRecord(value);
  if ("problem" in parsed) return undefined;
  return usefulFor(objectivesFor(parsed.record, { file: "this record", line }, builder));
}

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
  for (const list of [rows, evalRows]) {
    const rest = list.length % size;
    const demanding = terms.find((t) => list.length > 0 && rest > 0 && rest < t.objective.leastRecords);
    if (demanding) {
      throw new RequestError({
        code: "batch-of-one",
        what: `objective ${demanding.objective.id} needs at least two records in a batch`,
        why: `${list.length} records in batches of ${size} leave one alone`,
        fix: "Choose another train.batchSize",
      });
    }
  }
}

function rowsOf(
  loaded: LoadedRecords,
  builder: RowBuilder,
  terms: readonly Term[],
  invalid: "error" | "skip",
  wanted?: RecordKind,
) {
  const [first] = loaded.records;
  const kind = kindOf(first.record, terms);
  if (wanted !== undefined && kind !== wanted) {
    throw new RequestError({
      code: "mixed-records",
      what: `${kind} records to evaluate on, ${wanted} records to train on`,
      where: showSource(first.source),
      fix: "Keep records of one kind in a run",
    });
  }
  const made: { rows: readonly TokenRow[]; record: DataRecord; source: Source }[] = [];
  const rows: TokenRow[] = [];
  const skipped = [...loaded.skipped];
  /** Does something with a record, which is skipped if that is wanted and it cannot be used. */
  const attempt = (source: Source, work: () => void) => {
    try {
      work();
    } catch (error) {
      if (invalid === "error" || !(error instanceof RequestError)) throw error;
      const why = [error.report.what, error.report.why].filter(Boolean).join(": ");
      skipped.push({ source, field: "", why, fix: error.report.fix });
    }
  };
  for (const { record, source } of loaded.records) {
    if (kindOf(record, terms) !== kind) {
      throw new RequestError({
        code: "mixed-records",
        what: `a ${formats[record.format].kind} record among ${formats[first.record.format].kind} records`,
        where: showSource(source),
        fix: "Keep records of one kind in a run",
      });
    }
    attempt(source, () => made.push({ rows: buildRows(record, source, builder, kind), record, source }));
  }
  // What must be there depends on what some record has.
  const touched = touchedBy(terms, kind, { fields: fieldsOf(made.flatMap((m) => m.rows)) });
  for (const { rows: own, record, source } of made) {
    attempt(source, () => {
      for (const row of own) checkRow(row, touched, terms, () => objectivesFor(record, source, builder));
      rows.push(...own);
    });
  }
  if (rows.length === 0) {
    throw new RequestError({
      code: "no-records",
      what: `none of its ${skipped.length} records can be used`,
      where: skipped[0]?.source.file,
      why: skipped[0]?.why,
      fix: skipped[0]?.fix,
    });
  }
  return { rows, skipped, kind };
}

const fieldsOf = (rows: readonly TokenRow[]) => new Set(rows.flatMap((r) => Object.keys(r.fields)));

/** The kind of rows that a record becomes. Loading has let through only records that have one. */
function kindOf(record: DataRecord, terms: readonly Term[]): RecordKind {
  const data = formats[record.format].kind;
  const kind = rowKindFor(terms, data);
  if (kind === undefined) throw new TypeError(`no rows can be made of ${data} records`);
  return kind;
}
