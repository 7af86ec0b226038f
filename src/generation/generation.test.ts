/** Sampling: the worked numbers of every filter, seeds that name a sample, and batches that change nothing. */
import { describe, expect, test } from "vitest";
import { openBackend } from "../engine/backends/open.ts";
import { random } from "../engine/random.ts";
import { newLanguageModel } from "../models/language-model.ts";
import { TextScorer } from "../scoring/text-scorer.ts";
import { generate } from "./generate.ts";
import { draw, probabilities } from "./sampling.ts";

const z = Float32Array.of(2, 1, 0, -1, -2);
const plain = { temperature: 1, topK: 0, topP: 1, minP: 0 };
const kept = (p: Float64Array) => [...p].flatMap((v, i) => (v > 0 ? [i] : []));

describe("filters", () => {
  test.each([
    ["none", {}, [0.6364086, 0.2341217, 0.0861285, 0.0316849, 0.0116562]],
    ["temperature 0.7", { temperature: 0.7 }, [0.7609505, 0.1823626, 0.0437034, 0.0104736, 0.00251]],
    ["then top-p 0.9 keeps two", { temperature: 0.7, topP: 0.9 }, [0.8066786, 0.1933214, 0, 0, 0]],
  ])("%s", (_, change, expected) => {
    probabilities(z, { ...plain, ...change }).forEach((p, i) => expect(p).toBeCloseTo(expected[i], 6));
  });
  test("min-p 0.1 keeps three; top-k keeps ties with the k-th; filters follow one another", () => {
    expect(kept(probabilities(z, { ...plain, minP: 0.1 }))).toEqual([0, 1, 2]);
    expect(kept(probabilities(Float32Array.of(1, 3, 2, 2), { ...plain, topK: 2 }))).toEqual([1, 2, 3]);
    expect(kept(probabilities(z, { ...plain, topK: 3, topP: 0.7 }))).toEqual([0, 1]);
    expect(kept(probabilities(z, { ...plain, topP: 1e-9 }))).toEqual([0]);
  });
  test("greedy takes the lowest of equals, and reports the unfiltered log-probability", () => {
    const { id, logp } = draw(Float32Array.of(0, 5, 5), { ...plain, temperature: 0 }, 0.99);
    expect(id).toBe(1);
    expect(logp).toBeCloseTo(5 - Math.log(2 * Math.exp(5) + 1), 6);
    expect(draw(z, { ...plain, topK: 1 }, 0.3).logp).toBeCloseTo(Math.log(0.6364086), 6);
  });
  test("draws follow the distribution (chi-square over 20,000 draws, 4 degrees of freedom, below 18.5: error rate 0.1 %)", () => {
    const rng = random(7, "draws");
    const counts = [0, 0, 0, 0, 0];
    const draws = 20000;
    for (let i = 0; i < draws; i++) counts[draw(z, plain, rng.uniform()).id]++;
    const p = probabilities(z, plain);
    const chi = counts.reduce((s, c, i) => s + (c - draws * p[i]) ** 2 / (draws * p[i]), 0);
    expect(chi).toBeLessThan(18.5);
  });
});

describe("generate", async () => {
  const config = {
    model_type: "llama",
    vocab_size: 50,
    hidden_size: 32,
    intermediate_size: 48,
    num_hidden_layers: 2,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    max_position_embeddings: 40,
    initializer_range: 0.3,
    eos_token_id: 3,
  };
  const model = newLanguageModel(config, 1, await openBackend());
  const prompts = Array.from({ length: 90 }, (_, i) =>
    Array.from({ length: 1 + (i % 7) }, (_, t) => (i * 7 + t * 13) % 50),
  );

  test("many prompts of different lengths, more than there are slots: each as if it were alone", async () => {
    const together = await generate(model, prompts, { maxTokens: 12, seed: 5 });
    expect(together).toHaveLength(90);
    const scorer = new TextScorer(model);
    const scores = await scorer.score(
      prompts.map((prompt, i) => ({ prompt, completions: [together[i][0].ids] })),
    );
    together.forEach(([s], i) =>
      s.logps.forEach((logp, t) => expect(Math.abs(logp - scores[i][0][t])).toBeLessThan(1e-4)),
    );
    expect(together.some(([s]) => s.finish === "end")).toBe(true);
    for (const [s] of together) {
      expect(s.ids.slice(0, -1)).not.toContain(3);
      expect(s.finish === "end").toBe(s.ids.at(-1) === 3);
    }
  });
  test("a seed names its samples; another seed gives others; n samples differ", async () => {
    const once = (seed: number) => generate(model, prompts.slice(0, 3), { maxTokens: 10, seed, n: 2 });
    const [a, b, c] = [await once(1), await once(1), await once(2)];
    expect(a).toEqual(b);
    expect(a).not.toEqual(c);
    expect(a[0][0].ids).not.toEqual(a[0][1].ids);
  });
  test("the context is never exceeded; a prompt that fills it is refused", async () => {
    const long = Array.from({ length: 36 }, (_, i) => i);
    const [[sample]] = await generate(model, [long], { maxTokens: 100, ignoreEos: true });
    expect(sample.ids).toHaveLength(4);
    await expect(generate(model, [[...long, 1, 2, 3, 4]])).rejects.toThrow(
      "the prompt has 40 tokens: the model's context is 40",
    );
    await expect(generate(model, [[]])).rejects.toThrow("the prompt has no tokens");
  });
  test("learned positions end with the context, whatever sizes programs are rounded up to", async () => {
    const gpt2 = { model_type: "gpt2", vocab_size: 50, n_embd: 32, n_layer: 2, n_head: 4, n_positions: 13 };
    const model = newLanguageModel({ ...gpt2, initializer_range: 0.3 }, 1, await openBackend());
    const prompts = Array.from({ length: 70 }, (_, i) =>
      Array.from({ length: 1 + (i % 12) }, (_, t) => (i * 7 + t * 13) % 50),
    );
    const samples = await generate(model, prompts, { maxTokens: 100, ignoreEos: true, seed: 2 });
    const scores = await new TextScorer(model).score(
      prompts.map((prompt, i) => ({ prompt, completions: [samples[i][0].ids] })),
    );
    samples.forEach(([s], i) => {
      expect(prompts[i].length + s.ids.length).toBe(13);
      s.logps.forEach((logp, t) => expect(Math.abs(logp - scores[i][0][t])).toBeLessThan(1e-4));
    });
  });
  test("can be stopped between tokens", async () => {
    const abort = new AbortController();
    await expect(
      generate(model, [[1]], {
        maxTokens: 30,
        ignoreEos: true,
        signal: abort.signal,
        onToken: () => abort.abort(),
      }),
    ).rejects.toThrow();
  });
});
