/**
 * The fields of a row, read by name and kind. What is wrong with one is said by its name; what was not read is known at the
 * end, so that a format can leave nothing out in silence. In tables every cell is text, and is read as what is asked for.
 */
import { parseJson } from "../../formats/parse-json.ts";
import type { Row } from "../../formats/rows.ts";
import type { Message } from "../../text/chat.ts";
import type { Problem } from "../records.ts";

/** A field that cannot be used. */
export class FieldProblem extends Error {
  readonly problem: Problem;

  constructor(problem: Problem) {
    super(`${problem.field} ${problem.why}`);
    this.name = "FieldProblem";
    this.problem = problem;
  }
}

export interface FieldsOptions {
  /** Dotted name of the object that the fields are of. */
  readonly path?: string;
  /** Every value is a table's cell. */
  readonly cells?: boolean;
}

export class Fields {
  readonly #values: Row;
  readonly #path: string;
  readonly #cells: boolean;
  readonly #read = new Set<string>();
  readonly #inner: Fields[] = [];

  constructor(values: Row, { path = "", cells = false }: FieldsOptions = {}) {
    this.#values = values;
    this.#path = path;
    this.#cells = cells;
  }

  /** The dotted name of a field. */
  nameOf(name: string): string {
    return this.#path === "" ? name : `${this.#path}.${name}`;
  }

  /** All values as they are. */
  get values(): Row {
    return this.#values;
  }

