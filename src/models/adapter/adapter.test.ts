/** Adapters on real little models: they begin as nothing, merge to the same scores, and survive PEFT's files. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { openBackend } from "../../engine/backends/open.ts";
import { random } from "../../engine/random.ts";
import { openSafetensors, writeSafetensors } from "../../formats/safetensors.ts";
import { TextScorer } from "../../scoring/text-scorer.ts";
import { Decoder } from "../../generation/decoder.ts";
import { readParameter } from "../declare.ts";
import { type LanguageModel, loadLanguageModel, saveAdapter, withAdapterOf } from "../language-model.ts";
import { newAdapter, planAdapter } from "./adapter.ts";
import { adapterSchema } from "./config.ts";
import { adaptedModules } from "./matching.ts";
import { mergedCopy } from "./merge.ts";
import { fromPeftConfig } from "./peft-config.ts";

const fixture = (name: string) => new URL(`../../../test/fixtures/models/${name}`, import.meta.url).pathname;
const folder = await mkdtemp(join(tmpdir(), "prefopt-adapter-"));
afterAll(() => rm(folder, { recursive: true }));

type Given = Parameters<typeof adapterSchema.parse>[0];

/** A fixture with an adapter, whose numbers are random where `seed` is given and fresh otherwise. */
async function adapted(name: string, given: Given, seed?: number): Promise<LanguageModel> {
  const model = await loadLanguageModel(fixture(name), await openBackend());
  const plan = planAdapter(model.architecture, adapterSchema.parse(given), "the test");
  const adapter = newAdapter(plan, model.backend, 1, (p) => readParameter(model, p));
  if (seed === undefined) return { ...model, adapter };
  const rng = random(seed, "adapter");
  const { flat } = adapter.weights;
  for (let i = 0; i < flat.length; i++) flat[i] += 0.1 * rng.normal();
  return { ...model, adapter: { ...adapter, fresh: false } };
}

const trees = [
  {
    prompt: [1, 2, 3, 4],
    completions: [
      [5, 6, 7],
      [8, 9],
    ],
  },
];

async function scores(model: LanguageModel): Promise<number[]> {
  const scorer = new TextScorer(model);
  const result = await scorer.score(trees);
  await scorer.release();
  return result.flat().flatMap((s) => [...s]);
}

const distance = (a: readonly number[], b: readonly number[]) =>
  Math.max(...a.map((v, i) => Math.abs(v - b[i])));

const architectures = ["llama", "gpt2", "gpt_neox", "phi3", "qwen3", "gemma2"];
const kinds: [string, Given][] = [
  ["plain", {}],
  ["rsLoRA with patterns", { rslora: true, rankPattern: { ".*0.*": 3 }, alphaPattern: { ".*1.*": 5 } }],
  ["DoRA", { dora: true, rank: 4 }],
  ["with biases", { bias: "all", rank: 2 }],
];

describe.each(architectures)("%s", (name) => {
  it("a fresh adapter changes nothing", async () => {
    const model = await adapted(name, {});
    expect(distance(await scores(model), await scores({ ...model, adapter: undefined }))).toBeLessThan(1e-6);
  });

  it.each(kinds)("%s: merged weights score alike, and so does what is read back", async (kind, given) => {
    const model = await adapted(name, given, 7);
    const own = await scores(model);
    expect(distance(own, await scores({ ...model, adapter: undefined }))).toBeGreaterThan(1e-3);
    expect(distance(own, await scores(mergedCopy(model)))).toBeLessThan(2e-5);
    const { mkdir } = await import("node:fs/promises");
    const at = join(folder, `${name} ${kind}`);
    await mkdir(at);
    await saveAdapter(model, at);
    const again = await loadLanguageModel(at, model.backend);
    expect(distance(own, await scores(again))).toBe(0);
    const config = JSON.parse(await readFile(join(at, "adapter_config.json"), "utf8")) as Record<
      string,
      unknown
    >;
    expect(config).toMatchObject({
      peft_type: "LORA",
      inference_mode: true,
      fan_in_fan_out: name === "gpt2",
    });
    expect(Object.keys(config)).toEqual(Object.keys(config).sort());
  });
});

it("decoding heeds the adapter", async () => {
  const model = await adapted("llama", {}, 3);
  const logits = async (m: LanguageModel) => {
    const decoder = new Decoder(m, 1, 64);
    const [first] = await decoder.read([{ slot: 0, ids: [1, 2, 3] }]);
    const second = (await decoder.step([4])).slice();
    await decoder.release();
    return [...first, ...second];
  };
  expect(distance(await logits(model), await logits(mergedCopy(model)))).toBeLessThan(1e-4);
});

