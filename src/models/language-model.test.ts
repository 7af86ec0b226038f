/** Files of weights and configurations as they occur: other names, old buffers, tied copies, fresh weights, and what is refused. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openBackend } from "../engine/backends/open.ts";
import { writeWeights } from "../formats/weights.ts";
import { RequestError } from "../errors.ts";
import { architectureOf } from "./architectures.ts";
import {
  type LanguageModel,
  loadLanguageModel,
  newLanguageModel,
  saveLanguageModel,
} from "./language-model.ts";

const sizes = {
  vocab_size: 20,
  hidden_size: 16,
  intermediate_size: 24,
  num_hidden_layers: 2,
  num_attention_heads: 2,
  num_key_value_heads: 1,
  head_dim: 8,
  max_position_embeddings: 32,
};
const gpt2 = { model_type: "gpt2", vocab_size: 20, n_embd: 16, n_layer: 2, n_head: 2, n_positions: 12 };

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "prefopt-"));
});
afterAll(() => rm(folder, { recursive: true }));

/** Writes a model under other names of tensors, with more tensors beside them, and reads it back. */
async function rewritten(
  model: LanguageModel,
  rename: (name: string) => string,
  more: Record<string, number[]> = {},
): Promise<LanguageModel> {
  const place = await mkdtemp(join(folder, "model-"));
  await writeFile(join(place, "config.json"), JSON.stringify(model.architecture.toConfig()));
  const own = model.architecture.parameters.map((p) => ({
    name: rename(p.name),
    shape: p.shape.map((d) => d.size),
    data: model.weights.view(p.name),
  }));
  const others = Object.entries(more).map(([name, shape]) => ({
    name,
    shape,
    data: new Float32Array(shape.reduce((a, b) => a * b)),
  }));
  await writeWeights(place, [...own, ...others], { dtype: "F32" });
  return loadLanguageModel(place, model.backend);
}
const fresh = async (config: Record<string, unknown>) => newLanguageModel(config, 4, await openBackend());

describe("names in files", () => {
  test("GPT-2 without its prefix, with the buffers and the tied copy that old files have", async () => {
    const model = await fresh(gpt2);
    const buffers = {
      "h.0.attn.bias": [1, 1, 12, 12],
      "h.1.attn.masked_bias": [1],
      "lm_head.weight": [20, 16],
    };
    const again = await rewritten(model, (name) => name.replace("transformer.", ""), buffers);
    expect(again.weights.flat).toEqual(model.weights.flat);
    const prefixed = await rewritten(model, (name) => name, { "transformer.h.0.attn.bias": [1, 1, 12, 12] });
    expect(prefixed.weights.flat).toEqual(model.weights.flat);
  });
  test("GPT-NeoX with its head by the newer name, and with old buffers", async () => {
    const model = await fresh({ model_type: "gpt_neox", ...sizes });
    const at = "gpt_neox.layers.0.attention";
    const buffers = {
      [`${at}.bias`]: [1, 1, 4, 4],
      [`${at}.masked_bias`]: [1],
      [`${at}.rotary_emb.inv_freq`]: [1],
    };
    const again = await rewritten(model, (name) => name.replace("embed_out", "lm_head"), buffers);
    expect(again.weights.flat).toEqual(model.weights.flat);
  });
  test("what is missing and what is too much is listed", async () => {
    const model = await fresh({ model_type: "qwen3", ...sizes });
    const broken = rewritten(model, (name) => name.replace("q_norm", "r_norm"));
    await expect(broken).rejects.toThrow("missing: model.layers.0.self_attn.q_norm.weight");
    await expect(broken).rejects.toThrow("unexpected: model.layers.0.self_attn.r_norm.weight");
    const untied = await fresh({ model_type: "gpt_neox", ...sizes });
    await expect(rewritten(untied, (name) => name.replace("embed_out", "output"))).rejects.toThrow(
      "missing: embed_out.weight",
    );
  });
  test.each(["gemma", "gemma2"])(
    "%s has no head of its own, and a copy in a file is passed over",
    async (model_type) => {
      const model = await fresh({ model_type, ...sizes });
      expect(model.architecture.parameters.map((p) => p.name)).not.toContain("lm_head.weight");
      const again = await rewritten(model, (name) => name, { "lm_head.weight": [20, 16] });
      expect(again.weights.flat).toEqual(model.weights.flat);
    },
  );
});

