/** What makes a published system runnable: the objective it trains with, what it needs, and the settings of its paper. */
import type { Term } from "../objectives/combined.ts";

export interface Method {
  readonly id: string;
  /** What a run of it needs, in plain words. */
  readonly needs: string;
  /** The paper's claim, and what our own replication of it showed so far. */
  readonly claim: string;
  readonly replication: string;
  /** Its options with the paper's defaults. */
  readonly defaults: Readonly<Record<string, unknown>>;
  /** The losses of a run. Throws where an option is wrong. */
  terms(options: Readonly<Record<string, unknown>>): readonly Term[];
}
