/** A GGUF file through the whole model: the scores and continuations of the folder that it was made from, and saved again. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openBackend } from "../../engine/backends/open.ts";
import { generate } from "../../generation/generate.ts";
import { TextScorer } from "../../scoring/text-scorer.ts";
import { architectureOf } from "../architectures.ts";
import { type LanguageModel, loadLanguageModel } from "../language-model.ts";
import { saveGguf } from "../save-gguf.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "prefopt-gguf-load-"));
});
afterAll(() => rm(folder, { recursive: true }));
const models = new URL("../../../test/fixtures/models/", import.meta.url).pathname;

interface Golden {
  cases: { inputIds: number[][]; attentionMask?: number[][]; logProbs: number[][] }[];
  greedy: { promptIds: number[]; ids: number[] };
}

async function expectGolden(model: LanguageModel, name: string, tolerance: number) {
  const { cases, greedy } = JSON.parse(await readFile(`${models}${name}/golden.json`, "utf8")) as Golden;
  const rows = cases.flatMap((c) =>
    c.inputIds.map((ids, b) => ({
      ids: ids.filter((_, t) => c.attentionMask?.[b][t] !== 0),
      expected: c.logProbs[b],
    })),
  );
  const scores = await new TextScorer(model).score(
    rows.map(({ ids }) => ({ prompt: ids.slice(0, 1), completions: [ids.slice(1)] })),
  );
  rows.forEach(({ expected }, i) =>
    expected.forEach((logp, t) => expect(Math.abs(scores[i][0][t] - logp)).toBeLessThan(tolerance)),
  );
  if (tolerance > 1e-3) return;
  const [[sample]] = await generate(model, [greedy.promptIds], {
    temperature: 0,
    maxTokens: greedy.ids.length,
    ignoreEos: true,
  });
  expect(sample.ids).toEqual(greedy.ids);
}

/** Whether an architecture is built here. */
async function isBuilt(name: string): Promise<boolean> {
  const config = JSON.parse(await readFile(`${models}${name}/config.json`, "utf8")) as Record<
    string,
    unknown
  >;
  try {
    architectureOf(config, name);
    return true;
  } catch {
    console.log(`skipped: architecture ${String(config.model_type)} is not built yet`);
    return false;
  }
}

test.each(["llama3", "qwen3", "gemma", "gpt2", "gpt_neox"])(
  "%s.gguf scores and continues as its folder does",
  async (name) => {
    if (!(await isBuilt(name))) return;
    const model = await loadLanguageModel(`${models}gguf/${name}.gguf`, await openBackend());
    await expectGolden(model, name, 1e-4);
  },
);

const saved = ["llama", "llama3", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "phi3", "gpt2", "gpt_neox"];
test.each([
  ...saved.map((name) => [name, "F32", 1e-4] as const),
  ["llama", "F16", 0.05] as const,
  ["llama", "Q8_0", 0.5] as const,
])("%s saved as %s GGUF scores as before, within %d", async (name, dtype, tolerance) => {
  if (!(await isBuilt(name))) return;
  const model = await loadLanguageModel(`${models}${name}`, await openBackend());
  const path = join(folder, `${name}-${dtype}.gguf`);
  await saveGguf(model, path, { dtype });
  const again = await loadLanguageModel(path, model.backend);
  if (dtype === "F32" && !name.startsWith("gemma")) expect(again.weights.flat).toEqual(model.weights.flat);
  expect([again.endIds, again.beginId]).toEqual([model.endIds, model.beginId]);
  await expectGolden(again, name, tolerance);
});
