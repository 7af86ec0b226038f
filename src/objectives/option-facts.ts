/** Options of objectives in words: default and range as their schemas have them. Documentation and `prefopt methods` show these. */
import { z } from "zod";
import type { ObjectiveFamily } from "./definition.ts";

export interface OptionFact {
  readonly name: string;
  /** The default as it is written in a recipe; "not set", or "must be given". */
  readonly default: string;
  /** What it may be. */
  readonly range: string;
  /** All values that it may have, where they are few. */
  readonly values?: readonly unknown[];
}

/** The parts of JSON Schema that options use. */
interface Schema {
  readonly type?: string;
  readonly default?: unknown;
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly exclusiveMinimum?: number;
  readonly exclusiveMaximum?: number;
  readonly anyOf?: readonly Schema[];
  readonly items?: Schema;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
}

/** The options of an objective, in the order of their definition. */
export function optionFacts({ schema }: ObjectiveFamily): OptionFact[] {
  const { properties = {}, required = [] } = z.toJSONSchema(schema, { io: "input" }) as Schema;
  return Object.entries(properties).map(([name, option]) => {
    const values = valuesOf(option);
    return {
      name,
      default: defaultOf(option, required.includes(name)),
      range: rangeOf(option),
      ...(values && { values }),
    };
  });
}

/** Values of options that must be given, to look at an objective with: one set for each value of the first of them. */
export function leastOptions(family: ObjectiveFamily): Readonly<Record<string, unknown>>[] {
  const needed = optionFacts(family).filter((o) => o.default === mustBeGiven);
  const rest = Object.fromEntries(needed.slice(1).map((o) => [o.name, o.values?.[0]]));
  const [first] = needed;
  return first ? (first.values ?? [undefined]).map((value) => ({ [first.name]: value, ...rest })) : [{}];
}

const mustBeGiven = "must be given";

function defaultOf({ default: value }: Schema, required: boolean): string {
  if (value === undefined) return required ? mustBeGiven : "not set";
  if (typeof value === "string") return `\`${value}\``;
  return typeof value === "number" ? numberText(value) : JSON.stringify(value);
}

const numberText = (x: number) => (Math.abs(x - 1 / 3) < 1e-12 ? "1/3" : String(x));

function valuesOf({ type, enum: names, anyOf }: Schema): readonly unknown[] | undefined {
  if (names) return names;
  if (type === "boolean") return [true, false];
  if (anyOf?.every((s) => s.const !== undefined)) return anyOf.map((s) => s.const);
  return undefined;
}

function rangeOf(schema: Schema): string {
  const values = valuesOf(schema);
  if (values) return values.map((v) => (typeof v === "string" ? `\`${v}\`` : String(v))).join(", ");
  const { type, anyOf, items } = schema;
  if (anyOf) return anyOf.map(rangeOf).join(", or ");
  if (type === "array") return `a list of ${items?.type === "string" ? "names" : numbersText(items)}`;
  if (type === "string") return "a name";
  if (type === "object") return "options by name";
  const bounds = boundsOf(schema);
  return type === "integer" ? `whole${bounds && `, ${bounds}`}` : bounds || "any number";
}

function numbersText(items: Schema | undefined): string {
  const bounds = items ? boundsOf(items) : "";
  return bounds ? `numbers ${bounds}` : "numbers";
}

/** "> 0", "0 ≤ x < 0.5"; zod's limit of whole numbers is none of an option's. */
function boundsOf(s: Schema): string {
  const maximum = s.maximum === Number.MAX_SAFE_INTEGER ? undefined : s.maximum;
  const low = s.exclusiveMinimum ?? s.minimum;
  const high = s.exclusiveMaximum ?? maximum;
  const [above, below] = [
    s.exclusiveMinimum === undefined ? "≤" : "<",
    s.exclusiveMaximum === undefined ? "≤" : "<",
  ];
  if (low !== undefined && high !== undefined) return `${low} ${above} x ${below} ${high}`;
  if (low !== undefined) return `${s.exclusiveMinimum === undefined ? "≥" : ">"} ${low}`;
  return high === undefined ? "" : `${below} ${high}`;
}
