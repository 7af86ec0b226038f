/** GGUF files on the command line: scored, continued and trained like folders. */
import { mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { jsonLines, prefopt, root } from "./command.ts";
import { sharedFile, smolLm2 } from "./shared.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "prefopt-gguf-cli-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));
const fixtures = join(root, "test/fixtures/models");
const gguf = join(fixtures, "gguf/llama3.gguf");

interface Golden {
  cases: { inputIds: number[][]; logProbs: number[][] }[];
  greedy: { promptIds: number[]; ids: number[] };
}
const golden = async () => JSON.parse(await readFile(join(fixtures, "llama3/golden.json"), "utf8")) as Golden;

test("score gives the log-probabilities of the model's folder", async () => {
  const { inputIds, logProbs } = (await golden()).cases[0];
  const [first, ...rest] = inputIds[0];
  const input = `${JSON.stringify({ promptIds: [first], completionIds: rest })}\n`;
  const result = await prefopt(["score", gguf], { input });
  expect(result.stderr).toBe("");
  const [{ logps }] = jsonLines(result.stdout) as { logps: number[] }[];
  logps.forEach((logp, t) => expect(Math.abs(logp - logProbs[0][t])).toBeLessThan(1e-4));
});

test("generate continues as the model's folder does; without a tokenizer there is no text", async () => {
  const { promptIds, ids } = (await golden()).greedy;
  const result = await prefopt(
    ["generate", gguf, "--temperature", "0", "--maxTokens", String(ids.length), "--ignoreEos"],
    { input: `${JSON.stringify({ promptIds })}\n` },
  );
  expect(jsonLines(result.stdout)).toMatchObject([{ ids, text: null }]);
});

test("a recipe trains a GGUF file into a folder, held to another one", async () => {
  const pair = { promptIds: [1, 5, 9], chosenIds: [7, 8, 2], rejectedIds: [11, 12, 2] };
  await writeFile(join(folder, "pairs.jsonl"), `${JSON.stringify(pair)}\n`.repeat(4));
  await writeFile(
    join(folder, "recipe.json"),
    JSON.stringify({
      method: "dpo",
      model: gguf,
      reference: gguf,
      data: { train: "pairs.jsonl" },
      train: { steps: 2 },
    }),
  );
  const result = await prefopt([
    "train",
    join(folder, "recipe.json"),
    "--out",
    join(folder, "run"),
    "--json",
  ]);
  expect(result.status, result.stderr).toBe(0);
  expect(await readdir(join(folder, "run/model"))).toEqual([
    "config.json",
    "generation_config.json",
    "model.safetensors",
  ]);
  const config = JSON.parse(await readFile(join(folder, "run/model/config.json"), "utf8")) as object;
  expect(config).toMatchObject({
    model_type: "llama",
    rope_scaling: { rope_type: "llama3", factor: 8, original_max_position_embeddings: 32 },
  });
});

const smol = sharedFile(smolLm2);
test.skipIf(!smol)("a real model answers", async () => {
  const messages = [{ role: "user", content: "What is the capital of France?" }];
  const result = await prefopt(["generate", smol ?? "", "--temperature", "0", "--maxTokens", "12"], {
    input: `${JSON.stringify({ messages })}\n`,
  });
  expect(jsonLines(result.stdout)).toMatchObject([
    { text: "The capital of France is Paris.", finish: "end" },
  ]);
});
