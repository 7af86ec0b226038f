/** Every architecture trains: DPO on raw ids lowers the loss, and how a batch is cut changes nothing, windows or not. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openBackend } from "../engine/backends/open.ts";
import { random } from "../engine/random.ts";
import { architectures } from "../models/architectures.ts";
import { type LanguageModel, loadLanguageModel } from "../models/language-model.ts";
import { dpo } from "../objectives/dpo.ts";
import { parseRecipe } from "./recipe.ts";
import { train } from "./train.ts";

const fixture = (name: string) => new URL(`../../test/fixtures/models/${name}/`, import.meta.url).pathname;
const rng = random(11, "pairs");
const ids = (n: number) => Array.from({ length: n }, () => rng.integer(96));
const pairs = Array.from({ length: 8 }, () => ({
  promptIds: ids(2 + rng.integer(8)),
  chosenIds: ids(3 + rng.integer(8)),
  rejectedIds: ids(3 + rng.integer(8)),
}));

let folder: string;
let runs = 0;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "prefopt-"));
  process.env.PREFOPT_CACHE = join(folder, "cache");
});
afterAll(() => rm(folder, { recursive: true }));

/** Two steps of DPO over the same eight pairs: their losses, and the model that is saved at the end. */
async function run(name: string, microBatch: number) {
  const model = await loadLanguageModel(fixture(name), await openBackend());
  const settings = {
    steps: 2,
    batchSize: 8,
    learningRate: 2e-3,
    schedule: "constant",
    warmup: 0,
    microBatch,
  };
  const recipe = parseRecipe(
    { objective: "dpo", model: fixture(name), data: { train: "given" }, train: settings },
    "test",
  );
  const out = join(folder, `run-${runs++}`);
  const steps: Record<string, number>[] = [];
  const given = { recipe, model, out, terms: [{ objective: dpo.with({}), weight: 1 }], records: pairs };
  for await (const event of train(given)) if (event.type === "step") steps.push({ ...event.metrics });
  const saved = await loadLanguageModel(join(out, "model"), model.backend);
  return { steps, start: await loadLanguageModel(fixture(name), model.backend), model, saved };
}

const distance = (a: Float32Array, b: Float32Array) =>
  Math.sqrt(a.reduce((s, v, i) => s + (v - b[i]) ** 2, 0));

describe.each(Object.keys(architectures))("%s", (name) => {
  test("two steps of DPO lower the loss, and 8×1 makes the update of 1×8", async () => {
    const whole = await run(name, 8);
    const [first, second] = whole.steps.map((m) => m.loss);
    expect(first).toBeCloseTo(Math.LN2, 4);
    expect(second).toBeLessThan(first - 0.01);
    expect(whole.steps.every((m) => Object.values(m).every(Number.isFinite))).toBe(true);
    expect(whole.saved.weights.flat).toEqual(whole.model.weights.flat);

    const cut = await run(name, 1);
    // Matrices only: a key bias has no gradient but rounding errors, which Adam makes steps of.
    const matrices = ({ weights }: LanguageModel) => weights.flat.subarray(0, weights.layout.matrixElements);
    const moved = distance(matrices(whole.model), matrices(whole.start));
    expect(distance(matrices(cut.model), matrices(whole.model)) / moved).toBeLessThan(5e-4);
    cut.steps.forEach((m, i) => expect(Math.abs(m.loss - whole.steps[i].loss)).toBeLessThan(1e-5));
    expect(Math.abs(cut.steps[0].grad_norm / whole.steps[0].grad_norm - 1)).toBeLessThan(1e-5);
  });
});
