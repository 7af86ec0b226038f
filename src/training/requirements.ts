/**
 * Whether records give what objectives touch: which kind of rows a run makes of them, what is missing where, and which objectives
 * could use them as they are.
 */
import type { DataRecord } from "../data/record-formats.ts";
import { type DataKind, formats } from "../data/record-formats.ts";
import { type RecordKind, isMany, promptSuffix, recordKinds, standIn } from "../data/record-kinds.ts";
import { type RowBuilder, buildRows } from "../data/rows.ts";
import { dataKindsFor } from "../data/row-kinds/table.ts";
import { type TokenRow, completionsOf } from "../data/token-row.ts";
import { type Source, showSource } from "../data/load-records.ts";
import { RequestError } from "../errors.ts";
import type { Term } from "../objectives/combined.ts";
import type { Objective } from "../objectives/definition.ts";
import { objectives } from "../objectives/table.ts";
import { type Touched, touchedBy } from "../objectives/touched.ts";

/** Kinds of rows that all objectives of a run can read, their own first. */
export function rowKindsOf(terms: readonly Term[]): RecordKind[] {
  const own = terms.map((t) => t.objective.record);
  const others = (Object.keys(recordKinds) as RecordKind[]).filter((k) => !own.includes(k));
  const fits = (kind: RecordKind) =>
    terms.every(({ objective }) => {
      if (objective.record === kind) return true;
      const { tokens } = touchedBy([{ objective, weight: 1 }], objective.record);
      return [...tokens.keys()].every((role) => {
        if (promptSuffix.test(role)) return true;
        const found = standIn(role, kind);
        return found !== undefined && isMany(kind, found) === isMany(objective.record, role);
      });
    });
  return [...new Set([...own, ...others])].filter(fits);
}

/** What records may be for a run of these objectives. */
export function dataKindsOf(terms: readonly Term[]): DataKind[] {
  return [...new Set(rowKindsOf(terms).flatMap(dataKindsFor))];
}

/** The kind of rows that a run makes of records of this kind; undefined where it cannot use them. */
export function rowKindFor(terms: readonly Term[], data: DataKind): RecordKind | undefined {
  return rowKindsOf(terms).find((kind) => dataKindsFor(kind).includes(data));
}

/** Throws where a row lacks something that the objectives touch, naming the record's field. */
export function checkRow(
  row: TokenRow,
  touched: Touched,
  terms: readonly Term[],
  useful: () => readonly string[],
): void {
  const names = terms.map((t) => t.objective.id).join(", ");
  const field = missingIn(row, touched);
  if (field !== undefined) throw missing(row.source, field, names, useful());
  for (const { objective } of terms) {
    const why = listProblem(row, objective);
    if (why === undefined) continue;
    throw new RequestError({
      code: "list-unusable",
      what: `objective ${objective.id} cannot use this list`,
      where: showSource(row.source),
      why,
      fix: "Correct the record or remove it",
    });
  }
}

/** Why an objective cannot use the list of a row; undefined where it can, or where the row is no list. */
export function listProblem(row: TokenRow, objective: Objective): string | undefined {
  if (row.kind !== "list" || !objective.checkList) return undefined;
  const n = completionsOf(row, "completions").length;
  return objective.checkList(row.values.completions?.score ?? new Array<number>(n).fill(NaN));
}

/** The first field that a row lacks and the objectives touch, as records name it. */
export function missingIn(row: TokenRow, touched: Touched): string | undefined {
  for (const [role, quantities] of touched.tokens) {
    if (promptSuffix.test(role)) continue;
    const n = completionsOf(row, role).length;
    // Mismatched completions are put together batch by batch; of several there may be none.
    const mayLack = isMany(row.kind, role) && role !== "completions" && !touched.needed.has(role);
    const optional = role === "mismatched" || mayLack;
    if (n === 0 && !optional) return role;
    if (quantities.has("tokenRewards") && !row.tokenRewards[role]) return fieldOf(role, "tokenRewards");
  }
  for (const name of touched.required) if (row.fields[name] === undefined) return name;
  for (const [role, names] of touched.values) {
    const n = completionsOf(row, role).length;
    for (const name of names) if ((row.values[role]?.[name]?.length ?? 0) < n) return fieldOf(role, name);
  }
  return undefined;
}

/** The numbers that every record must come with, by the names that records give them. */
export function fieldsNeeded(touched: Touched): string[] {
  const rewarded = [...touched.tokens].filter(([, asked]) => asked.has("tokenRewards"));
  // Copies and mismatched completions are made here, their numbers with them.
  const valued = [...touched.values].filter(([role]) => role !== "copies");
  return [
    ...touched.needed,
    ...touched.required,
    ...valued.flatMap(([role, names]) => [...names].map((name) => fieldOf(role, name))),
    ...rewarded.map(([role]) => fieldOf(role, "tokenRewards")),
  ];
}

/** How records name a number of their completions. */
function fieldOf(role: string, name: string): string {
  if (role === "completions") return `${name}s`;
  const upper = (text: string) => text[0].toUpperCase() + text.slice(1);
  return name === "tokenRewards" ? `${name}${upper(role)}` : `${role}${upper(name)}`;
}

function missing(source: Source, field: string, names: string, useful: readonly string[]): RequestError {
  return new RequestError({
    code: "record-field-missing",
    what: `field "${field}" is missing`,
    where: showSource(source),
    why: `objective ${names} needs it`,
    fix: usefulFor(useful) ?? "Add it, or use another objective",
  });
}

/** "As it is, the data could train: dpo, sft" */
export function usefulFor(ids: readonly string[]): string | undefined {
  return ids.length > 0 ? `As it is, the record would do for: ${ids.join(", ")}` : undefined;
}

/** Ids of the objectives that could use a record as it is, with their default options. */
export function objectivesFor(record: DataRecord, source: Source, builder: RowBuilder): string[] {
  const data = formats[record.format].kind;
  return objectives().flatMap((family) => {
    try {
      const objective = family.with();
      const terms = [{ objective, weight: 1 }];
      const kind = rowKindFor(terms, data);
      if (kind === undefined) return [];
      const rows = buildRows(record, source, { ...builder, settings: objective.rows }, kind);
      const fields = new Set(rows.flatMap((r) => Object.keys(r.fields)));
      const touched = touchedBy(terms, kind, { fields });
      const usable = rows.every(
        (row) => missingIn(row, touched) === undefined && !listProblem(row, objective),
      );
      return usable ? [family.id] : [];
    } catch (error) {
      // Objectives whose options must be given, and records that cannot be built, are of no use here.
      if (error instanceof RequestError) return [];
      throw error;
    }
  });
}
