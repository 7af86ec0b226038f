/**
 * Records cut into what attends together: segments look only at themselves, a whole tree or one branch with its own copy of the prompt;
 * spans are the parts of a segment that stand in one row of attention, or all of it.
 */
import { promptSuffix } from "../data/record-kinds.ts";
import type { Part, Scorable, TokenTree } from "../data/token-row.ts";

/** A role that is laid out and scored. */
export interface RoleLayout {
  /** Its name; with the suffix of prompts, the tokens of the prompt before that role's first completion. */
  readonly name: string;
  /** Whether a record may have several completions of it. */
  readonly many: boolean;
}

/** A completion in place: which of its role's completions it is. */
export interface Laid {
  readonly role: number;
  readonly unit: number;
  readonly ids: readonly number[];
}

/** Tokens that look only at themselves: a whole tree, or one branch with its own copy of the prompt. */
export interface Segment {
  readonly prompt: readonly number[];
  /** The prompt as a completion of its own, for each role that scores its tokens. */
  readonly scoredPrompts: readonly Laid[];
  readonly branches: readonly (readonly Laid[])[];
  /** Whether all of it attends in one row. */
  readonly joined: boolean;
}

/**
 * How the completions of a prompt stand: each with a copy of it (apart); or after one that they share, all in one row of attention (joined),
 * or each in a row that looks at the prompt's tokens again (split).
 */
export type Placement = "apart" | "joined" | "split";

/** Whether several rows look at the tokens of a prompt. */
export const isSplit = ({ branches, joined }: Segment): boolean => branches.length > 1 && !joined;

/**
 * Tokens that attend in one row: a part of a prompt with what it looks at, a branch that looks at its prompt too, or a prompt with all its
 * branches.
 */
export interface Span {
  readonly segment: Segment;
  /** Which branch; undefined for the prompt, with the branches that stand with it. */
  readonly branch: number | undefined;
  /** The tokens that look: the last ones of `keys`. */
  readonly queries: number;
  /** Those looked at: the first so many of prompt and branch, or of all branches. */
  readonly keys: number;
}

/** Tokens of a record that are laid out: parts of these roles with what they follow, a prompt once for all of them or with each. */
export function laidTokens(record: Scorable, roles: readonly RoleLayout[], placement: Placement): number {
  return tokensIn(segmentsOf([record], roles, placement).segments);
}

/** Tokens of segments. */
export const tokensIn = (segments: readonly Segment[]): number =>
  segments.reduce((n, { prompt, branches }) => n + prompt.length + laidTotal(branches), 0);

/** Tokens of prompts that several rows look at, and all others. */
export function tokenCounts(segments: readonly Segment[]) {
  const prompts = segments.filter(isSplit).reduce((n, { prompt }) => n + prompt.length, 0);
  return { prompts, others: tokensIn(segments) - prompts };
}

/** How many spans look at a token of a prompt that several look at, at most; `queries` as for `spansOf`. */
export const looksOf = (segments: readonly Segment[], queries: number): number =>
  Math.max(0, ...segments.filter(isSplit).map((s) => promptParts(s, queries) + s.branches.length));

/** Spans that the prompt of a segment is cut into. */
const promptParts = ({ prompt }: Segment, queries: number) => Math.max(1, Math.ceil(prompt.length / queries));

/**
 * The spans of a segment. Prompts that several rows look at are cut where they are longer than the queries of a row: a part looks at those
 * before it, and what comes after it takes no room in its row.
 */
export function spansOf(segment: Segment, queries: number): Span[] {
  const { prompt, branches } = segment;
  if (!isSplit(segment)) {
    const all = prompt.length + laidTotal(branches);
    return [{ segment, branch: undefined, queries: all, keys: all }];
  }
  const parts = promptParts(segment, queries);
  const ends = Array.from({ length: parts + 1 }, (_, i) => Math.ceil((prompt.length * i) / parts));
  return [
    ...ends.slice(1).map((keys, i) => ({ segment, branch: undefined, queries: keys - ends[i], keys })),
    ...branches.map((parts, branch) => {
      const n = laidLength(parts);
      return { segment, branch, queries: n, keys: prompt.length + n };
    }),
  ];
}

/** Tokens of a branch. */
export const laidLength = (parts: readonly Laid[]) => parts.reduce((n, p) => n + p.ids.length, 0);

const laidTotal = (branches: Segment["branches"]) => branches.reduce((n, b) => n + laidLength(b), 0);

/**
 * Every tree as one segment, or where completions stand apart one for each branch; completions are numbered by role in the order of the
 * records.
 */
export function segmentsOf(records: readonly Scorable[], roles: readonly RoleLayout[], placement: Placement) {
  const tokens = roles.map(() => 0);
  const units = roles.map(() => 0);
  const owners = roles.map((): number[] => []);
  const numbers = new Map(roles.map((role, k) => [role.name, k]));
  const take = (role: number, record: number, ids: readonly number[]): Laid => {
    const unit = roles[role].many ? units[role]++ : record;
    owners[role][unit] = record;
    tokens[role] += ids.length;
    return { role, unit, ids };
  };
  const segments: Segment[] = [];
  records.forEach(({ trees }, record) => {
    const prompts = new Set<number>(); // prompts scored already, by role: a record's role has one
    for (const { prompt, branches } of trees) {
      const wanted = branches.filter((b) => b.some((p) => numbers.has(p.role)));
      const scored = promptRoles(branches, roles).filter((k) => !prompts.has(k));
      scored.forEach((k) => prompts.add(k));
      if (wanted.length === 0 && scored.length === 0) continue;
      const laid = wanted.map((b) =>
        b.map((p) => {
          const role = numbers.get(p.role);
          return role === undefined ? { role: -1, unit: -1, ids: p.ids } : take(role, record, p.ids);
        }),
      );
      const scoredPrompts = scored.map((k) => take(k, record, prompt.slice(1)));
      const groups = placement === "apart" && laid.length > 0 ? laid.map((b) => [b]) : [laid];
      groups.forEach((group, g) =>
        segments.push({
          prompt,
          scoredPrompts: g === 0 ? scoredPrompts : [],
          branches: group,
          joined: placement === "joined",
        }),
      );
    }
  });
  return { segments, counts: { tokens, units, owners } };
}

/** The roles that score the prompt of these branches. */
function promptRoles(branches: TokenTree["branches"], roles: readonly RoleLayout[]): number[] {
  const here = new Set(branches.flatMap((b: readonly Part[]) => b.map((p) => p.role)));
  return roles.flatMap(({ name }, k) =>
    promptSuffix.test(name) && here.has(name.replace(promptSuffix, "")) ? [k] : [],
  );
}