it("names of PEFT's file", async () => {
  const model = await adapted("llama", { target: ["q_proj"], dora: true, modulesToSave: ["norm"] }, 1);
  const { mkdir } = await import("node:fs/promises");
  const at = join(folder, "names");
  await mkdir(at);
  await saveAdapter(model, at);
  const { tensors } = await openSafetensors(join(at, "adapter_model.safetensors"));
  const q = "base_model.model.model.layers.0.self_attn.q_proj";
  expect([...tensors.keys()].filter((k) => k.startsWith(q)).sort()).toEqual([
    `${q}.lora_A.weight`,
    `${q}.lora_B.weight`,
    `${q}.lora_magnitude_vector`,
  ]);
  expect(tensors.has("base_model.model.model.norm.weight")).toBe(true);
});

describe("files of others", () => {
  const prefix = "base_model.model.";
  /** Writes an adapter of rank 2 over the given modules of the llama fixture, as PEFT does. */
  async function written(name: string, config: object, tensors: Record<string, number[]>): Promise<string> {
    const { mkdir, writeFile } = await import("node:fs/promises");
    const at = join(folder, name);
    await mkdir(at);
    const all = {
      peft_type: "LORA",
      base_model_name_or_path: fixture("llama"),
      r: 2,
      lora_alpha: 4,
      ...config,
    };
    await writeFile(join(at, "adapter_config.json"), JSON.stringify(all));
    const rng = random(5, name);
    await writeSafetensors(
      join(at, "adapter_model.safetensors"),
      Object.entries(tensors).map(([key, shape]) => ({
        name: prefix + key,
        shape,
        data: Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => 0.3 * rng.normal()),
      })),
    );
    return at;
  }

  it("an adapted embedding and head are W + s (B A)ᵀ and W + s B A", async () => {
    const model = await loadLanguageModel(fixture("llama"), await openBackend());
    const [v, h] = [model.architecture.vocabularySize, model.architecture.hiddenSize];
    const head = model.architecture.parameters.some((p) => p.name === "lm_head.weight");
    if (!head) throw new Error("the fixture's head is tied");
    const at = await written(
      "embedding",
      { target_modules: ["embed_tokens", "lm_head"] },
      {
        "model.embed_tokens.lora_embedding_A": [2, v],
        "model.embed_tokens.lora_embedding_B": [h, 2],
        "model.embed_tokens.base_layer.weight": [v, h],
        "lm_head.lora_A.weight": [2, h],
        "lm_head.lora_B.weight": [v, 2],
        "lm_head.base_layer.weight": [v, h],
      },
    );
    const { adapter } = await withAdapterOf(model, at);
    const file = await openSafetensors(join(at, "adapter_model.safetensors"));
    const [ea, eb, ha, hb] = await Promise.all(
      [
        "model.embed_tokens.lora_embedding_A",
        "model.embed_tokens.lora_embedding_B",
        "lm_head.lora_A.weight",
        "lm_head.lora_B.weight",
      ].map((key) => file.readFloat32(prefix + key)),
    );
    const [word, unit] = [7, 3];
    const expected = (base: number, terms: [number, number][]) =>
      base + 2 * terms.reduce((s, [x, y]) => s + x * y, 0);
    const at2 = word * h + unit;
    expect(adapter?.weights.view("model.embed_tokens.weight")[at2]).toBeCloseTo(
      expected(model.weights.view("model.embed_tokens.weight")[at2], [
        [ea[word], eb[unit * 2]],
        [ea[v + word], eb[unit * 2 + 1]],
      ]),
      5,
    );
    expect(adapter?.weights.view("lm_head.weight")[at2]).toBeCloseTo(
      expected(model.weights.view("lm_head.weight")[at2], [
        [hb[word * 2], ha[unit]],
        [hb[word * 2 + 1], ha[h + unit]],
      ]),
      5,
    );
  });

  it("an adapted head is written as a module in full, and read back the same; one alone is not written", async () => {
    const backend = await openBackend();
    const { architecture } = await loadLanguageModel(fixture("llama"), backend);
    const [v, h] = [architecture.vocabularySize, architecture.hiddenSize];
    const head = { "lm_head.lora_A.weight": [2, h], "lm_head.lora_B.weight": [v, 2] };
    const both = await written(
      "layer and head",
      { target_modules: ["0.self_attn.q_proj", "lm_head"] },
      {
        "model.layers.0.self_attn.q_proj.lora_A.weight": [2, h],
        "model.layers.0.self_attn.q_proj.lora_B.weight": [h, 2],
        ...head,
      },
    );
    const model = await loadLanguageModel(both, backend);
    const { mkdir } = await import("node:fs/promises");
    const at = join(folder, "head in full");
    await mkdir(at);
    await saveAdapter(model, at);
    const config = JSON.parse(await readFile(join(at, "adapter_config.json"), "utf8")) as Record<
      string,
      unknown
    >;
    expect(config).toMatchObject({ target_modules: ["0.self_attn.q_proj"], modules_to_save: ["lm_head"] });
    const again = await loadLanguageModel(at, backend);
    expect(again.adapter?.weights.flat).toEqual(model.adapter?.weights.flat);
    const alone = await loadLanguageModel(
      await written("head", { target_modules: ["lm_head"] }, head),
      backend,
    );
    await expect(saveAdapter(alone, at)).rejects.toThrow(/changes no layer/);
  });

  it("kinds that compute something else are errors", () => {
    const json = { peft_type: "LORA", target_modules: ["q_proj"], alora_invocation_tokens: [1] };
    expect(() => fromPeftConfig(json, "llama", "x")).toThrow(/alora_invocation_tokens is set/);
  });

  it("a tensor that no setting chooses is an error that names it", async () => {
    const model = await loadLanguageModel(fixture("llama"), await openBackend());
    const h = model.architecture.hiddenSize;
    const at = await written(
      "left over",
      { target_modules: ["q_proj"], layers_to_transform: [0] },
      {
        "model.layers.0.self_attn.q_proj.lora_A.weight": [2, h],
        "model.layers.0.self_attn.q_proj.lora_B.weight": [h, 2],
        "model.layers.0.mlp.up_proj.lora_A.weight": [2, h],
      },
    );
    await expect(loadLanguageModel(at, model.backend)).rejects.toThrow(/up_proj\.lora_A/);
  });

  it("settings that cannot be heeded are warnings; other kinds of adapters are errors", () => {
    const read = fromPeftConfig(
      { peft_type: "LORA", target_modules: "all-linear", lora_bias: true, loftq_config: {} },
      "llama",
      "x",
    );
    expect(read.warnings).toEqual(["x: lora_bias true is not heeded"]);
    expect(read.config).toMatchObject({ rank: 8, alpha: 8 });
    expect(() => fromPeftConfig({ peft_type: "IA3" }, "llama", "x")).toThrow(/IA3/);
    expect(fromPeftConfig({ peft_type: "LORA" }, "gpt2", "x").config.target).toEqual(["c_attn"]);
    expect(() => fromPeftConfig({ peft_type: "LORA" }, "phi3", "x")).toThrow(/no default/);
  });

  it("a base model that is not here is an error that says where it is looked for", async () => {
    const at = await written("lonely", { base_model_name_or_path: "./nowhere/model" }, {});
    await expect(loadLanguageModel(at, await openBackend())).rejects.toThrow(/base model .*nowhere/);
  });
});

