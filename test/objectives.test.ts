/** Every objective trains the embedded model through its recipe: nothing turns non-finite, and the loss falls. */
import { mkdtemp, readFile, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { termsOf } from "../src/methods/terms.ts";
import { objectives } from "../src/objectives/table.ts";
import { loadRecipe } from "../src/training/recipe.ts";
import { train } from "../src/training/train.ts";
import { root } from "./command.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "prefopt-"));
  process.env.PREFOPT_CACHE = join(folder, "cache");
});
afterAll(() => rm(folder, { recursive: true }));

test("every objective has a recipe", async () => {
  const recipes = (await readdir(join(root, "recipes/objectives"))).map((name) => name.replace(".yaml", ""));
  expect(recipes.sort()).toEqual(
    objectives()
      .map((o) => o.id)
      .sort(),
  );
});

test.each(objectives().map((o) => o.id))("%s", async (id) => {
  const settings = [
    "train.steps=30",
    "train.batchSize=4",
    "data.shuffle=false",
    "train.warmup=0",
    "train.schedule=constant",
    "evaluate.metrics=[loss]",
    "evaluate.every=30",
  ];
  const recipe = await loadRecipe(join(root, `recipes/objectives/${id}.yaml`), settings);
  // The same 8 records again and again: 30 steps must lower the loss on them, whatever it starts from.
  const text = await readFile(recipe.data.train, "utf8");
  const records = text
    .trim()
    .split("\n")
    .slice(0, 8)
    .map((line) => JSON.parse(line) as unknown);
  const held: number[] = [];
  for await (const event of train({
    recipe,
    out: join(folder, id),
    terms: termsOf(recipe),
    records,
    evalRecords: records,
  })) {
    if (event.type === "step")
      expect(Object.values(event.metrics).every(Number.isFinite), `step ${event.step}`).toBe(true);
    if (event.type === "evaluation") held.push(event.evaluation["eval/loss"]);
  }
  const [before, after] = held;
  expect(after).toBeLessThan(before);
  await rm(join(folder, id), { recursive: true });
});
