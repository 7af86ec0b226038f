/**
 * What is trained on, token by token: rows as the one row builder makes them, each token with what it is for. Truncated tokens are told by
 * building the row once more without a limit.
 */
import { RequestError } from "../../errors.ts";
import type { Tokenizer } from "../../text/tokenizer.ts";
import { type Source, showSource } from "../load-records.ts";
import type { RecordKind } from "../record-kinds.ts";
import { type DataRecord, formats } from "../record-formats.ts";
import { type RowBuilder, buildRows } from "../rows.ts";
import type { Part, TokenRow, TokenTree } from "../token-row.ts";

/** What a token is for: given, learned, the end token that ends an answer, or removed by truncation. */
export type Mask = "prompt" | "trained" | "end" | "truncated";

export interface ShownToken {
  readonly id: number;
  /** What it reads as by itself; undefined where there is no tokenizer. */
  readonly text?: string;
  readonly mask: Mask;
  /** A special token, such as a turn marker. */
  readonly special?: true;
}

export interface ShownPart {
  readonly role: string;
  readonly tokens: readonly ShownToken[];
}

export interface ShownTree {
  readonly prompt: readonly ShownToken[];
  readonly branches: readonly (readonly ShownPart[])[];
}

export interface ShownRow {
  readonly source: Source;
  readonly kind: RecordKind;
  readonly trees: readonly ShownTree[];
  readonly fields: TokenRow["fields"];
  readonly values: TokenRow["values"];
  readonly truncated: number;
  readonly warning?: string;
}

/** A record that cannot be used, with why. */
export interface ShownProblem {
  readonly source: Source;
  readonly problem: string;
}

/** The rows of a record, or why there are none. */
export function inspectRecord(
  record: DataRecord,
  source: Source,
  builder: RowBuilder,
  kind: RecordKind = formats[record.format].kind,
): readonly (ShownRow | ShownProblem)[] {
  try {
    const rows = buildRows(record, source, builder, kind);
    const whole = rows.some((row) => row.truncated > 0)
      ? buildRows(record, source, { ...builder, limits: { maxLength: Infinity, truncation: "error" } }, kind)
      : rows;
    return rows.map((row, i) => shownRow(row, whole[i], builder));
  } catch (error) {
    if (!(error instanceof RequestError)) throw error;
    return [{ source, problem: error.message.replace(`${showSource(source)}: `, "") }];
  }
}

function shownRow(row: TokenRow, whole: TokenRow, builder: RowBuilder): ShownRow {
  const { source, kind, fields, values, truncated, warning } = row;
  return {
    source,
    kind,
    trees: row.trees.map((tree, i) => shownTree(tree, whole.trees[i], builder)),
    fields,
    values,
    truncated,
    ...(warning !== undefined && { warning }),
  };
}

function shownTree(tree: TokenTree, whole: TokenTree, { tokenizer, endIds, limits }: RowBuilder): ShownTree {
  const show = (ids: readonly number[], mask: Mask) => ids.map((id) => shownToken(id, mask, tokenizer));
  const removed = whole.prompt.length - tree.prompt.length;
  const gone =
    limits.truncation === "keep-start"
      ? whole.prompt.slice(tree.prompt.length)
      : whole.prompt.slice(0, removed);
  const prompt = show(tree.prompt, "prompt");
  const cut = show(gone, "truncated");
  return {
    prompt: limits.truncation === "keep-start" ? [...prompt, ...cut] : [...cut, ...prompt],
    branches: tree.branches.map((branch, b) =>
      branch.map(({ role, ids }: Part, p) => {
        const endsHere = p === branch.length - 1 && endIds.includes(ids.at(-1) ?? -1);
        const trained = endsHere ? ids.slice(0, -1) : ids;
        return {
          role,
          tokens: [
            ...show(trained, "trained"),
            ...show(ids.slice(trained.length), "end"),
            ...show(whole.branches[b][p].ids.slice(ids.length), "truncated"),
          ],
        };
      }),
    ),
  };
}

function shownToken(id: number, mask: Mask, tokenizer?: Tokenizer): ShownToken {
  if (!tokenizer) return { id, mask };
  const text = tokenizer.decode([id]);
  // A token of some bytes of a character reads as nothing by itself: its own name is shown.
  const shown = text.includes("\uFFFD") || text === "" ? (tokenizer.tokenOf(id) ?? text) : text;
  return { id, text: shown, mask, ...(tokenizer.isSpecial(id) && { special: true as const }) };
}

/** Numbers of tokens by what they are for, of all trees. */
export function countsOf({ trees }: ShownRow): Record<Mask, number> {
  const counts = { prompt: 0, trained: 0, end: 0, truncated: 0 };
  for (const { prompt, branches } of trees)
    for (const { mask } of [...prompt, ...branches.flat().flatMap((part) => part.tokens)]) counts[mask]++;
  return counts;
}
