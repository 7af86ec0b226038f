/**
 * Examples of the calculator as JSON: where in an example the completions of each role stand, and where their gradients go back to.
 * Almost all of it follows from the table of kinds; graded copies alone have a form of their own.
 */
import { z } from "zod";
import { type RecordKind, isMany, rolesOf } from "../data/record-kinds.ts";
import { type GivenCompletion, checkCompletion, invalid, rows } from "./given-completion.ts";

/** A record: its completions by role, and its other fields. */
export interface Example {
  readonly completions: Readonly<Record<string, readonly GivenCompletion[]>>;
  readonly fields: Readonly<Record<string, unknown>>;
}

/** Gradients of one completion, by the fields it was given with. */
export type CompletionGradient = Record<string, number | number[] | number[][]>;

type Json = Readonly<Record<string, unknown>>;

/** Reads an example as a record of a kind; completions that it lacks are left out. Throws where a field has the wrong form. */
export function readExample(kind: RecordKind, example: Json, where: string, owner: string): Example {
  const completions: Record<string, readonly GivenCompletion[]> = {};
  for (const role of rolesOf(kind)) {
    const given = role === "copies" ? copiesOf(example, where, owner) : at(example, role);
    if (given === undefined) continue;
    const many = isMany(kind, role);
    if (!many && Array.isArray(given)) throw invalid(role, where, "it must be one completion, not a list");
    completions[role] = (Array.isArray(given) ? given : [given]).map((value: unknown, i) => {
      const name = many && Array.isArray(given) ? `${role}.${i}` : role;
      return checkCompletion(value, name, where, owner);
    });
    if (completions[role].length === 0 && role === "completions")
      throw invalid(role, where, "the list is empty");
  }
  return { completions, fields: fieldsOf(example) };
}

/** Puts gradients where the completions stood in the example. */
export function shapedGradients(
  kind: RecordKind,
  example: Json,
  gradients: Readonly<Record<string, readonly CompletionGradient[]>>,
): Json {
  const out: Record<string, unknown> = {};
  for (const [role, list] of Object.entries(gradients)) {
    if (list.length === 0) continue;
    if (role === "copies") {
      out.degree = { logits: list.map((g) => g.degreeLogits) };
      continue;
    }
    const isList = isMany(kind, role) && Array.isArray(at(example, role));
    const path = role.split(".");
    const last = path.pop() ?? role;
    let target = out;
    for (const part of path) target = (target[part] ??= {}) as Record<string, unknown>;
    target[last] = isList ? list : list[0];
  }
  return out;
}

/** The degree labels and logits of graded copies, a completion each. */
function copiesOf(example: Json, where: string, owner: string): unknown {
  if (example.degree === undefined) return undefined;
  const shape = z
    .object({ logits: rows, labels: z.array(z.number().int().min(0)) })
    .safeParse(example.degree);
  if (!shape.success) {
    const { path, message } = shape.error.issues[0];
    throw invalid(["degree", ...path].join("."), where, `${message} (objective ${owner} takes a row a copy)`);
  }
  const { logits, labels } = shape.data;
  if (labels.length !== logits.length)
    throw invalid(
      "degree.labels",
      where,
      `there are ${logits.length} rows of logits and ${labels.length} labels`,
    );
  const wide = labels.findIndex((label, i) => label >= logits[i].length);
  if (wide >= 0)
    throw invalid(
      `degree.labels.${wide}`,
      where,
      `label ${labels[wide]} has no place in ${logits[wide].length} logits`,
    );
  return logits.map((row, i) => ({ degreeLogits: row, degree: labels[i] }));
}

/** Fields of a record that are numbers, or names that stand for one. */
function fieldsOf(example: Json): Json {
  const fields: Record<string, unknown> = { ...example };
  if (typeof example.label === "boolean") fields.label = Number(example.label);
  if (example.explored === "chosen" || example.explored === "rejected")
    fields.explored = Number(example.explored === "chosen");
  return fields;
}

function at(value: Json, path: string): unknown {
  return path.split(".").reduce<unknown>((v, key) => (v as Json | undefined)?.[key], value);
}
