/**
 * The elements of one large JSON list, read as a stream: only the element at hand is in memory. The list is the whole
 * file, or stands in an object under `data` or `rows`; what else such an object holds is checked and passed over.
 */
import { RequestError } from "../errors.ts";
import type { JsonLine } from "./jsonl.ts";
import { parseJson, toJson } from "./parse-json.ts";
import { longestText, textOf, tooLong } from "./text-lines.ts";

/** Keys under which an object may hold the list. */
const listKeys: readonly string[] = ["data", "rows"];

/** The elements of the list, numbered from 1. Throws where there is no list, an empty one, or broken JSON. */
export async function* readJsonList(
  chunks: AsyncIterable<Uint8Array>,
  name: string,
): AsyncGenerator<JsonLine> {
  const scanner = new ListScanner(name);
  let line = 0;
  for await (const text of textOf(chunks, name))
    for (const value of scanner.push(text)) yield { line: ++line, value };
  for (const value of scanner.end()) yield { line: ++line, value };
  if (line === 0) {
    throw new RequestError({ code: "empty-file", what: "is an empty list", where: name });
  }
}

/** A list of rows as JSON, one row a line, as a stream of text. */
export async function* jsonListText(
  rows: AsyncIterable<unknown> | Iterable<unknown>,
  name: string,
): AsyncGenerator<string> {
  let line = 0;
  for await (const row of rows) yield `${line === 0 ? "[\n" : ",\n"}${toJson(row, `${name}:${++line}`)}`;
  yield line === 0 ? "[]\n" : "\n]\n";
}

/** What may come next, outside of the values that are collected whole. */
type Place =
  | "top"
  | "firstElement"
  | "element"
  | "afterElement"
  | "firstKey"
  | "key"
  | "colon"
  | "member"
  | "afterMember"
  | "end";

/** Where a collected value goes, and what follows it. */
const valueOf: Partial<Record<Place, Place>> = {
  firstElement: "afterElement",
  element: "afterElement",
  firstKey: "colon",
  key: "colon",
  member: "afterMember",
};

/** Signs that lead from one place to another without a value. */
const signs: Partial<Record<Place, Readonly<Record<string, Place>>>> = {
  top: { "[": "firstElement", "{": "firstKey" },
  firstElement: { "]": "end" },
  afterElement: { ",": "element", "]": "end" },
  firstKey: { "}": "end" },
  colon: { ":": "member" },
  afterMember: { ",": "key", "}": "end" },
};

class ListScanner {
  readonly #name: string;
  #place: Place = "top";
  /** The value being collected: its text so far, open brackets, and whether a string is open. */
  #parts: string[] | undefined;
  #length = 0;
  #depth = 0;
  #inString = false;
  #scalar = false;
  #escaped = false;
  /** The list stands in an object. */
  #inObject = false;
  #key = "";
  #keys: string[] = [];
  #found: string | undefined;
  #elements = 0;
  #line = 1;

  constructor(name: string) {
    this.#name = name;
  }

