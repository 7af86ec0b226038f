/** docs/data-formats.md against the code: every format and field is there as the schemas have it, every example is a line of assets/records. */
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { buildRows } from "../src/data/rows.ts";
import { type DataKind, type Format, formats } from "../src/data/record-formats.ts";
import { parseRecord } from "../src/data/records.ts";
import { blocksOf, tablesOf } from "../src/methods/markdown.ts";
import { loadTokenizer } from "../src/text/tokenizer.ts";
import { root } from "./command.ts";

const page = readFileSync(join(root, "docs/data-formats.md"), "utf8");
const all = Object.entries(formats) as [string, Format][];
const fieldsIn = (cell: string) => [...cell.matchAll(/`([^`]+)`/g)].map((m) => m[1]);

/** Fields that stand together under a name. */
const common = ["weight", "id", "tools"];
const comparison = Object.keys(formats.pairImplicit.schema.shape).filter(
  (name) => ![...formats.pairImplicit.required, ...common].includes(name as never),
);
const groups: Readonly<Record<string, readonly string[]>> = {
  "common fields": common,
  "comparison fields": [...comparison, ...common],
};

describe("tables", () => {
  const tables = tablesOf(page);
  const rowsOf = (first: string) => tables.find((t) => t.header[0] === first)?.rows ?? [];
  it.each(all)(
    "the format %s: its kind, what it must and may have",
    (name, { kind, required, oneOf, schema }) => {
      const row = rowsOf("format").find(([format]) => format === `\`${name}\``);
      expect(row?.[1]).toBe(`\`${kind}\``);
      const must = fieldsIn(row?.[2] ?? "");
      expect(must).toEqual(oneOf ? [...oneOf] : [...required]);
      const grouped = Object.entries(groups).flatMap(([group, names]) =>
        row?.[3].includes(group) ? names : [],
      );
      const may = new Set([...fieldsIn(row?.[3] ?? ""), ...grouped]);
      expect([...may].sort()).toEqual(
        Object.keys(schema.shape)
          .filter((field) => !required.includes(field))
          .sort(),
      );
    },
  );
  it("has no format and no field that the code does not have, and all of them", () => {
    expect(rowsOf("format").map(([name]) => fieldsIn(name)[0])).toEqual(all.map(([name]) => name));
    const known = new Set(all.flatMap(([, { schema }]) => Object.keys(schema.shape)));
    const listed = rowsOf("field").flatMap(([cell]) => fieldsIn(cell));
    expect([...new Set(listed)].sort()).toEqual([...known].sort());
    expect(listed).toHaveLength(known.size);
  });
});

describe("examples", async () => {
  const tokenizer = await loadTokenizer(join(root, "assets/reviews"));
  const builder = {
    tokenizer,
    endIds: [tokenizer.endId ?? 0],
    vocabularySize: 4096,
    limits: { maxLength: 512, truncation: "error" as const },
  };
  const files = readdirSync(join(root, "assets/records"));
  const lines = new Map(
    files.flatMap((file) =>
      readFileSync(join(root, "assets/records", file), "utf8")
        .split("\n")
        .filter(Boolean)
        .map((line): [string, string] => [line, file]),
    ),
  );
  const shown = blocksOf(page, "text").flatMap((block) => block.trim().split("\n"));

  it("each is a line of a file, byte for byte, and the file is named above it", () => {
    expect(shown.length).toBeGreaterThan(20);
    for (const line of shown) {
      const file = lines.get(line);
      expect(file, line).toBeDefined();
      const above = page.slice(0, page.indexOf(line));
      expect(above.lastIndexOf(`assets/records/${file}`), line).toBeGreaterThan(above.lastIndexOf("\n#"));
    }
  });
  it("every file of records has an example, every format has one", () => {
    expect([...new Set(shown.map((line) => lines.get(line)))].sort()).toEqual([...files].sort());
    const found = shown.map((line) => {
      const parsed = parseRecord(JSON.parse(line));
      return "record" in parsed ? parsed.record.format : parsed.problem.why;
    });
    expect([...new Set(found)].sort()).toEqual(all.map(([name]) => name).sort());
  });
  it("every line of every file is a record, and becomes tokens", () => {
    for (const [line, file] of lines) {
      const parsed = parseRecord(JSON.parse(line));
      if ("problem" in parsed)
        throw new Error(`${file}: ${parsed.problem.field} ${parsed.problem.why}: ${line}`);
      const rows = buildRows(parsed.record, { file, line: 1 }, builder);
      expect(rows.length, line).toBeGreaterThan(0);
    }
  });
  it("every kind has a file", () => {
    const kinds = new Set<DataKind>();
    for (const line of lines.keys()) {
      const parsed = parseRecord(JSON.parse(line));
      if ("record" in parsed) kinds.add(formats[parsed.record.format].kind);
    }
    expect([...kinds].sort()).toEqual([...new Set(all.map(([, f]) => f.kind))].sort());
  });
  it("assets/README.md says of every file what it holds", () => {
    const readme = readFileSync(join(root, "assets/README.md"), "utf8");
    for (const file of files) expect(readme).toContain(`\`${file}\``);
  });
});
