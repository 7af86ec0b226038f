/** `prefopt loss` itself on the published values: one case of every objective's file (all cases run in src/objectives/fixtures.test.ts). */
import { readFile, readdir } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { prefopt, root } from "./command.ts";

const folder = join(root, "src/objectives/fixtures");
const names = (await readdir(folder)).filter((name) => name.endsWith(".json"));

interface Case {
  readonly name: string;
  readonly options?: object;
  readonly input: unknown;
  readonly expect: unknown;
}

/** Numbers of `wanted` to 1e-6 relative wherever they stand. */
function close(found: unknown, wanted: unknown, where: string): void {
  if (typeof wanted === "number") {
    const error = Math.abs(Number(found) - wanted);
    expect(error, `${where}: ${String(found)} for ${wanted}`).toBeLessThanOrEqual(
      1e-6 * Math.abs(wanted) + 1e-9,
    );
  } else if (typeof wanted === "object" && wanted !== null)
    for (const [key, value] of Object.entries(wanted))
      close((found as Record<string, unknown> | undefined)?.[key], value, `${where}.${key}`);
  else expect(found, where).toEqual(wanted);
}

test("there are files", () => expect(names.length).toBeGreaterThan(40));

test.each(names)("%s", async (name) => {
  const { objective, cases } = JSON.parse(await readFile(join(folder, name), "utf8")) as {
    objective: string;
    cases: readonly Case[];
  };
  const [first] = cases;
  const args = ["loss", objective, "--options", JSON.stringify(first.options ?? {})];
  const { status, stdout, stderr } = await prefopt(args, { input: JSON.stringify(first.input) });
  expect(stderr.replaceAll(/^prefopt: warning: .*\n/gm, "")).toBe("");
  expect(status).toBe(0);
  close(JSON.parse(stdout), first.expect, first.name);
});
