/** 500 damaged recipes, and YAML with tricks of its own: each is a recipe or one clear error, and nothing hangs. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { parse, stringify } from "yaml";
import { random } from "../engine/random.ts";
import { RequestError } from "../errors.ts";
import { packagePath, readText } from "../formats/files.ts";
import { damagedText, damagedValue } from "../formats/testing.ts";
import { loadRecipe } from "./recipe.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "prefopt-fuzz-"));
});
afterAll(() => rm(folder, { recursive: true }));

/** Loads a recipe; returns whether it was refused. */
async function refused(text: string, about: string, settings: string[] = []): Promise<boolean> {
  const path = join(folder, "recipe.yaml");
  await writeFile(path, text);
  const began = performance.now();
  const error: unknown = await loadRecipe(path, settings).then(
    () => undefined,
    (e: unknown) => e,
  );
  expect((performance.now() - began) / 1000, about).toBeLessThan(2);
  if (error === undefined) return false;
  if (!(error instanceof RequestError)) throw new Error(about, { cause: error });
  expect(error.message.split("\n"), about).toHaveLength(1);
  expect(error.message.length, about).toBeLessThan(2000);
  return true;
}

test("500 damaged recipes", { timeout: 120_000 }, async () => {
  const text = await readText(packagePath("recipes/sentiment-dpo.yaml"));
  const recipe: unknown = parse(text);
  expect(await refused(text, "as it is")).toBe(false);
  let count = 0;
  for (let seed = 0; seed < 500; seed++) {
    const rng = random(seed, "recipe");
    const lines = text.split("\n");
    const at = rng.integer(lines.length);
    const damaged = [
      () => stringify(damagedValue(recipe, rng)),
      () => damagedText(recipe, rng), // JSON is YAML
      () => lines.toSpliced(at, 1, lines[rng.integer(lines.length)]).join("\n"),
      () =>
        lines
          .toSpliced(
            at,
            0,
            ["\t", "- ", "? ", "& ", "*x", "!!binary x", "<<: *x", "a: b: c", "}", '"'][rng.integer(10)],
          )
          .join("\n"),
      () => text.slice(0, rng.integer(text.length)),
      () => `${text.slice(0, at)}${String.fromCharCode(rng.integer(256))}${text.slice(at + 1)}`,
    ][seed % 6]();
    if (await refused(damaged, `seed ${seed}`)) count++;
  }
  expect(count).toBeGreaterThan(250);
  expect(count).toBeLessThan(500);
});

test("YAML that grows, nests or points at itself", async () => {
  const laughs = Array.from(
    { length: 40 },
    (_, i) => `a${i + 1}: &a${i + 1} [${new Array(9).fill(`*a${i}`).join(", ")}]`,
  );
  expect(await refused(["a0: &a0 [x]", ...laughs].join("\n"), "aliases of aliases")).toBe(true);
  expect(await refused("method: &a [*a]", "an alias of itself")).toBe(true);
  expect(await refused(`method: ${"[".repeat(100_000)}`, "lists in lists")).toBe(true);
  expect(await refused(`method: ${"{a: ".repeat(50_000)}`, "objects in objects")).toBe(true);
  expect(await refused("a: 1\na: 2", "a key twice")).toBe(true);
  expect(await refused("", "nothing")).toBe(true);
  expect(await refused("\0\0\0", "no text")).toBe(true);
});

test("damaged settings of the command line", async () => {
  const text = await readText(packagePath("recipes/sentiment-dpo.yaml"));
  for (const setting of [
    "=",
    "a",
    "train.steps=[",
    "train.steps=NaN",
    "train.steps=1e999",
    "__proto__.x=1",
    "train.__proto__.steps=1",
    "..=1",
    "data=x",
    "data.train.x=1",
    "train.steps=&a [*a]",
    `options.x=${"[".repeat(50_000)}`,
  ])
    expect(await refused(text, setting, [setting]), setting).toBe(true);
  expect(({} as Record<string, unknown>).x).toBeUndefined();
});