  /** Takes a piece of text; yields the elements that it completes. */
  *push(text: string): Generator<unknown> {
    let at = 0;
    while (at < text.length) {
      if (this.#parts) {
        const end = this.#endOfValue(text, at);
        this.#collect(text.slice(at, end ?? text.length));
        if (end === undefined) return;
        at = end;
        yield* this.#finish();
        continue;
      }
      const sign = text[at];
      if (/\s/.test(sign)) {
        if (sign === "\n") this.#line++;
        at++;
      } else if (this.#isList(sign)) {
        this.#openList();
        at++;
      } else if (signs[this.#place]?.[sign]) {
        this.#follow(sign);
        at++;
      } else if (this.#place in valueOf && !/[\]},:]/.test(sign)) {
        this.#begin(sign);
        this.#collect(sign);
        at++;
      } else throw this.#unexpected(sign);
    }
  }

  /** The end of the file. */
  *end(): Generator<unknown> {
    if (this.#parts && this.#scalar) yield* this.#finish();
    if (this.#place === "top") {
      throw new RequestError({
        code: "empty-file",
        what: "is empty",
        where: this.#name,
        fix: "Give a JSON list of records",
      });
    }
    if (this.#place !== "end") throw this.#broken("the file ends in the middle");
    if (this.#found === undefined) throw this.#noList();
  }

  #isList(sign: string): boolean {
    return this.#place === "member" && sign === "[" && listKeys.includes(this.#key);
  }

  #openList(): void {
    if (this.#found !== undefined) {
      throw new RequestError({
        code: "not-a-list",
        what: `holds two lists, ${this.#found} and ${this.#key}`,
        where: this.#name,
        fix: "Keep the one to be read",
      });
    }
    this.#found = this.#key;
    this.#place = "firstElement";
  }

  #follow(sign: string): void {
    const next = signs[this.#place]?.[sign] ?? "end";
    if (this.#place === "top") {
      this.#inObject = sign === "{";
      if (sign === "[") this.#found = "";
    }
    this.#place = sign === "]" && this.#inObject ? "afterMember" : next;
  }

  #begin(sign: string): void {
    if ((this.#place === "key" || this.#place === "firstKey") && sign !== '"') throw this.#unexpected(sign);
    this.#parts = [];
    this.#length = 0;
    this.#inString = sign === '"';
    this.#depth = sign === "[" || sign === "{" ? 1 : 0;
    this.#scalar = !this.#inString && this.#depth === 0;
    this.#escaped = false;
  }

  #collect(text: string): void {
    this.#parts?.push(text);
    this.#length += text.length;
    if (this.#length > longestText) throw tooLong(this.#where());
  }

  /** Where the value that is being collected ends in this text; undefined where it goes on. */
  #endOfValue(text: string, from: number): number | undefined {
    if (this.#scalar) {
      const rest = text.slice(from).search(/[\s,\]}]/);
      return rest < 0 ? undefined : from + rest;
    }
    for (let at = from; at < text.length; at++) {
      const c = text.charCodeAt(at);
      if (this.#inString) {
        if (this.#escaped) this.#escaped = false;
        else if (c === 0x5c) this.#escaped = true;
        else if (c === 0x22) {
          this.#inString = false;
          if (this.#depth === 0) return at + 1;
        }
      } else if (c === 0x22) this.#inString = true;
      else if (c === 0x5b || c === 0x7b) this.#depth++;
      else if ((c === 0x5d || c === 0x7d) && --this.#depth === 0) return at + 1;
      else if (c === 0x0a) this.#line++;
    }
    return undefined;
  }

  *#finish(): Generator<unknown> {
    const text = (this.#parts ?? []).join("");
    this.#parts = undefined;
    const place = this.#place;
    const isElement = place === "element" || place === "firstElement";
    if (isElement) this.#elements++;
    const value = parseJson(text, this.#where());
    if (place === "key" || place === "firstKey") this.#keys.push((this.#key = String(value)));
    this.#place = valueOf[place] ?? "end";
    if (isElement) yield value;
  }

  #where(): string {
    return this.#elements > 0
      ? `${this.#name}, record ${this.#elements} (line ${this.#line})`
      : `${this.#name}:${this.#line}`;
  }

  #unexpected(sign: string): RequestError {
    if (this.#place === "top") return this.#noList();
    return this.#broken(`there is ${JSON.stringify(sign)} where ${expected[this.#place]} should be`);
  }

  #broken(why: string): RequestError {
    return new RequestError({
      code: "not-json",
      what: "is not valid JSON",
      where: `${this.#name}:${this.#line}`,
      why,
      fix: "Correct the file, or write one record a line in a .jsonl file",
    });
  }

  #noList(): RequestError {
    const keys = this.#keys.slice(0, 8).join(", ");
    return new RequestError({
      code: "not-a-list",
      what: "is not a JSON list of records",
      where: this.#name,
      why: keys
        ? `it is an object with no list under ${listKeys.join(" or ")}; its keys: ${keys}`
        : undefined,
      fix: "Write a list, or one record a line in a .jsonl file",
    });
  }
}

/** In words, what each place waits for. */
const expected: Readonly<Record<Place, string>> = {
  top: "a list",
  firstElement: "a record",
  element: "a record",
  afterElement: "a comma or the end of the list",
  firstKey: "a key",
  key: "a key",
  colon: "a colon",
  member: "a value",
  afterMember: "a comma or the end of the object",
  end: "nothing",
};
