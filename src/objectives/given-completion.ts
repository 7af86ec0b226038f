/** One completion as the calculator takes it: numbers for each of its tokens, or rows over a small vocabulary, checked. */
import { z } from "zod";
import { RequestError } from "../errors.ts";

const finite = z.number();
export const numbers = z.array(finite).min(1);
export const rows = z.array(numbers).min(1);

const completionSchema = z.looseObject({
  policy: numbers.optional(),
  reference: numbers.optional(),
  slow: numbers.optional(),
  tokenKl: numbers.optional(),
  reverseTokenKl: numbers.optional(),
  collision: numbers.optional(),
  tokenRewards: numbers.optional(),
  tokens: z.array(z.number().int().min(0)).min(1).optional(),
  logits: rows.optional(),
  referenceLogits: rows.optional(),
  reward: finite.optional(),
  score: finite.optional(),
  winRate: finite.optional(),
  degree: finite.optional(),
  degreeLogits: numbers.optional(),
});

/** The fields that a completion may have. */
export const completionFields: readonly string[] = Object.keys(completionSchema.shape);

/** What is known of one completion: numbers for each of its tokens, or rows over a small vocabulary, and numbers of its own. */
export type GivenCompletion = Readonly<z.output<typeof completionSchema>>;

/** Checks a completion; `name` says where in the example it stands. */
export function checkCompletion(value: unknown, name: string, where: string, owner: string): GivenCompletion {
  const parsed = completionSchema.safeParse(value);
  if (!parsed.success) {
    const { path, message } = parsed.error.issues[0];
    throw invalid(
      [name, ...path].join("."),
      where,
      `${message} (objective ${owner} takes finite numbers, one a token)`,
    );
  }
  const c = parsed.data;
  const length = tokenCount(c);
  for (const field of perToken) {
    const list = c[field];
    if (list && list.length !== length) {
      throw new RequestError({
        code: "length-mismatch",
        what: `${name}.${field} has ${list.length} values`,
        where,
        why: `the completion has ${length} tokens`,
      });
    }
  }
  const width = c.logits?.[0].length;
  for (const field of ["logits", "referenceLogits"] as const) {
    const bad = c[field]?.findIndex((row) => width !== undefined && row.length !== width) ?? -1;
    if (bad >= 0) throw invalid(`${name}.${field}.${bad}`, where, `every row must have ${width} numbers`);
  }
  if (c.logits && !c.tokens) throw invalid(`${name}.tokens`, where, "logits need the tokens they are for");
  const beyond = c.logits && c.tokens?.findIndex((t) => t >= (width ?? 0));
  if (beyond !== undefined && beyond >= 0)
    throw invalid(`${name}.tokens.${beyond}`, where, `rows over the vocabulary have ${width} numbers`);
  return c;
}

const perToken = [
  "policy",
  "reference",
  "slow",
  "tokenKl",
  "reverseTokenKl",
  "collision",
  "tokenRewards",
  "logits",
  "referenceLogits",
  "tokens",
] as const;

/** Tokens of a completion: whichever field gives one value or row a token. */
export function tokenCount(c: GivenCompletion): number {
  for (const field of perToken) {
    const list = c[field];
    if (list) return list.length;
  }
  return 0;
}

/** The error of a field that has the wrong form. */
export function invalid(field: string, where: string, why: string): RequestError {
  return new RequestError({ code: "field-invalid", what: `${field} is not valid`, where, why });
}
