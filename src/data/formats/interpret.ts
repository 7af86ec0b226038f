/** A row of any format as the records that it holds, checked; with what of it no record has a place for. */
import type { Row } from "../../formats/rows.ts";
import { parseCells } from "../cells.ts";
import type { DataKind } from "../record-formats.ts";
import { type Parsed, type Problem, parseRecord } from "../records.ts";
import { otherFormat } from "./detect.ts";
import { FieldProblem, Fields, isObject } from "./fields.ts";
import type { DataFormat } from "./format.ts";
import { type DataFormatName, dataFormats } from "./table.ts";

export interface Interpretation {
  readonly format: DataFormatName;
  /** Every value of a row is a table's cell. */
  readonly cells: boolean;
  /** What records may be; default: anything. */
  readonly kinds?: readonly DataKind[];
  /** Equal completions are refused too. */
  readonly comparing?: boolean;
}

export interface Interpreted {
  readonly parsed: readonly Parsed[];
  /** Columns that no record has a place for. */
  readonly rest: Row;
  /** Dotted names of such fields inside the columns that were read. */
  readonly unread: readonly string[];
}

/** The records of a row. What is wrong with it is said by the names that its own format has. */
export function interpret(value: unknown, how: Interpretation): Interpreted {
  const { format: name, cells, kinds, comparing = true } = how;
  const nothing = { rest: {}, unread: [] };
  if (!isObject(value)) return { parsed: [parseRecord(value, kinds)], ...nothing };
  const format: DataFormat = dataFormats[name];
  const row = new Fields(value, { cells });
  let parsed: readonly Parsed[];
  try {
    const found = format.read(row);
    parsed = found.map((record) =>
      name === "prefopt" && cells
        ? parseCells(value, kinds, comparing)
        : parseRecord(record, kinds, comparing),
    );
  } catch (error) {
    if (!(error instanceof FieldProblem)) throw error;
    return { parsed: [{ problem: alsoOf(error.problem, value, how) }], ...nothing };
  }
  const renamed = parsed.map((p) => ("problem" in p ? { problem: named(p.problem, format) } : p));
  const first = renamed.find((p) => "problem" in p);
  const hinted = first ? alsoOf(first.problem, value, how) : undefined;
  return {
    parsed: hinted ? renamed.map((p) => (p === first ? { problem: hinted } : p)) : renamed,
    rest: row.rest(),
    unread: row.unreadInside(),
  };
}

/** A problem by the field's name in the format. */
function named(problem: Problem, { names = {} }: DataFormat): Problem {
  const [field, ...inside] = problem.field.split(".");
  return Object.hasOwn(names, field) ? { ...problem, field: [names[field], ...inside].join(".") } : problem;
}

/** Says where the row would do as one of another format: files hold one. */
function alsoOf(problem: Problem, value: Row, { format, cells }: Interpretation): Problem {
  const other = otherFormat(value, format, cells);
  if (!other) return problem;
  const why = `${problem.why}; the row looks like ${dataFormats[other.name].title} (${other.reason}), the file like ${dataFormats[format].title}`;
  return { ...problem, why, fix: "Keep rows of one format in a file, or name it (data.format, --from)" };
}
