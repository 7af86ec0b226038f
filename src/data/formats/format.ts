/**
 * What a data format of others is: how its rows are recognised, what records they are, how records become such rows, and what the
 * service that takes them allows. One file a format, one line in table.ts.
 */
import type { Row } from "../../formats/rows.ts";
import type { DataKind } from "../record-formats.ts";
import type { Fields } from "./fields.ts";
import type { Notes } from "./notes.ts";

export interface DataFormat {
  /** "OpenAI preference fine-tuning" */
  readonly title: string;
  /** Where its fields are described. */
  readonly source: string;
  /** Fields by which a row is recognised, in words: "has input.messages, preferred_output"; undefined where it is not. */
  detect(row: Fields): string | undefined;
  /** The records that a row holds, as prefopt writes them. Throws a FieldProblem. */
  read(row: Fields): readonly Row[];
  /** What the fields of records are called here, for messages. */
  readonly names?: Readonly<Record<string, string>>;
  readonly writer: Writer;
  /** What a hosted service takes. */
  readonly limits?: readonly Limit[];
}

export interface Writer {
  /** Records that it holds. */
  readonly kinds: readonly DataKind[];
  /** Rows may have columns beside those of the format: who reads them leaves them alone. */
  readonly open: boolean;
  /** It knows conversations whose prompt is not apart: `messages`, and pairs of whole conversations. Others are given prompt and answers. */
  readonly implicit?: boolean;
  /** A row. What is not read of the record is lost, and said so. Throws CannotWrite where the format has no form for it. */
  write(record: Fields, notes: Notes): Row;
}

export interface FileFacts {
  readonly records: number;
  readonly bytes: number;
  readonly path: string;
}

/** A limit of a hosted service. */
export interface Limit {
  /** "at least 10 examples" */
  readonly what: string;
  /** Where the service says so. */
  readonly source: string;
  /** Recommended, not demanded. */
  readonly advice?: boolean;
  /** How a row breaks it. */
  readonly row?: (row: Row) => string | undefined;
  /** How the whole file breaks it. */
  readonly file?: (facts: FileFacts) => string | undefined;
}

/** A record that has no form in a format. */
export class CannotWrite extends Error {
  readonly field: string;

  constructor(field: string, why: string) {
    super(why);
    this.name = "CannotWrite";
    this.field = field;
  }
}

/** "has a, b and c" */
export function has(...names: string[]): string {
  const last = names.at(-1) ?? "";
  return names.length < 2 ? `has ${last}` : `has ${names.slice(0, -1).join(", ")} and ${last}`;
}
