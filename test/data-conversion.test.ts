/** docs/data-conversion.md against the code: every format, limit and check is there. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { dataChecks } from "../src/data/checks/table.ts";
import type { DataFormat } from "../src/data/formats/format.ts";
import { pairPolicies } from "../src/data/formats/pairs.ts";
import { dataFormatNames, dataFormats } from "../src/data/formats/table.ts";
import { tablesOf } from "../src/methods/markdown.ts";
import { root } from "./command.ts";

const page = readFileSync(join(root, "docs/data-conversion.md"), "utf8");
const tables = tablesOf(page);
const namesIn = (cell: string) => [...cell.matchAll(/`([^`]+)`/g)].map((m) => m[1]);

describe("docs/data-conversion.md", () => {
  it("lists every format, in the order in which they are tried", () => {
    const listed = tables.find((t) => t.header[0] === "name")?.rows.flatMap(([name]) => namesIn(name));
    expect(listed).toEqual(dataFormatNames);
  });
  it("lists every limit of every service", () => {
    const rows = tables.find((t) => t.header[0] === "format")?.rows ?? [];
    for (const name of dataFormatNames) {
      const { limits = [] }: DataFormat = dataFormats[name];
      const row = rows.find(([cell]) => cell === `\`${name}\``);
      expect(row?.[1].replace("advice: ", "").split("; ").sort() ?? [], name).toEqual(
        limits.map((limit) => limit.what).sort(),
      );
    }
  });
  it("lists every check and every way to make pairs", () => {
    const listed = tables.find((t) => t.header[0] === "check")?.rows.flatMap(([name]) => namesIn(name));
    expect(listed).toEqual(dataChecks.map((check) => check.id));
    for (const name of Object.keys(pairPolicies)) expect(page).toContain(`\`${name}\``);
  });
});