describe("matching", async () => {
  const { architecture } = await loadLanguageModel(fixture("llama"), await openBackend());
  const { parameters } = architecture;
  const paths = (given: Given) =>
    adaptedModules(parameters, adapterSchema.parse(given), "x").map((m) =>
      m.path.replace("model.layers.", ""),
    );
  const all = architecture.layers * 7;

  it("all-linear is every matrix of the layers and not the head", () => {
    expect(paths({})).toHaveLength(all);
    expect(paths({}).join()).not.toContain("lm_head");
  });
  it("a list means ends of paths, a string a regex of the whole path", () => {
    expect(paths({ target: ["q_proj", "0.mlp.up_proj"] })).toContain("0.mlp.up_proj");
    expect(paths({ target: ["q_proj", "0.mlp.up_proj"] })).toHaveLength(architecture.layers + 1);
    expect(paths({ target: ".*\\.0\\.self_attn\\.(q|v)_proj" })).toEqual([
      "0.self_attn.q_proj",
      "0.self_attn.v_proj",
    ]);
    expect(paths({ target: "all-linear", exclude: ["down_proj"] })).toHaveLength(all - architecture.layers);
    expect(paths({ target: ["q_proj"], layers: [1] })).toEqual(["1.self_attn.q_proj"]);
  });
  it("rank and alpha by pattern, the first that fits; scales of worked number 6", () => {
    const [first, second] = adaptedModules(
      parameters,
      adapterSchema.parse({
        rank: 16,
        alpha: 32,
        rslora: true,
        target: ["q_proj"],
        rankPattern: { "0.self_attn.q_proj": 4, q_proj: 16 },
      }),
      "x",
    );
    expect([first.rank, first.scale, second.rank, second.scale]).toEqual([4, 16, 16, 8]);
    const [plain] = adaptedModules(parameters, adapterSchema.parse({ rank: 16, alpha: 32 }), "x");
    expect(plain.scale).toBe(2);
  });
  it.each([
    [{ target: ["q_prj"] }, /q_prj.*means no linear layer.*q_proj/],
    [{ target: ["embed_tokens"] }, /embed_tokens.*modulesToSave/],
    [{ target: "x.*" }, /changes no layer/],
    [{ target: "(" }, /no regular expression/],
    [{ layers: [99] }, /layers 99/],
  ] as const)("%j is an error", (given, message) => {
    expect(() => paths(given as Given)).toThrow(message);
  });
  it.each([
    [{ modulesToSave: ["nothing"] }, /modulesToSave nothing/],
    [{ modulesToSave: ["q_proj"] }, /target of the adapter and in modulesToSave/],
  ] as const)("%j does not plan", (given, message) => {
    expect(() => planAdapter(architecture, adapterSchema.parse(given), "x")).toThrow(message);
  });
});
