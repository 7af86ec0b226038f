/**
 * What objectives touch, found by building them once over a source that only takes notes: which completions go through the model,
 * whether a reference is needed, which numbers records must come with. Asked before anything is loaded.
 */
import { type Term, combine } from "./combined.ts";
import type { RecordKind } from "../data/record-kinds.ts";
import { Notes } from "./notes.ts";
import type { HeadQuantity, TokenQuantity } from "./score-source.ts";

export interface Touched {
  /** By role, the quantities of tokens; a role of which nothing but its length is touched has an empty set. */
  readonly tokens: ReadonlyMap<string, ReadonlySet<TokenQuantity>>;
  /** By role, the heads on its completions. */
  readonly heads: ReadonlyMap<string, ReadonlySet<HeadQuantity>>;
  /** Numbers that records must have. */
  readonly required: ReadonlySet<string>;
  /** Numbers that records may have. */
  readonly fields: ReadonlySet<string>;
  /** By role, numbers that its completions must come with. */
  readonly values: ReadonlyMap<string, ReadonlySet<string>>;
  /** Roles of which records may have any number, and must have one. */
  readonly needed: ReadonlySet<string>;
  /** Whether scores of the reference model are touched. */
  readonly reference: boolean;
  /** Whether scores of the reference over its whole vocabulary are. */
  readonly referenceVocabulary: boolean;
  /** Roles of whose tokens the places are read. */
  readonly placed: ReadonlySet<string>;
  /** Whether ties are broken at random. */
  readonly random: boolean;
}

const needsReference: readonly TokenQuantity[] = ["reference", "tokenKl", "reverseTokenKl"];

/** What is known of the data beforehand. */
export interface Known {
  /** Numbers of the batch that the caller keeps. */
  readonly batch?: readonly string[];
  /** Optional fields that some record has. */
  readonly fields?: ReadonlySet<string>;
}

/** Builds the objectives over records of this kind and tells what they touched. Throws what building them throws. */
export function touchedBy(terms: readonly Term[], kind: RecordKind, known: Known = {}): Touched {
  const notes = new Notes(kind, known);
  combine(terms, kind, notes);
  const quantities = [...notes.tokenNotes.values()].flatMap((set) => [...set]);
  return {
    tokens: notes.tokenNotes,
    heads: notes.headNotes,
    required: notes.requiredNotes,
    fields: notes.fieldNotes,
    values: notes.valueNotes,
    needed: new Set(terms.flatMap((t) => t.objective.needs)),
    reference: quantities.some((q) => needsReference.includes(q)),
    referenceVocabulary: quantities.some((q) => q === "tokenKl" || q === "reverseTokenKl"),
    placed: notes.placed,
    random: notes.random,
  };
}
