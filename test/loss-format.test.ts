/** docs/loss-format.md: its examples through the real command, number by number; every kind and field of the code is in its tables. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { recordKinds } from "../src/data/record-kinds.ts";
import { sectionsOf, tablesOf } from "../src/methods/markdown.ts";
import { factsOfObjective } from "../src/methods/objective-facts.ts";
import { completionFields } from "../src/objectives/given-completion.ts";
import { differentiableFields } from "../src/objectives/given-unit.ts";
import { objectives } from "../src/objectives/table.ts";
import { prefopt, root } from "./command.ts";

const page = readFileSync(join(root, "docs/loss-format.md"), "utf8");
const example =
  /```sh\nprefopt loss (\S+)(?: --options '(.+)')? <<'END'\n([\s\S]+?)\nEND\n```\n\n```json\n([\s\S]+?)\n```/g;
const examples = [...page.matchAll(example)].map(([, id, options, input, output], i) => ({
  name: `${i + 1}: ${id} ${options ?? ""}`,
  args: ["loss", id, ...(options ? ["--options", options] : [])],
  input,
  output: JSON.parse(output) as unknown,
}));

/** Kinds of records that some objective reads: others have no loss to show. */
const read = objectives()
  .map((o) => factsOfObjective(o).records)
  .join(" ")
  .split(/\W+/);
const kinds = Object.entries(recordKinds).filter(([kind]) => read.includes(kind));

/** The same shape, and every number within 1e-9. */
function expectNumbers(actual: unknown, expected: unknown, where: string): void {
  if (typeof expected === "number") {
    expect(Math.abs((actual as number) - expected), `${where}: ${String(actual)}`).toBeLessThanOrEqual(1e-9);
    return;
  }
  expect(Object.keys(actual as object), where).toEqual(Object.keys(expected as object));
  for (const [key, value] of Object.entries(expected as object))
    expectNumbers((actual as Record<string, unknown>)[key], value, `${where}.${key}`);
}

describe("examples", () => {
  it.each(examples)("$name", async ({ args, input, output }) => {
    const { status, stdout, stderr } = await prefopt(args, { input });
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    expect(stdout.endsWith("\n") && !stdout.slice(0, -1).includes("\n")).toBe(true);
    expectNumbers(JSON.parse(stdout), output, "output");
  });
  it("there is one of every kind", () => {
    const below = (kind: string) => sectionsOf(page).find((s) => s.title === `\`${kind}\``)?.text ?? "";
    expect(kinds.length).toBeGreaterThanOrEqual(11);
    for (const [kind] of kinds) expect(below(kind), kind).toMatch(example);
    expect(examples.length).toBeGreaterThanOrEqual(20);
    // none that the pattern above would miss
    expect([...page.matchAll(/^prefopt loss \S+.*<<'END'$/gm)]).toHaveLength(examples.length);
  });
});

describe("tables", () => {
  const table = (first: string, n = 0) => tablesOf(page).filter((t) => t.header[0] === first)[n].rows;
  it("of completions: every field, and whether its gradient is told", () => {
    const rows = table("field").map(([name, , told]) => [name.replaceAll("`", ""), told !== ""] as const);
    expect(rows.map(([name]) => name).sort()).toEqual([...completionFields].sort());
    for (const [name, told] of rows)
      expect(told, name).toBe((differentiableFields as readonly string[]).includes(name));
  });
  it("of records: every kind, with its completions", () => {
    for (const [kind, roles] of kinds) {
      const row = table("kind").find(([name]) => name === `\`${kind}\``);
      for (const role of Object.keys(roles))
        if (role !== "copies") expect(row?.[1], kind).toContain(role.split(".").at(-1));
    }
  });
});

describe("what it says of errors", () => {
  it.each([
    [
      ["loss", "dpo"],
      { examples: [{ chosen: { policy: [-1], reference: [-1] } }] },
      "example 1: rejected is missing",
    ],
    [
      ["loss", "vpo", "--options", '{"mode":"online"}'],
      {
        examples: [
          { chosen: { policy: [-1], reference: [-1] }, rejected: { policy: [-1], reference: [-1] } },
        ],
      },
      "example 1: calibration is missing",
    ],
    [["loss"], {}, "missing required argument"],
  ])("%j", async (args, input, message) => {
    const { status, stdout, stderr } = await prefopt(args, { input: JSON.stringify(input) });
    expect({ status, stdout }).toEqual({ status: 2, stdout: "" });
    expect(stderr).toContain(message);
    expect(stderr.trim().split("\n")).toHaveLength(1);
  });
  it("--list prints every objective", async () => {
    const { stdout } = await prefopt(["loss", "--list"]);
    const listed = JSON.parse(stdout) as { id: string; records: string }[];
    expect(listed.find((o) => o.id === "kto")).toMatchObject({ records: "unpaired" });
    expect(listed.length).toBeGreaterThanOrEqual(48);
  });
});
