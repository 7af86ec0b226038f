/**
 * A record as token ids: prompts with the branches that follow them, each branch made of parts that play a role. What is given and
 * what is scored is told apart by where it stands, never by token id.
 */
import type { RecordKind } from "./record-kinds.ts";
import type { Source } from "./load-records.ts";

/** Tokens that play one role. */
export interface Part {
  readonly role: string;
  readonly ids: readonly number[];
}

/** A prompt, written once, and what may follow it: branches that do not see one another. */
export interface TokenTree {
  readonly prompt: readonly number[];
  readonly branches: readonly (readonly Part[])[];
}

/** Numbers of completions: by role and name, one for each completion of the role. */
export type UnitNumbers = Readonly<Record<string, Readonly<Record<string, readonly number[]>>>>;

export interface TokenRow {
  readonly kind: RecordKind;
  readonly trees: readonly TokenTree[];
  /** Numbers of the record: weight, chosenProb, label, … */
  readonly fields: Readonly<Record<string, number>>;
  /** Numbers of its completions: score, winRate, … */
  readonly values: UnitNumbers;
  /** A number for each token of a role's completions: by role, one list a completion. */
  readonly tokenRewards: Readonly<Record<string, readonly (readonly number[])[]>>;
  /** Tokens that truncation removed. */
  readonly truncated: number;
  /** What the template could not do exactly. */
  readonly warning?: string;
  readonly source: Source;
}

/** Anything with trees: a row, or a prompt with completions to be scored. */
export interface Scorable {
  readonly trees: readonly TokenTree[];
}

/** The completions of a role, in order. */
export function completionsOf({ trees }: Scorable, role: string): (readonly number[])[] {
  return trees.flatMap((t) => t.branches.flatMap((b) => b.filter((p) => p.role === role).map((p) => p.ids)));
}

/** The roles that occur, in order. */
export function rolesIn({ trees }: Scorable): string[] {
  return [...new Set(trees.flatMap((t) => t.branches.flatMap((b) => b.map((p) => p.role))))];
}

/** Tokens that a row takes when every prompt is written once. */
export function tokensOf({ trees }: Scorable): number {
  return trees.reduce((n, t) => n + t.branches.reduce((m, b) => m + branchLength(b), t.prompt.length), 0);
}

export function branchLength(branch: readonly Part[]): number {
  return branch.reduce((n, p) => n + p.ids.length, 0);
}

/** The prompt that a policy would be asked with: that of the first completion. */
export const promptOfRow = ({ trees }: Scorable): readonly number[] => trees[0].prompt;