describe("fresh weights", () => {
  const deviation = (view: Float32Array) => Math.sqrt(view.reduce((s, v) => s + v * v, 0) / view.length);
  test("GPT-2's additions to the residual stream are smaller, by the root of their number", async () => {
    const { weights } = await fresh({ ...gpt2, n_embd: 64, n_layer: 8 });
    const at = "transformer.h.3";
    expect(deviation(weights.view(`${at}.attn.c_attn.weight`))).toBeCloseTo(0.02, 3);
    expect(deviation(weights.view(`${at}.attn.c_proj.weight`))).toBeCloseTo(0.02 / 4, 3);
    expect(deviation(weights.view(`${at}.mlp.c_proj.weight`))).toBeCloseTo(0.02 / 4, 3);
    expect([...weights.view(`${at}.ln_1.weight`), ...weights.view(`${at}.ln_1.bias`)]).toEqual([
      ...new Array<number>(64).fill(1),
      ...new Array<number>(64).fill(0),
    ]);
  });
  test("norms that multiply by 1 + weight begin at 0", async () => {
    const { weights, architecture } = await fresh({ model_type: "gemma2", ...sizes });
    const norms = architecture.parameters.filter((p) => p.name.includes("norm"));
    expect(norms).toHaveLength(9);
    norms.forEach((p) => expect([...weights.view(p.name)]).toEqual(new Array<number>(16).fill(0)));
  });
});

describe("config.json", () => {
  test("numbers that are never whole in Python are written with a point", async () => {
    const place = await mkdtemp(join(folder, "saved-"));
    const config = { ...sizes, model_type: "gemma2", rope_scaling: { type: "linear", factor: 2 } };
    await saveLanguageModel(await fresh(config), place);
    const text = await readFile(join(place, "config.json"), "utf8");
    for (const line of [
      '"attn_logit_softcapping": 50.0',
      '"final_logit_softcapping": 30.0',
      '"rope_theta": 10000.0',
      '"factor": 2.0',
      '"hidden_size": 16,',
    ])
      expect(text).toContain(line);
    expect(JSON.parse(text)).toMatchObject({ architectures: ["Gemma2ForCausalLM"], model_type: "gemma2" });
  });
  test.each<[string, Record<string, unknown>, string]>([
    ["an unknown type", { model_type: "gemma3" }, "Did you mean gemma?"],
    [
      "too few kinds of layers",
      { model_type: "qwen2", layer_types: ["full_attention"] },
      "a list of 2 kinds",
    ],
    [
      "an unknown kind of layer",
      { model_type: "gemma2", layer_types: ["full_attention", "chunked_attention"] },
      '"chunked_attention" is not supported (full_attention, sliding_attention)',
    ],
    [
      "a layer that slides nowhere",
      { model_type: "mistral", sliding_window: null, layer_types: ["full_attention", "sliding_attention"] },
      'key "sliding_window" cannot be used',
    ],
    ["a window of 0", { model_type: "phi3", sliding_window: 0 }, "0 is not a positive integer"],
    ["a cap of 0", { model_type: "gemma2", final_logit_softcapping: 0 }, "0 is not a number above 0"],
    ["an unknown activation", { model_type: "gpt2", activation_function: "mish" }, '"mish" is not supported'],
    [
      "tokens that see what follows",
      { model_type: "gemma", use_bidirectional_attention: true },
      "only causal attention",
    ],
    ["heads that do not divide", { model_type: "gpt_neox", num_attention_heads: 3 }, "hidden_size 16"],
    ["heads turned in part", { model_type: "qwen2", partial_rotary_factor: 0.5 }, "turns whole heads"],
    ["a share that is no pairs", { model_type: "gpt_neox", rotary_pct: 0.4 }, "config.json, rotary_pct"],
    ["an odd head", { model_type: "llama", head_dim: 5 }, "config.json, head_dim"],
    [
      "a size that is null",
      { model_type: "llama", hidden_size: null },
      '"hidden_size" cannot be used: it is null',
    ],
    ["a flag in quotes", { model_type: "qwen3", attention_bias: "false" }, "is not true or false"],
    [
      "lists of LongRoPE for whole heads",
      {
        model_type: "phi3",
        partial_rotary_factor: 0.5,
        rope_scaling: { type: "su", short_factor: [1, 1, 1, 1], long_factor: [1, 1, 1, 1] },
      },
      "a list of 2 numbers",
    ],
  ])("%s is refused", (_, config, part) => {
    const make = () => architectureOf({ ...sizes, ...config }, "config.json");
    expect(make).toThrow(RequestError);
    expect(make).toThrow(part);
  });
});
