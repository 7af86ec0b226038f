/** A real model out of its GGUF file: scores and continuations of PyTorch, then through a folder of our own. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { sharedFile, smolLm2 } from "../../../test/shared.ts";
import { openBackend } from "../../engine/backends/open.ts";
import { generate } from "../../generation/generate.ts";
import { TextScorer } from "../../scoring/text-scorer.ts";
import { loadTokenizer } from "../../text/tokenizer.ts";
import { type LanguageModel, loadLanguageModel, saveLanguageModel } from "../language-model.ts";
import { saveGguf } from "../save-gguf.ts";

interface Golden {
  logProbs: { promptIds: number[]; completionIds: number[]; perToken: number[] }[];
  greedy: { promptIds: number[]; ids: number[]; text: string }[];
  tokenization: { text: string; ids: number[] }[];
}
const golden = JSON.parse(
  await readFile(new URL("../../text/fixtures/smollm2.json", import.meta.url), "utf8"),
) as Golden;
const file = sharedFile(smolLm2) ?? "";

describe.skipIf(file === "")("SmolLM2-135M-Instruct, Q4_1", () => {
  let model: LanguageModel;
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "prefopt-smollm2-"));
    const backend = await openBackend();
    const started = performance.now();
    model = await loadLanguageModel(file, backend);
    console.log(
      `SmolLM2's GGUF file became float32 in ${((performance.now() - started) / 1000).toFixed(2)} s`,
    );
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  test("has the size and the special tokens of the model", () => {
    expect(model.weights.layout.elements).toBe(134_515_008);
    expect([model.endIds, model.beginId, model.architecture.context]).toEqual([[2], 1, 8192]);
  });
  test("scores completions like PyTorch", async () => {
    const rows = golden.logProbs.map(({ promptIds, completionIds }) => ({
      prompt: promptIds,
      completions: [completionIds],
    }));
    const scores = await new TextScorer(model).score(rows);
    golden.logProbs.forEach(({ perToken }, i) => {
      expect(scores[i][0]).toHaveLength(perToken.length);
      perToken.forEach((logp, t) => expect(Math.abs(scores[i][0][t] - logp)).toBeLessThan(1e-3));
    });
  });
  test("continues greedily like PyTorch", async () => {
    const tokenizer = await loadTokenizer(file);
    const prompts = golden.greedy.map((g) => g.promptIds);
    const samples = await generate(model, prompts, { temperature: 0, maxTokens: 24, ignoreEos: true });
    golden.greedy.forEach(({ ids, text }, i) => {
      expect(samples[i][0].ids).toEqual(ids);
      expect(tokenizer.decode(samples[i][0].ids)).toBe(text);
    });
  });
  test("saved as a folder and as a GGUF file it is the same model with the same tokenizer", async () => {
    await saveLanguageModel(model, folder, { dtype: "BF16" });
    expect(await saveGguf(model, join(folder, "again.gguf"), { dtype: "Q8_0" })).toEqual([]);
    for (const [path, error] of [
      [folder, 2 ** -8],
      [join(folder, "again.gguf"), 1 / 127],
    ] as const) {
      const again = await loadLanguageModel(path, model.backend);
      const tokenizer = await loadTokenizer(path);
      for (const { text, ids } of golden.tokenization) expect(tokenizer.encode(text)).toEqual(ids);
      expect([again.endIds, again.beginId]).toEqual([model.endIds, model.beginId]);
      for (const name of [
        "model.embed_tokens.weight",
        "model.layers.29.self_attn.q_proj.weight",
        "model.norm.weight",
      ]) {
        const [a, b] = [model.weights.view(name), again.weights.view(name)];
        const largest = a.reduce((m, w) => Math.max(m, Math.abs(w)), 0);
        expect(a.reduce((m, w, i) => Math.max(m, Math.abs(w - b[i])), 0)).toBeLessThanOrEqual(
          largest * error,
        );
      }
    }
  });
});
