/**
 * Single completions with a thumb up or down. A pair makes two: the chosen one up, the rejected one down. Mismatched completions,
 * by which KTO estimates a KL, are put together batch by batch.
 */
import type { TokenRow } from "../token-row.ts";
import { completionsOf, promptOfRow } from "../token-row.ts";
import { type RowKind, ask, asWritten, branch } from "./row-kind.ts";

export const unpaired: RowKind = {
  unpaired: asWritten,
  pair(contents, tools) {
    const { prompt, named, warning } = ask(contents.asked[0], tools);
    const { weight } = contents.fields;
    return (["chosen", "rejected"] as const).map((side) => ({
      trees: [{ prompt, branches: [branch("completion", named[side])] }],
      fields: { label: Number(side === "chosen"), ...(weight !== undefined && { weight }) },
      warning,
    }));
  },
};

/**
 * The rows of a batch, each with the completion of the row before it (the first with that of the last) under its own prompt:
 * pairs (x_i, y_{i-1 mod B}). The end of a completion that would not fit into `maxLength` is left off: it is a sample, not data.
 */
export function withMismatched(rows: readonly TokenRow[], maxLength: number): TokenRow[] {
  return rows.map((row, i) => {
    const [other] = completionsOf(rows[(i + rows.length - 1) % rows.length], "completion");
    const [tree, ...rest] = row.trees;
    const room = Math.max(1, maxLength - promptOfRow(row).length);
    const trees = [
      { ...tree, branches: [...tree.branches, branch("mismatched", other.slice(0, room))] },
      ...rest,
    ];
    return { ...row, trees };
  });
}
