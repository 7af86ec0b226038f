/** Which format rows are of: the first in the table whose fields some of them have and that can read all of them. Told with its reason. */
import type { Row } from "../../formats/rows.ts";
import { FieldProblem, Fields, isObject } from "./fields.ts";
import { type DataFormatName, dataFormatNames, dataFormats } from "./table.ts";

export interface Detected {
  readonly name: DataFormatName;
  /** "has input.messages, preferred_output" */
  readonly reason: string;
}

/** Rows that are looked at. */
export const sampleRows = 32;

/** The format of the first rows of a file. Where no format knows them it is prefopt's own, whose errors say what is missing. */
export function detectFormat(rows: readonly unknown[], cells = false): Detected {
  const sample = rows.slice(0, sampleRows).filter(isObject);
  const found = dataFormatNames.flatMap((name): Detected[] => {
    const reason = sample.map((row) => detectedBy(name, row, cells)).find((r) => r !== undefined);
    return reason === undefined ? [] : [{ name, reason }];
  });
  const first = sample.length > 0 ? found.find(({ name }) => detectedBy(name, sample[0], cells)) : undefined;
  const fitting = found.find(({ name }) => sample.every((row) => canRead(name, row, cells)));
  return fitting ?? first ?? found[0] ?? { name: "prefopt", reason: "no other format knows it" };
}

/** Another format that knows a row, which the file's own format cannot read. */
export function otherFormat(row: unknown, own: DataFormatName, cells = false): Detected | undefined {
  if (!isObject(row)) return undefined;
  for (const name of dataFormatNames) {
    const reason = name === own ? undefined : detectedBy(name, row, cells);
    if (reason !== undefined && canRead(name, row, cells)) return { name, reason };
  }
  return undefined;
}

function detectedBy(name: DataFormatName, row: Row, cells: boolean): string | undefined {
  return dataFormats[name].detect(new Fields(row, { cells }));
}

function canRead(name: DataFormatName, row: Row, cells: boolean): boolean {
  if (name === "prefopt") return detectedBy(name, row, cells) !== undefined;
  try {
    return dataFormats[name].read(new Fields(row, { cells })).length > 0;
  } catch (error) {
    if (error instanceof FieldProblem) return false;
    throw error;
  }
}
