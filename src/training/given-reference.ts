/**
 * Log-probabilities of the reference that records bring (`refChosenLogps`, `refRejectedLogps`): sums over an answer's tokens, end token
 * included, as other tools compute them beforehand. Then no reference is asked. A sum says nothing of single tokens, and nothing of an
 * answer that was cut: what would read more than it says is an error.
 */
import { showSource } from "../data/load-records.ts";
import { type TokenRow, completionsOf } from "../data/token-row.ts";
import { RequestError } from "../errors.ts";
import type { Touched } from "../objectives/touched.ts";
import type { RowScores } from "../scoring/text-scorer.ts";

/** How records name the sums of a role. */
const fieldOf = (role: string): string => `ref${role[0].toUpperCase()}${role.slice(1)}Logps`;

const sumOf = (row: TokenRow, role: string): number | undefined => row.values[role]?.refLogps?.[0];

/** Whether a row brings any. */
export const bringsReference = (row: TokenRow): boolean =>
  Object.values(row.values).some((named) => "refLogps" in named);

export interface Asked {
  readonly touched: Touched;
  /** Whether the reference follows the policy. */
  readonly follows: boolean;
}

/**
 * The scores of rows that bring them, each token with its share of the sum; undefined where none does, or no reference is touched. Throws a
 * RequestError where some do not, or where more is asked than they say.
 */
export function givenReference(rows: readonly TokenRow[], asked: Asked): RowScores[] | undefined {
  const first = rows.find(bringsReference);
  if (!first || !asked.touched.reference) return undefined;
  const roles = [...asked.touched.tokens].flatMap(([role, of]) => (of.has("reference") ? [role] : []));
  const more = moreThanSums(asked);
  if (more !== undefined) throw unusable(first, more);
  return rows.map((row) => {
    if (row.truncated > 0) throw unusable(row, "the row is truncated, and they are sums over whole answers");
    return Object.fromEntries(
      roles.map((role) => {
        const sum = sumOf(row, role);
        if (sum === undefined)
          throw unusable(row, `"${fieldOf(role)}" is missing, and the objective reads it`);
        return [
          role,
          completionsOf(row, role).map(({ length }) => new Float32Array(length).fill(sum / length)),
        ];
      }),
    );
  });
}

/** Why sums are not enough. */
function moreThanSums({ touched, follows }: Asked): string | undefined {
  if (follows) return "the reference follows the policy (syncRefModel)";
  if (touched.referenceVocabulary) return "the objective reads the reference's whole distributions";
  if (touched.placed.size > 0) return "the objective weighs tokens by their places (ldAlpha)";
  return undefined;
}

const unusable = (row: TokenRow, why: string) =>
  new RequestError({
    code: "given-reference-unusable",
    what: "the reference's log-probabilities that records bring cannot be used",
    where: showSource(row.source),
    why,
    fix: "Leave them out of all records: the reference is asked then",
  });
