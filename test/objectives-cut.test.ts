/**
 * Every objective on a tiny model: however a batch is cut, the update is the same; a run that is interrupted and resumed ends with the bytes
 * of one that was not, whatever the objective keeps between batches (running means, slow copies, heads, a reference that follows).
 */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openBackend } from "../src/engine/backends/open.ts";
import { termsOf } from "../src/methods/terms.ts";
import { newLanguageModel } from "../src/models/language-model.ts";
import { objectives } from "../src/objectives/table.ts";
import { loadTokenizer } from "../src/text/tokenizer.ts";
import { loadRecipe } from "../src/training/recipe.ts";
import { Interrupted, train } from "../src/training/train.ts";
import { root } from "./command.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "prefopt-"));
  process.env.PREFOPT_CACHE = join(folder, "cache");
});
afterAll(() => rm(folder, { recursive: true }));

const backend = await openBackend();
const tokenizer = await loadTokenizer(join(root, "assets/reviews"));
const config = JSON.parse(await readFile(join(root, "assets/reviews/config.json"), "utf8")) as object;
const tiny = {
  ...config,
  hidden_size: 24,
  intermediate_size: 32,
  num_hidden_layers: 2,
  num_attention_heads: 2,
  num_key_value_heads: 2,
  initializer_range: 0.2,
};
const fresh = () => newLanguageModel(tiny, 3, backend);

interface Ran {
  readonly weights: Float32Array;
  readonly losses: readonly number[];
}

async function run(
  id: string,
  name: string,
  { settings = [], stopAfter, resume }: { settings?: string[]; stopAfter?: number; resume?: boolean },
): Promise<Ran> {
  const recipe = await loadRecipe(join(root, `recipes/objectives/${id}.yaml`), [
    ...["train.steps=2", "train.batchSize=8", "train.learningRate=1e-3", "train.warmup=0"],
    ...["train.schedule=constant", ...settings],
  ]);
  const lines = (await readFile(recipe.data.train, "utf8")).trim().split("\n").slice(0, 10);
  const records = lines.map((line) => JSON.parse(line) as unknown);
  const model = fresh();
  const abort = new AbortController();
  const losses: number[] = [];
  const out = join(folder, name);
  const given = {
    recipe: { ...recipe, evaluate: undefined },
    out,
    terms: termsOf(recipe),
    records,
    model,
    tokenizer,
    backend,
  };
  try {
    for await (const event of train({ ...given, resume, signal: abort.signal })) {
      if (event.type !== "step") continue;
      losses.push(event.metrics.loss);
      if (event.step === stopAfter) abort.abort();
    }
  } catch (error) {
    if (!(error instanceof Interrupted)) throw error;
  }
  return { weights: model.weights.flat, losses };
}

const distance = (a: Float32Array, b: Float32Array) =>
  Math.sqrt(a.reduce((s, v, i) => s + (v - b[i]) ** 2, 0));

/** More to try where the recipe leaves it off. */
const variants: Readonly<Record<string, readonly string[]>> = {
  dpo: ["options.syncRefModel=true", "options.refModelSyncSteps=2", "options.useWeighting=true"],
  tdpo: ["options.tdpoVariant=tdpo1"],
};

test.each(objectives().map((o) => o.id))("%s", async (id) => {
  for (const settings of [[], ...(variants[id] ? [[...variants[id]]] : [])]) {
    const tag = `${id}-${settings.length}`;
    const whole = await run(id, `${tag}-whole`, { settings: [...settings, "train.microBatch=8"] });
    const moved = distance(whole.weights, fresh().weights.flat);
    expect(moved).toBeGreaterThan(1e-3);
    for (const microBatch of [3]) {
      const cut = await run(id, `${tag}-${microBatch}`, {
        settings: [...settings, `train.microBatch=${microBatch}`],
      });
      // Adam divides small gradients by their own size, so rounding shows: a thousandth of the way.
      expect(distance(cut.weights, whole.weights) / moved, `pieces of ${microBatch}`).toBeLessThan(1e-2);
      cut.losses.forEach((loss, i) =>
        expect(Math.abs(loss - whole.losses[i])).toBeLessThan(2e-4 * (1 + Math.abs(whole.losses[i]))),
      );
    }
    const parts = [...settings, "train.microBatch=8"];
    const first = await run(id, `${tag}-parts`, { settings: parts, stopAfter: 1 });
    const rest = await run(id, `${tag}-parts`, { settings: parts, resume: true });
    expect([...first.losses, ...rest.losses]).toEqual(whole.losses);
    expect(Buffer.from(rest.weights.buffer).equals(Buffer.from(whole.weights.buffer))).toBe(true);
  }
});
