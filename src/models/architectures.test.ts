/**
 * Every architecture against PyTorch's values (`test/fixtures/models`): log-probabilities, logits, hidden states, greedy
 * continuations through the cache, gradient norms; and the worked numbers that follow from the names of tensors.
 */
import { readFile } from "node:fs/promises";
import { describe, expect, test } from "vitest";
import { openBackend } from "../engine/backends/open.ts";
import { elementsOf } from "../engine/tensor.ts";
import { generate } from "../generation/generate.ts";
import { lossAndGradientNorms, readRow } from "../scoring/testing.ts";
import { TextScorer } from "../scoring/text-scorer.ts";
import { architectureOf, architectures } from "./architectures.ts";
import { loadLanguageModel, newLanguageModel } from "./language-model.ts";

const folder = (name: string) => new URL(`../../test/fixtures/models/${name}/`, import.meta.url).pathname;
const fixtures = ["llama", "llama3", ...Object.keys(architectures).filter((name) => name !== "llama")];

interface Case {
  name: string;
  inputIds: number[][];
  attentionMask?: number[][];
  logits: { positions: number[]; values: number[][][] };
  logProbs: number[][];
  hiddenStates?: number[][];
  gradients?: { meanNegativeLogLikelihood: number; norms: Record<string, number> };
}
interface Golden {
  cases: Case[];
  greedy: { promptIds: number[]; ids: number[] };
}
const golden = async (name: string) =>
  JSON.parse(await readFile(`${folder(name)}golden.json`, "utf8")) as Golden;
const load = async (name: string) => loadLanguageModel(folder(name), await openBackend());

/** The rows of a case without their padding. */
const rowsOf = ({ inputIds, attentionMask }: Case) =>
  inputIds.map((ids, b) => ids.filter((_, t) => attentionMask?.[b][t] !== 0));
const largestDifference = (a: readonly number[], b: readonly number[]) => {
  expect(a.length).toBe(b.length);
  return Math.max(...a.map((v, i) => Math.abs(v - b[i])));
};

describe.each(fixtures)("%s against PyTorch", (name) => {
  test("log-probabilities, rows of different lengths in one call", async () => {
    const { cases } = await golden(name);
    const rows = cases.flatMap((c) => rowsOf(c).map((ids, b) => ({ ids, expected: c.logProbs[b] })));
    expect(rows.length).toBeGreaterThan(1);
    const scores = await new TextScorer(await load(name)).score(
      rows.map(({ ids }) => ({ prompt: ids.slice(0, 1), completions: [ids.slice(1)] })),
    );
    rows.forEach(({ expected }, i) =>
      expect(largestDifference([...scores[i][0]], expected)).toBeLessThan(1e-4),
    );
  });
  test("logits, and hidden states from the embedding to the final norm", async () => {
    const model = await load(name);
    for (const c of (await golden(name)).cases) {
      for (const [b, ids] of rowsOf(c).entries()) {
        const { logits, lastStates } = await readRow(model, ids);
        const padding = c.inputIds[b].length - ids.length;
        c.logits.positions.forEach((t, k) =>
          expect(largestDifference(logits[t - padding], c.logits.values[b][k])).toBeLessThan(1e-4),
        );
        if (!c.hiddenStates) continue;
        expect(lastStates).toHaveLength(c.hiddenStates.length);
        c.hiddenStates.forEach((values, layer) =>
          expect(largestDifference(lastStates[layer].slice(0, 4), values)).toBeLessThan(1e-4),
        );
      }
    }
  });
  test("greedy continuations through the cache", async () => {
    const { greedy } = await golden(name);
    expect(greedy.ids.length).toBeGreaterThan(5);
    const options = { temperature: 0, maxTokens: greedy.ids.length, ignoreEos: true };
    const [[sample]] = await generate(await load(name), [greedy.promptIds], options);
    expect(sample.ids).toEqual(greedy.ids);
  });
  test("gradients", async () => {
    const [{ inputIds, gradients: expected }] = (await golden(name)).cases;
    if (!expected) throw new Error("the fixture has no gradients");
    const { loss, norms } = await lossAndGradientNorms(await load(name), inputIds[0]);
    expect(Math.abs(loss - expected.meanNegativeLogLikelihood)).toBeLessThan(1e-4);
    expect(Object.keys(norms).sort()).toEqual(Object.keys(expected.norms).sort());
    for (const [tensor, norm] of Object.entries(expected.norms)) {
      // A key bias moves no softmax by itself: its gradient is almost nothing.
      expect(Math.abs(norms[tensor] - norm), tensor).toBeLessThan(1e-4 * norm + 1e-7);
    }
  });
  test("what is sampled through the cache scores the same when read again", async () => {
    const model = await load(name);
    const prompts = (await golden(name)).cases.flatMap(rowsOf).map((ids) => ids.slice(0, 9));
    const samples = await generate(model, prompts, { maxTokens: 12, n: 2, ignoreEos: true, seed: 3 });
    const scores = await new TextScorer(model).score(
      prompts.map((prompt, i) => ({ prompt, completions: samples[i].map((s) => s.ids) })),
    );
    samples.forEach((list, i) =>
      list.forEach(({ logps }, k) => expect(largestDifference(logps, [...scores[i][k]])).toBeLessThan(1e-4)),
    );
  });
});

