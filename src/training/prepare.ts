/** Everything a run needs before its first step: back end, model, tokenizer, rows, objective, and what `auto` settings come to. */
import { type DataRecord } from "../data/records.ts";
import { type LoadedRecords, type Skipped, loadRecords, showSource } from "../data/load-records.ts";
import { type RowBuilder, type TokenRow, buildRow } from "../data/rows.ts";
import type { Backend } from "../engine/backends/backend.ts";
import { openBackend } from "../engine/backends/open.ts";
import { RequestError } from "../errors.ts";
import { type LanguageModel, loadLanguageModel } from "../models/language-model.ts";
import { type Term, canUse } from "../objectives/combined.ts";
import { type RecordKind } from "../objectives/objective.ts";
import { type Tokenizer, hasTokenizer, loadTokenizer } from "../text/tokenizer.ts";
import { touchesReference } from "./packed-scores.ts";
import type { Recipe } from "./recipe.ts";

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
  readonly needsReference: boolean;
  readonly skipped: readonly Skipped[];
  /** Records whose prompt or completion was cut, and how many tokens in all. */
  readonly truncated: { readonly records: number; readonly tokens: number };
  readonly warnings: readonly string[];
  /** Updates of the whole run. */
  readonly steps: number;
  /** Optional record fields that occur. */
  readonly fields: ReadonlySet<string>;
}

/** Tokens that a piece of a batch aims at: matrices large enough to be fast, activations small enough for the caches. */
const pieceTokens = 1024;

export async function prepare(recipe: Recipe, given: Given): Promise<Prepared> {
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
  };
  const { invalid } = recipe.data;
  const kind = given.terms[0].objective.record;
  // Other objectives also take records of other kinds: then the file decides, and what is missing is said when it is touched.
  const wanted = kind === "pair" ? kind : undefined;
  const train = rowsOf(
    await loadRecords(given.records ?? recipe.data.train, { invalid, kind: wanted }),
    builder,
    invalid,
  );
  const evalFrom = given.evalRecords ?? recipe.data.eval;
  const held =
    evalFrom === undefined
      ? undefined
      : rowsOf(await loadRecords(evalFrom, { invalid, kind: wanted }), builder, invalid);
  const evalRows = held?.rows ?? [];
  const rows = train.rows;
  const recordKind = oneKind([...rows, ...evalRows]);
  for (const { objective } of given.terms) {
    if (!canUse(objective.record, recordKind)) {
      throw new RequestError({
        code: "wrong-record-kind",
        what: `objective ${objective.id} needs ${objective.record} records`,
        where: showSource(rows[0].source),
        why: `these are ${recordKind} records`,
        fix: "Use another objective or other data",
      });
    }
  }
  const coupled = given.terms.find((t) => t.objective.coupled);
  const size = recipe.train.batchSize;
  const lonely = [rows, evalRows].find((list) => list.length > 0 && (size === 1 || list.length % size === 1));
  if (coupled && lonely) {
    throw new RequestError({
      code: "batch-of-one",
      what: `objective ${coupled.objective.id} needs at least two records in a batch`,
      why: `${lonely.length} records in batches of ${size} leave one alone`,
      fix: "Choose another train.batchSize",
    });
  }
  const needsReference = touchesReference(given.terms, recordKind);
  if (needsReference && recipe.reference === "none") {
    throw new RequestError({
      code: "reference-needed",
      what: "reference: none",
      why: `objective ${given.terms.map((t) => t.objective.id).join(", ")} needs a reference`,
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
  const meanTokens = rows.reduce((n, r) => n + rowTokens(r), 0) / rows.length;
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
    terms: given.terms,
    kind: recordKind,
    rows,
    evalRows,
    needsReference,
    skipped: [...train.skipped, ...(held?.skipped ?? [])],
    truncated: {
      records: rows.filter((r) => r.truncated > 0).length,
      tokens: rows.reduce((n, r) => n + r.truncated, 0),
    },
    warnings: [...new Set([...(tokenizer?.warnings ?? []), ...rows.flatMap((r) => r.warning ?? [])])],
    steps,
    fields: new Set([...rows, ...evalRows].flatMap((r) => Object.keys(r.fields))),
  };
}

/** Tokens of a row when prompt and completions are written once. */
function rowTokens({ prompt, completions }: TokenRow): number {
  return completions.reduce((n, c) => n + c.length, prompt.length);
}

function rowsOf(loaded: LoadedRecords, builder: RowBuilder, invalid: "error" | "skip") {
  const rows: TokenRow[] = [];
  const skipped = [...loaded.skipped];
  for (const { record, source } of loaded.records) {
    try {
      rows.push(buildRow(record satisfies DataRecord, source, builder));
    } catch (error) {
      if (invalid === "error" || !(error instanceof RequestError)) throw error;
      skipped.push({
        source,
        field: "",
        why: [error.report.what, error.report.why].filter(Boolean).join(": "),
        fix: error.report.fix,
      });
    }
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
  return { rows, skipped };
}

function oneKind(rows: readonly TokenRow[]): RecordKind {
  const [first] = rows;
  const other = rows.find((r) => r.kind !== first.kind);
  if (other) {
    throw new RequestError({
      code: "mixed-records",
      what: `a ${other.kind} record among ${first.kind} records`,
      where: showSource(other.source),
      fix: "Keep records of one kind in a run",
    });
  }
  return first.kind;
}
