/**
 * The Parquet schema of rows that are plain objects: found by looking at every value, since Parquet wants one type a
 * column. Lists are three-level groups and objects are groups, as pyarrow writes and reads them; every field is optional.
 */
import type { ParquetWriter } from "hyparquet-writer";
import { RequestError } from "../errors.ts";

export type SchemaElement = ConstructorParameters<typeof ParquetWriter>[0]["schema"][number];

/** The type of a column or of what is in it. `nothing`: only nulls and empty lists were seen. */
export type Shape =
  | { readonly kind: "nothing" | "boolean" | "integer" | "number" | "text" | "bytes" }
  | { readonly kind: "list"; element: Shape }
  | { readonly kind: "object"; readonly fields: Map<string, Shape> };

const words: Readonly<Record<Shape["kind"], string>> = {
  nothing: "nothing",
  boolean: "a truth value",
  integer: "a number",
  number: "a number",
  text: "text",
  bytes: "bytes",
  list: "a list",
  object: "an object",
};

/** Collects the shape of rows. */
export class ShapeFinder {
  readonly #columns = new Map<string, Shape>();
  readonly #name: string;
  #rows = 0;

  /** `name` stands for the file in errors. */
  constructor(name: string) {
    this.#name = name;
  }

  /** Takes a row in. Throws where a value is of another type than those before it, or of none that Parquet has. */
  add(row: Readonly<Record<string, unknown>>): void {
    this.#rows++;
    for (const [key, value] of Object.entries(row)) {
      const at = { where: `${this.#name}, row ${this.#rows}`, field: key };
      this.#columns.set(key, merged(this.#columns.get(key) ?? { kind: "nothing" }, value, at));
    }
  }

  /** Columns by name, in the order in which they came up. */
  get columns(): ReadonlyMap<string, Shape> {
    return this.#columns;
  }

  /** Elements of the schema, the root first. Throws where there is nothing to write. */
  schema(): SchemaElement[] {
    if (this.#columns.size === 0) {
      throw new RequestError({ code: "no-rows", what: "there is nothing to write", where: this.#name });
    }
    return [
      { name: "schema", num_children: this.#columns.size },
      ...[...this.#columns].flatMap(([name, shape]) => elementsOf(name, shape)),
    ];
  }
}

interface At {
  readonly where: string;
  readonly field: string;
}

function merged(known: Shape, value: unknown, at: At): Shape {
  if (value === null || value === undefined) return known;
  const kind = kindOf(value, at);
  if (kind === "integer" && known.kind === "number") return known;
  const widens = known.kind === "nothing" || (kind === "number" && known.kind === "integer");
  if (known.kind !== kind && !widens) {
    throw new RequestError({
      code: "column-mixed",
      what: `field "${at.field}" is ${words[kind]}`,
      where: at.where,
      why: `it is ${words[known.kind]} in a row before, and a Parquet column has one type`,
      fix: "Write the rows as JSON Lines, or make the field alike everywhere",
    });
  }
  if (Array.isArray(value)) {
    const list =
      known.kind === "list" ? known : { kind: "list" as const, element: { kind: "nothing" } as Shape };
    for (const inner of value as unknown[])
      list.element = merged(list.element, inner, { ...at, field: `${at.field}[]` });
    return list;
  }
  if (kind === "object") {
    const object =
      known.kind === "object" ? known : { kind: "object" as const, fields: new Map<string, Shape>() };
    for (const [key, inner] of Object.entries(value)) {
      const field = object.fields.get(key) ?? { kind: "nothing" };
      object.fields.set(key, merged(field, inner, { ...at, field: `${at.field}.${key}` }));
    }
    return object;
  }
  return { kind } as Shape;
}

function kindOf(value: unknown, at: At): Shape["kind"] {
  if (typeof value === "string") return "text";
  if (typeof value === "boolean") return "boolean";
  if (typeof value === "number")
    return Number.isSafeInteger(value) && !Object.is(value, -0) ? "integer" : "number";
  if (value instanceof Uint8Array) return "bytes";
  if (Array.isArray(value)) return "list";
  if (typeof value === "object" && value !== null && !(value instanceof Date)) return "object";
  throw new RequestError({
    code: "column-type",
    what: `field "${at.field}" cannot be written`,
    where: at.where,
    why: `it is a ${value instanceof Date ? "Date" : typeof value}`,
    fix: "Write it as text or a number",
  });
}

/** A value as the library writes its column: integers of 64 bits as BigInt. */
export function stored(value: unknown, shape: Shape): unknown {
  if (value === null || value === undefined) return null;
  if (shape.kind === "integer") return BigInt(value as number);
  if (shape.kind === "list") return (value as unknown[]).map((inner) => stored(inner, shape.element));
  if (shape.kind !== "object") return value;
  const given = value as Record<string, unknown>;
  return Object.fromEntries([...shape.fields].map(([key, field]) => [key, stored(given[key], field)]));
}

const optional = "OPTIONAL" as const;

function elementsOf(name: string, shape: Shape): SchemaElement[] {
  switch (shape.kind) {
    case "boolean":
      return [{ name, type: "BOOLEAN", repetition_type: optional }];
    case "integer":
      return [{ name, type: "INT64", repetition_type: optional }];
    case "number":
      return [{ name, type: "DOUBLE", repetition_type: optional }];
    case "bytes":
      return [{ name, type: "BYTE_ARRAY", repetition_type: optional }];
    case "list":
      return [
        {
          name,
          repetition_type: optional,
          num_children: 1,
          converted_type: "LIST",
          logical_type: { type: "LIST" },
        },
        { name: "list", repetition_type: "REPEATED", num_children: 1 },
        ...elementsOf("element", shape.element),
      ];
    case "object":
      // A group needs a field: an object that is always empty has none of its own.
      return [
        { name, repetition_type: optional, num_children: Math.max(1, shape.fields.size) },
        ...(shape.fields.size > 0
          ? [...shape.fields].flatMap(([key, inner]) => elementsOf(key, inner))
          : elementsOf("empty", { kind: "nothing" })),
      ];
    case "text":
    case "nothing":
      return [
        {
          name,
          type: "BYTE_ARRAY",
          repetition_type: optional,
          converted_type: "UTF8",
          logical_type: { type: "STRING" },
        },
      ];
  }
}