test.each(["gemma2", "phi3", "gpt2", "gpt_neox"])("%s: both back ends agree", async (name) => {
  const { cases, greedy } = await golden(name);
  const run = async (id: string) => {
    const model = await loadLanguageModel(folder(name), await openBackend({ id }));
    const options = { temperature: 0, maxTokens: greedy.ids.length, ignoreEos: true };
    const [[{ ids }]] = await generate(model, [greedy.promptIds], options);
    return { ids, ...(await lossAndGradientNorms(model, cases[0].inputIds[0])) };
  };
  const [a, b] = [await run("onnxruntime-c"), await run("onnxruntime-binding")];
  expect(a.ids).toEqual(b.ids);
  expect(a.loss).toBeCloseTo(b.loss, 5);
  for (const [tensor, norm] of Object.entries(a.norms))
    expect(Math.abs(b.norms[tensor] - norm), tensor).toBeLessThan(1e-5 * norm + 1e-7);
});

test.each(fixtures)(
  "%s: a window as long as the row changes nothing, in rows and through the cache",
  async (name) => {
    const [{ inputIds }] = (await golden(name)).cases;
    const file = JSON.parse(await readFile(`${folder(name)}config.json`, "utf8")) as Record<string, unknown>;
    const ids = inputIds[0];
    const prompt = ids.slice(0, 5);
    const run = async (change: Record<string, unknown>) => {
      const model = newLanguageModel({ ...file, initializer_range: 0.2, ...change }, 1, await openBackend());
      const [[{ logps }]] = await generate(model, [prompt], { maxTokens: 9, seed: 2, ignoreEos: true });
      return [await new TextScorer(model).score([{ prompt, completions: [ids.slice(5)] }]), logps];
    };
    const windows = (window: number | null) => ({
      sliding_window: window,
      use_sliding_window: window !== null,
      max_window_layers: 0,
      layer_types: null,
    });
    expect(await run(windows(ids.length))).toEqual(await run(windows(null)));
  },
);

/**
 * Worked number 11 of the foundations: with c the sum of the character codes of a tensor's name mod 101, its element k is
 * 0.2 sin(0.37 k + c); for norm weights that factor is added to 1 (Gemma adds the 1 itself).
 */
describe("models made from the names of their tensors", () => {
  const common = {
    vocab_size: 11,
    hidden_size: 8,
    intermediate_size: 12,
    num_hidden_layers: 2,
    num_attention_heads: 2,
    num_key_value_heads: 1,
    head_dim: 4,
    rms_norm_eps: 1e-6,
    rope_theta: 10000,
    max_position_embeddings: 64,
  };
  const gpt2 = {
    vocab_size: 11,
    n_embd: 8,
    n_inner: 32,
    n_layer: 2,
    n_head: 2,
    n_positions: 16,
    layer_norm_epsilon: 1e-5,
  };
  const neox = { ...common, layer_norm_eps: 1e-5, rotary_pct: 0.5 };
  const caps = { attn_logit_softcapping: 50, final_logit_softcapping: 30 };
  const worked: [string, object, number[], number][] = [
    ["llama", common, [-0.5295218, 0.567563, -0.5869397], -8.1309923],
    ["mistral", { ...common, sliding_window: 2 }, [-0.50202, 0.5401009, -0.5604203], -8.1247615],
    ["qwen2", common, [-0.3444635, 0.3879879, -0.4187532], -7.6967696],
    ["qwen3", common, [-0.5367114, 0.5750426, -0.5944634], -8.1605157],
    ["gemma", common, [-0.2462011, 0.3899515, -0.5208782], -8.7198304],
    [
      "gemma2",
      { ...common, ...caps, query_pre_attn_scalar: 16, sliding_window: 2 },
      [0.1235791, -0.0836769, 0.0410227],
      -7.3339222,
    ],
    ["phi3", common, [-0.4495213, 0.4755535, -0.485947], -7.7028267],
    ["gpt2", gpt2, [0.0093418, 0.1564515, -0.3170998], -6.3332224],
    ["gpt_neox", neox, [0.13342, -0.0099334, -0.1138799], -6.4729837],
    ["gpt_neox", { ...neox, use_parallel_residual: false }, [0.1202023, -0.0004414, -0.1193339], -6.4654791],
  ];
  test.each(worked)("%s %j", async (model_type, config, lastLogits, sumLogp) => {
    const model = newLanguageModel({ ...config, model_type }, 1, await openBackend());
    for (const { name } of model.architecture.parameters) {
      const c = [...name].reduce((n, ch) => n + ch.charCodeAt(0), 0) % 101;
      const isNorm = /(norm|ln_.)\.weight$/.test(name) && !model_type.startsWith("gemma");
      model.weights
        .view(name)
        .forEach((_, k, view) => (view[k] = Number(isNorm) + 0.2 * Math.sin(0.37 * k + c)));
    }
    const ids = [1, 5, 2, 7];
    const [[logps]] = await new TextScorer(model).score([
      { prompt: ids.slice(0, 1), completions: [ids.slice(1)] },
    ]);
    expect(logps.reduce((a, b) => a + b, 0)).toBeCloseTo(sumLogp, 5);
    const { logits } = await readRow(model, ids);
    lastLogits.forEach((v, i) => expect(Math.abs(logits[3][i] - v)).toBeLessThan(2e-6));
  });
});

