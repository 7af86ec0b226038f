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
let records: unknown[];
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "prefopt-"));
  process.env.PREFOPT_CACHE = join(folder, "cache");
  const text = await readFile(join(root, "assets/preferences/train.jsonl"), "utf8");
  // The same 48 pairs again and again: 30 steps must lower the loss on them, whatever it starts from.
  records = text
    .split("\n")
    .slice(0, 48)
    .map((line) => JSON.parse(line) as unknown);
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
    "train.batchSize=16",
    "train.warmup=0",
    "train.schedule=constant",
    "evaluate.metrics=[loss]",
    "evaluate.every=30",
  ];
  const recipe = await loadRecipe(join(root, `recipes/objectives/${id}.yaml`), settings);
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
