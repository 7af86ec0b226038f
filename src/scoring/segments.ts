/**
 * Records cut into what attends together: segments look only at themselves, a whole tree or one branch with its own copy of the prompt; spans
 * are the parts of a segment that stand in one row of attention.
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
}

/** Whether the prompt of a segment stands for several completions: then each of its parts attends for itself. */
export const isShared = ({ branches }: Segment): boolean => branches.length > 1;

/**
 * Tokens that attend in one row: a part of a prompt with what it looks at, a branch that looks at its prompt too, or a prompt with its only
 * branch.
 */
export interface Span {
  readonly segment: Segment;
  /** Which branch; undefined for the prompt, with the branch that stands with it. */
  readonly branch: number | undefined;
  /** The tokens that look: the last ones of `keys`. */
  readonly queries: number;
  /** Those looked at: the first so many of prompt and branch. */
  readonly keys: number;
}

/** Tokens of a record that are laid out: parts of these roles with what they follow, prompts once for all of them or, `apart`, with each. */
export function laidTokens(record: Scorable, roles: readonly RoleLayout[], apart: boolean): number {
  const { prompts, others } = tokenCounts(segmentsOf([record], roles, apart).segments);
  return prompts + others;
}

/** Tokens of prompts for several completions, and all others. */
export function tokenCounts(segments: readonly Segment[]) {
  let [prompts, others] = [0, 0];
  for (const segment of segments) {
    const { prompt, branches } = segment;
    others += branches.reduce((n, b) => n + laidLength(b), 0);
    if (isShared(segment)) prompts += prompt.length;
    else others += prompt.length;
  }
  return { prompts, others };
}

/** How many spans look at a token of a prompt for several completions, at most; `queries` as for `spansOf`. */
export const looksOf = (segments: readonly Segment[], queries: number): number =>
  Math.max(0, ...segments.filter(isShared).map((s) => promptParts(s, queries) + s.branches.length));

/** Spans that the prompt of a segment is cut into. */
const promptParts = ({ prompt }: Segment, queries: number) => Math.max(1, Math.ceil(prompt.length / queries));

/**
 * The spans of a segment. Prompts for several completions that are longer than the queries of a row are cut: a part looks at those before it,
 * and what comes after it takes no room in its row.
 */
export function spansOf(segment: Segment, queries: number): Span[] {
  const { prompt, branches } = segment;
  const lengths = branches.map(laidLength);
  if (!isShared(segment)) {
    const all = prompt.length + (lengths[0] ?? 0);
    return [{ segment, branch: undefined, queries: all, keys: all }];
  }
  const parts = promptParts(segment, queries);
  const ends = Array.from({ length: parts + 1 }, (_, i) => Math.ceil((prompt.length * i) / parts));
  return [
    ...ends.slice(1).map((keys, i) => ({ segment, branch: undefined, queries: keys - ends[i], keys })),
    ...lengths.map((n, branch) => ({ segment, branch, queries: n, keys: prompt.length + n })),
  ];
}

/** Tokens of a branch. */
export const laidLength = (parts: readonly Laid[]) => parts.reduce((n, p) => n + p.ids.length, 0);

/**
 * Every tree as one segment, or one segment a branch where rotary frequencies depend on the length of the row; completions are
 * numbered by role in the order of the records.
 */
export function segmentsOf(records: readonly Scorable[], roles: readonly RoleLayout[], apart: boolean) {
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
      const groups = apart && laid.length > 0 ? laid.map((b) => [b]) : [laid];
      groups.forEach((group, g) =>
        segments.push({
          prompt,
          scoredPrompts: g === 0 ? scoredPrompts : [],
          branches: group,
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
