/** The command line with models of every architecture that have no tokenizer: raw ids in, numbers and ids out, and a run. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { jsonLines, prefopt, root } from "./command.ts";

const fixture = (name: string) => join(root, "test/fixtures/models", name);
const names = ["mistral", "qwen2", "qwen3", "gemma", "gemma2", "phi3", "gpt2", "gpt_neox"];

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "prefopt-"));
  process.env.PREFOPT_CACHE = join(folder, "cache");
});
afterAll(() => rm(folder, { recursive: true, force: true }));

interface Golden {
  cases: { inputIds: number[][]; logProbs: number[][] }[];
  greedy: { promptIds: number[]; ids: number[] };
}
interface Line {
  logps: number[];
  ids: number[];
  text: null;
}

test.each(names)("score and generate %s", async (name) => {
  const file = await readFile(join(fixture(name), "golden.json"), "utf8");
  const { cases, greedy } = JSON.parse(file) as Golden;
  const [ids, logProbs] = [cases[0].inputIds[0], cases[0].logProbs[0]];
  const row = { promptIds: ids.slice(0, 4), completionIds: ids.slice(4) };
  const scored = await prefopt(["score", fixture(name)], { input: `${JSON.stringify(row)}\n` });
  expect(scored.status, scored.stderr).toBe(0);
  const [line] = jsonLines(scored.stdout) as unknown as Line[];
  expect(line.ids).toEqual(row.completionIds);
  line.logps.forEach((logp, t) => expect(Math.abs(logp - logProbs[t + 3])).toBeLessThan(1e-4));

  const options = ["--temperature", "0", "--maxTokens", String(greedy.ids.length), "--ignoreEos"];
  const input = `${JSON.stringify({ promptIds: greedy.promptIds })}\n`;
  const generated = await prefopt(["generate", fixture(name), ...options], { input });
  expect(generated.status, generated.stderr).toBe(0);
  expect(jsonLines(generated.stdout)[0]).toMatchObject({ text: null, ids: greedy.ids });
});

test("a recipe trains one on raw ids, and the run's model is of the same architecture", async () => {
  const pairs = Array.from({ length: 4 }, (_, i) => ({
    promptIds: [10 + i, 20, 30],
    chosenIds: [40, 50 + i, 2],
    rejectedIds: [60 + i, 70, 80, 2],
  }));
  await writeFile(join(folder, "pairs.jsonl"), pairs.map((p) => `${JSON.stringify(p)}\n`).join(""));
  const recipe = {
    method: "dpo",
    model: fixture("gemma2"),
    data: { train: "pairs.jsonl" },
    train: { steps: 2, batchSize: 4, learningRate: 1e-3, schedule: "constant", warmup: 0 },
  };
  await writeFile(join(folder, "recipe.yaml"), JSON.stringify(recipe));
  const out = join(folder, "run");
  const trained = await prefopt(["train", join(folder, "recipe.yaml"), "--out", out]);
  expect(trained.status, trained.stderr).toBe(0);
  const metrics = jsonLines(await readFile(join(out, "metrics.jsonl"), "utf8")) as { loss: number }[];
  expect(metrics[1].loss).toBeLessThan(metrics[0].loss);
  const config = JSON.parse(await readFile(join(out, "model", "config.json"), "utf8")) as object;
  expect(config).toMatchObject({ model_type: "gemma2", attn_logit_softcapping: 5, sliding_window: 4 });
  const scored = await prefopt(["score", join(out, "model")], { input: `${JSON.stringify(pairs[0])}\n` });
  expect(scored.status, scored.stderr).toBe(0);
});
