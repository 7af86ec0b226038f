/**
 * Watches a run for what goes wrong without an error, and says so in plain words with the remedy. Each check looks at what the run has
 * written so far, so a resumed run is judged as one that was not interrupted.
 */
import type { Evaluation } from "../evaluation.ts";
import { likelihoodDisplacement } from "./displacement.ts";

export interface Finding {
  /** Same for the same trouble: said once a run. */
  readonly id: string;
  /** What was seen, what it means, what to do. */
  readonly text: string;
}

/** What a run has written: lines of metrics.jsonl and evaluations.jsonl, in order. */
export interface Watched {
  readonly steps: readonly Readonly<Record<string, unknown>>[];
  readonly evaluations: readonly Evaluation[];
}

export type Check = (run: Watched) => Finding | undefined;

const checks: readonly Check[] = [likelihoodDisplacement];

/** Everything that the checks find in a run as it stands. */
export const examine = (run: Watched): Finding[] => checks.flatMap((check) => check(run) ?? []);

/** Tells every finding once. */
export class Doctor {
  readonly #told = new Set<string>();

  news(run: Watched): Finding[] {
    const found = examine(run).filter(({ id }) => !this.#told.has(id));
    found.forEach(({ id }) => this.#told.add(id));
    return found;
  }
}