  /** The names of the fields that are there. */
  get names(): string[] {
    return Object.keys(this.#values).filter((name) => this.has(name));
  }

  /** Whether a field is there; null and a table's empty cell are not. */
  has(name: string): boolean {
    const value = this.#of(name);
    return value !== undefined && value !== null && !(this.#cells && value === "");
  }

  isText(name: string): boolean {
    return this.has(name) && typeof this.#of(name) === "string" && !this.isList(name);
  }

  isList(name: string): boolean {
    return this.has(name) && Array.isArray(this.#parsed(name));
  }

  isObject(name: string): boolean {
    return this.has(name) && isObject(this.#parsed(name));
  }

  /** Whether a field is a list of turns with roles. */
  isTurns(name: string): boolean {
    const value = this.has(name) ? this.#parsed(name) : undefined;
    return Array.isArray(value) && value.length > 0 && value.every((v) => isObject(v) && "role" in v);
  }

  /** A look at a value that does not count as reading it. */
  peek(name: string): unknown {
    return this.has(name) ? this.#parsed(name) : undefined;
  }

  /** Marks fields as read: what they say is known already. */
  skip(...names: string[]): void {
    for (const name of names) this.#read.add(name);
  }

  /** A value of any kind; undefined where there is none. */
  any(name: string): unknown {
    this.#read.add(name);
    return this.peek(name);
  }

  text(name: string): string {
    return this.textOr(name) ?? this.fail(name, "it is missing");
  }

  textOr(name: string): string | undefined {
    this.#read.add(name);
    if (!this.has(name)) return undefined;
    const value = this.#of(name);
    return typeof value === "string" ? value : this.fail(name, `it must be text, and is ${kindOf(value)}`);
  }

  number(name: string): number {
    return this.numberOr(name) ?? this.fail(name, "it is missing");
  }

  /** A finite number, or a text that writes one. */
  numberOr(name: string): number | undefined {
    this.#read.add(name);
    if (!this.has(name)) return undefined;
    const value = this.#of(name);
    const n = typeof value === "string" && value.trim() !== "" ? Number(value) : value;
    if (typeof n === "number" && Number.isFinite(n)) return n;
    return this.fail(name, `it must be a number, and is ${kindOf(value)}`);
  }

  /** True or false, or 1 or 0, or a table's "True". */
  flagOr(name: string): boolean | undefined {
    this.#read.add(name);
    if (!this.has(name)) return undefined;
    const value = this.#of(name);
    const known = flags.get(typeof value === "string" ? value.toLowerCase() : value);
    return known ?? this.fail(name, `it must be true or false, and is ${kindOf(value)}`);
  }

  object(name: string): Fields {
    return this.objectOr(name) ?? this.fail(name, "it is missing");
  }

  objectOr(name: string): Fields | undefined {
    this.#read.add(name);
    if (!this.has(name)) return undefined;
    const value = this.#parsed(name);
    return isObject(value)
      ? this.#nest(value, name)
      : this.fail(name, `it must be an object, and is ${kindOf(value)}`);
  }

  list(name: string): readonly unknown[] {
    return this.listOr(name) ?? this.fail(name, "it is missing");
  }

  listOr(name: string): readonly unknown[] | undefined {
    this.#read.add(name);
    if (!this.has(name)) return undefined;
    const value = this.#parsed(name);
    return Array.isArray(value)
      ? (value as unknown[])
      : this.fail(name, `it must be a list, and is ${kindOf(value)}`);
  }

  texts(name: string): readonly string[] {
    return this.list(name).map((value, i) =>
      typeof value === "string"
        ? value
        : this.fail(`${name}.${i}`, `it must be text, and is ${kindOf(value)}`),
    );
  }

  objects(name: string): readonly Fields[] {
    return this.list(name).map((value, i) =>
      isObject(value)
        ? this.#nest(value, `${name}.${i}`)
        : this.fail(`${name}.${i}`, `it must be an object, and is ${kindOf(value)}`),
    );
  }

  turns(name: string): readonly Message[] {
    return this.turnsOr(name) ?? this.fail(name, "it is missing");
  }

  /** Turns of a conversation. Content in parts is put together where all of them are text. */
  turnsOr(name: string): readonly Message[] | undefined {
    return this.listOr(name)?.map((value, i) => this.#turn(value, `${name}.${i}`));
  }

  /** One turn that stands alone. */
  turn(name: string): Message {
    this.#read.add(name);
    return this.#turn(this.peek(name), name);
  }

  content(name: string): string | readonly Message[] {
    return this.contentOr(name) ?? this.fail(name, "it is missing");
  }

  /** Text, or turns. */
  contentOr(name: string): string | readonly Message[] | undefined {
    if (!this.has(name)) return undefined;
    return this.isTurns(name) ? this.turns(name) : this.text(name);
  }

  /** Stops with what is wrong with a field. */
  fail(name: string, why: string, fix?: string): never {
    throw new FieldProblem({ field: this.nameOf(name), why, fix });
  }

  /** What nobody has read of these fields themselves. */
  rest(): Row {
    const unread = this.names.filter((name) => !this.#read.has(name));
    return Object.fromEntries(unread.map((name) => [name, this.#values[name]]));
  }

  /** Dotted names, without the numbers of lists, of what nobody has read inside the fields that were. */
  unreadInside(): string[] {
    const names = this.#inner.flatMap((inner) => [
      ...Object.keys(inner.rest()).map((name) => inner.nameOf(name)),
      ...inner.unreadInside(),
    ]);
    return [...new Set(names.map((name) => name.replaceAll(/\.\d+(?=\.|$)/g, "")))];
  }

  #of(name: string): unknown {
    return Object.hasOwn(this.#values, name) ? this.#values[name] : undefined;
  }

  /** A value; of a table, what its cell writes as JSON, where that is a list or an object. */
  #parsed(name: string): unknown {
    const value = this.#of(name);
    if (!this.#cells || typeof value !== "string" || !/^\s*[[{]/.test(value)) return value;
    try {
      return parseJson(value, name);
    } catch {
      return value;
    }
  }

  #nest(value: Row, name: string): Fields {
    const inner = new Fields(value, { path: this.nameOf(name) });
    this.#inner.push(inner);
    return inner;
  }

  #turn(value: unknown, name: string): Message {
    if (!isObject(value))
      return this.fail(name, `it must be a turn with role and content, and is ${kindOf(value)}`);
    const { role, content, ...more } = value;
    if (typeof role !== "string" || role === "") return this.fail(`${name}.role`, "it is missing");
    const said = this.#said(content, name, "tool_calls" in more);
    const kept = Object.entries(more).filter(([, v]) => v !== null && v !== undefined);
    return { role, content: said, ...Object.fromEntries(kept) };
  }

  #said(content: unknown, name: string, callsTools: boolean): string {
    if (typeof content === "string") return content;
    if (Array.isArray(content))
      return content.map((part, i) => this.#part(part, `${name}.content.${i}`)).join("");
    if (callsTools && (content === null || content === undefined)) return "";
    return this.fail(
      `${name}.content`,
      content === undefined ? "it is missing" : `it must be text, and is ${kindOf(content)}`,
    );
  }

  #part(part: unknown, name: string): string {
    if (typeof part === "string") return part;
    if (isObject(part) && typeof part.text === "string" && (part.type === undefined || part.type === "text"))
      return part.text;
    const type = isObject(part) && typeof part.type === "string" ? part.type : kindOf(part);
    return this.fail(name, `it is ${type}, and only text can be trained on`, "Leave the record out");
  }
}

const flags: ReadonlyMap<unknown, boolean> = new Map<unknown, boolean>([
  [true, true],
  [false, false],
  [1, true],
  [0, false],
  ["true", true],
  ["false", false],
  ["1", true],
  ["0", false],
]);

export const isObject = (value: unknown): value is Row =>
  typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array);

function kindOf(value: unknown): string {
  if (value === null) return "null";
  if (value === undefined) return "missing";
  if (Array.isArray(value)) return "a list";
  const kinds: Readonly<Record<string, string>> = {
    string: `the text ${JSON.stringify(String(value).slice(0, 40))}`,
    object: "an object",
    boolean: String(value),
    number: String(value as number),
  };
  return kinds[typeof value] ?? typeof value;
}
