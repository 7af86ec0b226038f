/**
 * YAML values out of text, with an error that says where. Nesting is limited before the parser sees the text: it walks recursively,
 * and a line of brackets would end the program.
 */
import { parse } from "yaml";
import { RequestError } from "../errors.ts";
import { deepest } from "./parse-json.ts";

/** The value of a YAML text. `where` names it in errors. */
export function parseYaml(text: string, where: string): unknown {
  const fail = (why: string, cause?: unknown) =>
    new RequestError({ code: "not-yaml", what: "is not valid YAML", where, why }, { cause });
  if (nestsTooDeep(text)) throw fail(`it is nested more than ${deepest} deep`);
  try {
    return parse(text, { logLevel: "error" }) as unknown;
  } catch (cause) {
    throw fail((cause as Error).message.split("\n")[0].replace(/:$/, ""), cause);
  }
}

/** By brackets, wherever they stand; by marks of list items on one line; or by indentation. */
function nestsTooDeep(text: string): boolean {
  let depth = 0;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if ((c === 0x5b || c === 0x7b) && ++depth > deepest) return true;
    if (c === 0x5d || c === 0x7d) depth = Math.max(0, depth - 1);
  }
  return new RegExp(`^[ \\t]{${2 * deepest},}\\S|(?:[-?:!&][^\\S\\n]+){${deepest},}`, "m").test(text);
}
