/** The room of objectives stays one of small files: one subject each, no switch that asks for a loss by its name. */
import { readFile, readdir } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { root } from "./command.ts";

const folder = join(root, "src/objectives");
const files = (await readdir(folder, { recursive: true })).filter((name) => name.endsWith(".ts"));

test("no file has more than 150 lines, and none switches", async () => {
  expect(files.length).toBeGreaterThan(60);
  for (const name of files) {
    const text = await readFile(join(folder, name), "utf8");
    expect(text.trimEnd().split("\n").length, name).toBeLessThanOrEqual(150);
    expect(/\bswitch\s*\(/.test(text), `${name} switches`).toBe(false);
  }
});
