/**
 * Errors that people read: what is wrong, where (file, line, field), why, and how to fix it.
 * Everything prefopt refuses or fails at is one of the two classes below; anything else is a bug in prefopt.
 */

export interface Report {
  /** Stable, machine-readable name of the problem, kebab-case: "record-field-missing". */
  code: string;
  /** What is wrong, in a few words. */
  what: string;
  /** Where: a path, `path:line`, `recipe.yaml, train.batchSize`, a tensor name. */
  where?: string;
  /** Why that is wrong. */
  why?: string;
  /** What to do about it. */
  fix?: string;
}

/** Base of every error that prefopt raises on purpose. `status` is the exit status of the command line. */
export abstract class PrefoptError extends Error {
  abstract readonly status: 1 | 2;
  readonly report: Report;

  constructor(report: Report, options?: ErrorOptions) {
    super(sentence(report), options);
    this.name = new.target.name;
    this.report = report;
  }

  get code(): string {
    return this.report.code;
  }
}

/** The request was wrong: a bad option, an unreadable file, an invalid record. Exit status 2. */
export class RequestError extends PrefoptError {
  readonly status = 2;
}

/** The request was right and the work failed: a full disk, a non-finite loss. Exit status 1. */
export class WorkError extends PrefoptError {
  readonly status = 1;
}

/** Values out of files are shown, but not pages of them. */
const longest = 800;
const shown = (text: string) =>
  (text.length > longest ? `${text.slice(0, longest)}…` : text).replaceAll(/\s*\n\s*/g, " ");

/** One line: `where: what: why. Fix.` */
function sentence({ what, where, why, fix }: Report): string {
  const head = [where, shown(what)].filter(Boolean).join(": ");
  const body = why ? `${head}: ${shown(why)}` : head;
  if (!fix) return body;
  return `${body.replace(/\.$/, "")}. ${/[.?!]$/.test(fix) ? fix : `${fix}.`}`;
}

/** A name that came out of a file, fit for a line: in quotes, control characters escaped, a long one cut. */
export function quoted(name: string): string {
  const short = name.length > 80 ? `${name.slice(0, 80)}…` : name;
  return JSON.stringify(short).replaceAll(
    /[\u007f-\u009f\u2028\u2029]/g,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** The known name nearest to `word` (edit distance at most a third of its length, at least 2), for "did you mean". */
export function nearest(word: string, known: readonly string[]): string | undefined {
  let best: string | undefined;
  let bestDistance = Math.max(2, Math.floor(word.length / 3)) + 1;
  for (const candidate of known) {
    const d = editDistance(word.toLowerCase(), candidate.toLowerCase());
    if (d < bestDistance) [best, bestDistance] = [candidate, d];
  }
  return best;
}

/** Levenshtein distance between two strings. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitution = row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(substitution, row[j] + 1, next[j - 1] + 1));
    }
    row = next;
  }
  return row[b.length];
}