describe("parameters, counted from the configuration alone", () => {
  const counted: [string, string, Record<string, unknown>, number][] = [
    [
      "Llama-3.2-1B",
      "llama",
      {
        hidden_size: 2048,
        intermediate_size: 8192,
        num_hidden_layers: 16,
        num_key_value_heads: 8,
        vocab_size: 128256,
        tie_word_embeddings: true,
      },
      1_235_814_400,
    ],
    [
      "Llama-3-8B",
      "llama",
      { intermediate_size: 14336, num_key_value_heads: 8, vocab_size: 128256 },
      8_030_261_248,
    ],
    // These are the defaults of their classes.
    ["Llama-2-7B", "llama", {}, 6_738_415_616],
    ["Mistral-7B", "mistral", {}, 7_241_732_096],
    ["Gemma-2-2B", "gemma2", {}, 2_614_341_888],
    ["Phi-3-mini", "phi3", {}, 3_821_079_552],
    ["GPT-2", "gpt2", {}, 124_439_808],
    [
      "Qwen2.5-0.5B",
      "qwen2",
      {
        hidden_size: 896,
        intermediate_size: 4864,
        num_hidden_layers: 24,
        num_attention_heads: 14,
        num_key_value_heads: 2,
        tie_word_embeddings: true,
      },
      494_032_768,
    ],
    [
      "Qwen3-0.6B",
      "qwen3",
      {
        hidden_size: 1024,
        intermediate_size: 3072,
        num_hidden_layers: 28,
        num_attention_heads: 16,
        num_key_value_heads: 8,
        tie_word_embeddings: true,
      },
      596_049_920,
    ],
    [
      "Gemma-2B",
      "gemma",
      {
        hidden_size: 2048,
        intermediate_size: 16384,
        num_hidden_layers: 18,
        num_attention_heads: 8,
        num_key_value_heads: 1,
      },
      2_506_172_416,
    ],
    [
      "SmolLM2-135M",
      "llama",
      {
        hidden_size: 576,
        intermediate_size: 1536,
        num_hidden_layers: 30,
        num_attention_heads: 9,
        num_key_value_heads: 3,
        vocab_size: 49152,
        tie_word_embeddings: true,
      },
      134_515_008,
    ],
    [
      "SmolLM2-360M",
      "llama",
      {
        hidden_size: 960,
        intermediate_size: 2560,
        num_hidden_layers: 32,
        num_attention_heads: 15,
        num_key_value_heads: 5,
        vocab_size: 49152,
        tie_word_embeddings: true,
      },
      361_821_120,
    ],
    [
      "Pythia-70M",
      "gpt_neox",
      {
        hidden_size: 512,
        intermediate_size: 2048,
        num_hidden_layers: 6,
        num_attention_heads: 8,
        vocab_size: 50304,
      },
      70_426_624,
    ],
    [
      "Pythia-160M",
      "gpt_neox",
      {
        hidden_size: 768,
        intermediate_size: 3072,
        num_hidden_layers: 12,
        num_attention_heads: 12,
        vocab_size: 50304,
      },
      162_322_944,
    ],
  ];
  test.each(counted)("%s", (_, model_type, config, count) => {
    const { parameters } = architectureOf({ model_type, ...config }, "the test");
    expect(parameters.reduce((n, p) => n + elementsOf(p.shape), 0)).toBe(count);
  });
});
