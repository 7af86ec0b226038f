/** Descriptions of tools: a list of JSON schemas, or the JSON text of one, as Arrow tables and some toolkits keep it. */
import { parseJson } from "../../formats/parse-json.ts";
import { type Fields, isObject } from "./fields.ts";

/** The tools of a row; undefined where there are none. Throws a FieldProblem for anything else. */
export function toolsOf(row: Fields, name = "tools"): readonly object[] | undefined {
  const given = row.any(name);
  if (given === undefined || given === "") return undefined;
  const list = typeof given === "string" ? parsed(given) : given;
  if (!Array.isArray(list) || !list.every(isObject))
    return row.fail(name, "it must be a list of JSON schemas, or the JSON text of one");
  return list.length > 0 ? (list as object[]) : undefined;
}

function parsed(text: string): unknown {
  try {
    return parseJson(text, "tools");
  } catch {
    return undefined;
  }
}
