/** Rows of tables, whose cells are all text, as records. */
import { parseJson } from "../formats/parse-json.ts";
import type { DataKind } from "./record-formats.ts";
import { type Parsed, parseRecord } from "./records.ts";

/**
 * The record of a row whose cells are all text. Where a field must be something else, its cell is read as JSON (numbers,
 * ids, messages), or is absent where it is empty. A cell that is text for the record stays text, unless it is a list of messages.
 */
export function parseCells(row: unknown, kinds?: readonly DataKind[], comparing = true): Parsed {
  const cells: Record<string, unknown> = { ...(row as Record<string, string>) };
  for (const [key, cell] of Object.entries(cells)) {
    const value = jsonOf(cell as string);
    if (isMessages(value)) cells[key] = value;
  }
  let parsed = parseRecord(cells, kinds, comparing);
  while ("problem" in parsed) {
    const field = parsed.problem.field.split(".")[0];
    const cell = cells[field];
    const value = typeof cell === "string" ? jsonOf(cell) : undefined;
    if (cell === "") delete cells[field];
    else if (value !== undefined) cells[field] = value;
    else break;
    const again = parseRecord(cells, kinds, comparing);
    if ("problem" in again && again.problem.field === field) break; // what was said of the cell as it is stands
    parsed = again;
  }
  return parsed;
}

/** The number, truth value, list or object that a cell writes; undefined where it is other text. */
function jsonOf(cell: string): unknown {
  if (/^(true|false)$/i.test(cell)) return cell.toLowerCase() === "true";
  if (!/^\s*[-\d[{]/.test(cell)) return undefined;
  try {
    return parseJson(cell, "a cell");
  } catch {
    return undefined;
  }
}

const isMessages = (value: unknown): boolean =>
  Array.isArray(value) &&
  value.length > 0 &&
  value.every((m) => typeof (m as { role?: unknown } | null)?.role === "string");
