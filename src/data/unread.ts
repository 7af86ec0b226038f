/**
 * Fields of rows that nothing reads: most are what other tools carry along (ids, sources), some are a misspelt `weight` without which a run
 * learns something else. The former are named, the latter warned of, once a field.
 */
import { nearest } from "../errors.ts";
import type { DataFormatName } from "./formats/table.ts";
import { recordFields } from "./record-formats.ts";

/** What data files commonly carry for people and tools, not for training; case and underscores do not count. */
const carried: ReadonlySet<string> = new Set(
  (
    "id uid uuid guid idx index key rowid exampleid promptid questionid sampleid conversationid sessionid userid " +
    "source sources dataset datasetname subset split origin url link file path license version " +
    "metadata meta info extra extras details tag tags topic topics category categories type task tasks domain domains " +
    "language lang model models modelname generator chosenmodel rejectedmodel modelchosen modelrejected modela modelb " +
    "annotator annotators annotatorid judge author name title description comment comments note notes " +
    "date time timestamp tstamp created createdat updatedat turn turns numturns hash indexlevel0"
  ).split(" "),
);

/** Formats whose fields are those of records; others have fields of their own, of which only what is known is read. */
const ownFields: readonly DataFormatName[] = ["prefopt", "trl"];

export interface UnreadField {
  readonly name: string;
  readonly severity: "warning" | "note";
  /** Why it is not used, or what may have been meant: "Did you mean weight?" */
  readonly hint?: string;
}

/** What a field that nothing reads may be. */
export function unreadField(name: string, format: DataFormatName): UnreadField {
  if (!ownFields.includes(format)) return { name, severity: "note" };
  if (recordFields.has(name))
    return { name, severity: "warning", hint: "Records of this kind have no place for it" };
  if (carried.has(name.toLowerCase().replaceAll(/[^a-z0-9]/g, ""))) return { name, severity: "note" };
  const guess = nearest(name, [...recordFields]);
  return { name, severity: "warning", hint: guess ? `Did you mean ${guess}?` : "No record has such a field" };
}

/** Warnings, a field each, and one line for all others. `where` names the data. */
export function unreadLines(
  where: string,
  unread: ReadonlyMap<string, number>,
  format: DataFormatName,
): { readonly warnings: readonly string[]; readonly notes: readonly string[] } {
  const fields = [...unread].map(([name, count]) => ({ ...unreadField(name, format), count }));
  const notes = fields.filter(({ severity }) => severity === "note");
  return {
    warnings: fields
      .filter(({ severity }) => severity === "warning")
      .map(
        ({ name, count, hint = "" }) => `${where}: field "${name}" of ${rows(count)} is not used. ${hint}`,
      ),
    notes:
      notes.length === 0
        ? []
        : [
            `${where}: fields that are not used: ${notes.map(({ name, count }) => `${name} (${rows(count)})`).join(", ")}`,
          ],
  };
}

const rows = (count: number) => (count === 1 ? "1 row" : `${count} rows`);
