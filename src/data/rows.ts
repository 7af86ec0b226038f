/**
 * The one row builder: a record becomes token ids, split by position into what is given and what is scored. Training,
 * scoring, evaluation and generation all use it, so a model is asked exactly as it was trained.
 */
import { RequestError } from "../errors.ts";
import { contentsOf } from "./contents.ts";
import type { Encoder } from "./encode.ts";
import { type Source, showSource } from "./load-records.ts";
import type { RecordKind } from "./record-kinds.ts";
import { type DataRecord, formats } from "./record-formats.ts";
import type { RowDraft, RowSettings } from "./row-kinds/row-kind.ts";
import { rowKinds } from "./row-kinds/table.ts";
import { type Part, type TokenRow, type TokenTree, branchLength, completionsOf } from "./token-row.ts";

export type { RowSettings } from "./row-kinds/row-kind.ts";
export { promptIds } from "./encode.ts";

export interface RowLimits {
  /** Most tokens of prompt and one completion together. */
  readonly maxLength: number;
  /** What to do with a longer row: refuse it, or keep the end or the start of the prompt. */
  readonly truncation: "error" | "keep-end" | "keep-start";
}

export interface RowBuilder extends Encoder {
  readonly vocabularySize: number;
  readonly limits: RowLimits;
  /** What the objective says about the making of rows. */
  readonly settings?: RowSettings;
}

/**
 * Builds the rows of a record, of the kind that is asked for or the record's own; most records make one. Throws a RequestError that names
 * file, line and remedy where the record does not fit.
 */
export function buildRows(
  record: DataRecord,
  source: Source,
  builder: RowBuilder,
  kind: RecordKind = formats[record.format].kind,
): TokenRow[] {
  const contents = contentsOf(record, builder, source);
  const make = rowKinds[kind][contents.kind];
  if (!make) {
    throw fail(
      source,
      `a ${contents.kind} record cannot become a ${kind} one`,
      undefined,
      `Give records that are ${Object.keys(rowKinds[kind]).join(" or ")}`,
    );
  }
  const drafts = make(contents, { encoder: builder, source, settings: builder.settings ?? {} });
  return drafts.map((draft) => finished(draft, kind, source, builder));
}

/** Builds the one row of a record of its own kind. */
export function buildRow(record: DataRecord, source: Source, builder: RowBuilder): TokenRow {
  return buildRows(record, source, builder)[0];
}

/** Checks ids, lengths and numbers, and truncates where that is asked for. */
function finished(draft: RowDraft, kind: RecordKind, source: Source, builder: RowBuilder): TokenRow {
  for (const { prompt, branches } of draft.trees) {
    for (const ids of [prompt, ...branches.flat().map((p) => p.ids)]) checkIds(ids, builder, source);
    if (prompt.length === 0) {
      throw fail(
        source,
        "the prompt has no tokens",
        "there is nothing to predict the first token of the completion from",
        "Give a prompt, or use a tokenizer with a begin token",
      );
    }
  }
  const cut = draft.trees.map((tree) => truncate(tree, builder.limits, source));
  const row: TokenRow = {
    kind,
    trees: cut.map((c) => c.tree),
    fields: draft.fields ?? {},
    values: draft.values ?? {},
    tokenRewards: draft.tokenRewards ?? {},
    truncated: cut.reduce((n, c) => n + c.removed, 0),
    ...(draft.warning !== undefined && { warning: draft.warning }),
    source,
  };
  checkTokenRewards(row);
  return row;
}

function checkIds(ids: readonly number[], { vocabularySize }: RowBuilder, source: Source): void {
  const bad = ids.find((id) => id >= vocabularySize);
  if (bad === undefined) return;
  throw fail(
    source,
    `token id ${bad} does not exist`,
    `the model's vocabulary has ${vocabularySize} tokens`,
    "Use the tokenizer that belongs to the model",
  );
}

function checkTokenRewards(row: TokenRow): void {
  for (const [role, lists] of Object.entries(row.tokenRewards)) {
    completionsOf(row, role).forEach((ids, i) => {
      if (lists[i]?.length === ids.length) return;
      throw fail(
        row.source,
        `the ${role} completion has ${ids.length} tokens and ${lists[i]?.length ?? 0} token rewards`,
        "each token needs one, the end token included",
        "Make the rewards with the tokenizer of the model that is trained",
      );
    });
  }
}

function truncate(
  { prompt, branches }: TokenTree,
  { maxLength, truncation }: RowLimits,
  source: Source,
): { tree: TokenTree; removed: number } {
  const longest = Math.max(0, ...branches.map(branchLength));
  if (prompt.length + longest <= maxLength) return { tree: { prompt, branches }, removed: 0 };
  if (truncation === "error") {
    throw fail(
      source,
      `the row has ${prompt.length + longest} tokens`,
      `at most ${maxLength} fit (data.maxLength, or the model's context)`,
      "Set data.truncation to keep-end or keep-start, raise data.maxLength, or shorten the record",
    );
  }
  // The prompt gives way first, down to the one token that the completion is predicted from; then the completions' ends.
  const room = Math.max(1, maxLength - longest);
  const kept = truncation === "keep-end" ? prompt.slice(-room) : prompt.slice(0, room);
  const shortened = branches.map((branch) => shortenedTo(branch, maxLength - kept.length));
  if (shortened.some((branch) => branch.some((p) => p.ids.length === 0))) {
    throw fail(
      source,
      "a completion is empty after truncation",
      `data.maxLength is ${maxLength}`,
      "Raise data.maxLength",
    );
  }
  const removed =
    prompt.length -
    kept.length +
    branches.reduce((n, branch, i) => n + branchLength(branch) - branchLength(shortened[i]), 0);
  return { tree: { prompt: kept, branches: shortened }, removed };
}

/** The first `length` tokens of a branch, part by part. */
function shortenedTo(branch: readonly Part[], length: number): Part[] {
  let left = length;
  return branch.map(({ role, ids }) => {
    const kept = ids.slice(0, Math.max(0, left));
    left -= kept.length;
    return { role, ids: kept };
  });
}

function fail(source: Source, what: string, why: string | undefined, fix: string): RequestError {
  return new RequestError({ code: "row-invalid", what, where: showSource(source), why, fix });
}
