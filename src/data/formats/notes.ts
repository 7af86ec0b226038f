/** What a conversion did beside copying: fields that the target has no place for, and forms that were changed. Counted, with the first place of each. */
import type { Source } from "../load-records.ts";

export interface Note {
  readonly what: string;
  readonly count: number;
  readonly first: Source;
}

export class Notes {
  readonly #changed = new Map<string, Note>();
  readonly #lost = new Map<string, Note>();
  readonly #leftOut = new Map<string, Note>();
  #source: Source = { file: "records", line: 0 };
  /** Names of fields that the record at hand has lost. */
  #own: string[] = [];

  /** Begins a record. */
  at(source: Source): void {
    this.#source = source;
    this.#own = [];
  }

  /** Another form of the same: a plain text that became a turn. */
  change(what: string): void {
    this.#count(this.#changed, what);
  }

  /** A field that the target cannot carry. */
  lose(field: string): void {
    this.#own.push(field);
    this.#count(this.#lost, field);
  }

  /** A record that the target has no form for. */
  leaveOut(why: string): void {
    this.#count(this.#leftOut, why);
  }

  /** The fields that the record at hand has lost. */
  get lostNow(): readonly string[] {
    return this.#own;
  }

  get changed(): readonly Note[] {
    return [...this.#changed.values()];
  }

  get lost(): readonly Note[] {
    return [...this.#lost.values()];
  }

  get leftOut(): readonly Note[] {
    return [...this.#leftOut.values()];
  }

  #count(notes: Map<string, Note>, what: string): void {
    const known = notes.get(what);
    notes.set(what, { what, count: (known?.count ?? 0) + 1, first: known?.first ?? this.#source });
  }
}
