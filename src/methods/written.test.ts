import { expect, it } from "vitest";
import { markers, methodsMarkdown, withMethodsTable, withPageFacts } from "./written.ts";

it("what stands around a table stays, and a file without a place for it is refused", () => {
  const [begin, end] = markers.methods;
  const text = `before\n${begin}\nold\n${end}\nafter\n`;
  const expected = `before\n${begin}\n\n${methodsMarkdown("docs/methods/")}\n\n${end}\nafter\n`;
  expect(withMethodsTable(text)).toBe(expected);
  expect(withMethodsTable(expected)).toBe(expected);
  expect(() => withMethodsTable("no markers")).toThrow(begin);
});

it("tables of options get the code's defaults and ranges; meanings stay, columns may be named by objectives", () => {
  const [begin, end] = markers.facts;
  const table = [
    "| option | `npo` | `simnpo` | range | meaning |",
    "| --- | --- | --- | --- | --- |",
    "| `beta` | wrong | · | old | how soon |",
  ].join("\n");
  const written = withPageFacts(`${begin}\n${end}\n\n${table}\n`, "npo");
  expect(written).toContain("| `beta` | 0.1   | 4.5      | > 0   | how soon |");
});
