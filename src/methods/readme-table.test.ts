import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { markers, methodsMarkdown, withMethodsTable } from "./readme-table.ts";

it("the README shows the table as the code has it (else: npm run docs:methods)", () => {
  const readme = readFileSync(new URL("../../README.md", import.meta.url), "utf8");
  expect(withMethodsTable(readme)).toBe(readme);
});

it("what stands around the table stays, and a README without a place for it is refused", () => {
  const text = `before\n${markers.begin}\nold\n${markers.end}\nafter\n`;
  const expected = `before\n${markers.begin}\n\n${methodsMarkdown()}\n\n${markers.end}\nafter\n`;
  expect(withMethodsTable(text)).toBe(expected);
  expect(withMethodsTable(expected)).toBe(expected);
  expect(() => withMethodsTable("no markers")).toThrow(markers.begin);
});
