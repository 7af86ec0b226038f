/** GGUF files hold the same models as the folders they are named after, and every architecture goes there and back. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { random } from "../../engine/random.ts";
import { RequestError } from "../../errors.ts";
import { readJson } from "../../formats/files.ts";
import { type GgufValue, string, u32 } from "../../formats/gguf-metadata.ts";
import { writeGguf } from "../../formats/gguf-write.ts";
import { openGguf } from "../../formats/gguf.ts";
import { openSafetensors } from "../../formats/safetensors.ts";
import { ropeFromConfig } from "../../nn/rotary.ts";
import { openModelSource } from "../model-source.ts";
import { type Config, ggufArchitectures, headCounts } from "./architectures.ts";
import { configToGguf } from "./config.ts";
import { llama3Divisors, llama3From } from "./rope.ts";
import { writeGgufModel } from "./save.ts";
import { groupedByHead, queryRows, toCheckpoint, toGguf } from "./transforms.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "prefopt-gguf-models-"));
});
afterAll(() => rm(folder, { recursive: true }));
const models = new URL("../../../test/fixtures/models/", import.meta.url).pathname;

async function checkpoint(name: string) {
  const file = await openSafetensors(`${models}${name}/model.safetensors`);
  const tensors = await Promise.all(
    [...file.tensors].map(async ([key, { shape }]) => ({
      name: key,
      shape,
      data: await file.readFloat32(key),
    })),
  );
  return { config: (await readJson(`${models}${name}/config.json`)) as Config, tensors };
}

/** Checks that a source has exactly these tensors, to the bit; norms of gemma are stored as w+1 and come back rounded. */
async function expectTensors(path: string, expected: Awaited<ReturnType<typeof checkpoint>>) {
  const weights = await (await openModelSource(path)).openWeights();
  expect([...weights.tensors.keys()].sort()).toEqual(expected.tensors.map((t) => t.name).sort());
  const rounds = String(expected.config.model_type).startsWith("gemma");
  for (const { name, shape, data } of expected.tensors) {
    expect(weights.tensors.get(name)?.shape, name).toEqual(shape);
    const read = await weights.readFloat32(name);
    const isNorm = rounds && name.endsWith("norm.weight");
    const furthest = data.reduce((most, w, i) => Math.max(most, Math.abs(w - read[i])), 0);
    expect(furthest, name).toBeLessThanOrEqual(isNorm ? 1.2e-7 : 0);
  }
}

/** Checks that two configurations mean the same model: sizes, flags, and the rotary tables they give. */
function expectSameModel(found: Config, expected: Config) {
  const notModel =
    /^(architectures|dtype|torch_dtype|transformers_version|use_cache|.*dropout|.*_pdrop|initializer_range|layer_types|rope_.*|pad_token_id|bos_token_id|eos_token_id|use_bidirectional_attention|reorder_and_upcast_attn|scale_attn.*|hidden_act.*|activation_function|max_window_layers|original_max_position_embeddings)$/;
  const { headDim } = headCounts(expected);
  for (const [key, value] of Object.entries(expected)) {
    if (notModel.test(key)) continue;
    const usual = key === "n_inner" ? 4 * Number(expected.n_embd) : key === "attention_bias" ? false : value;
    expect(found[key] ?? value, key).toEqual(value ?? usual);
  }
  expect(found.model_type).toBe(expected.model_type);
  expect(headCounts(found)).toEqual(headCounts(expected));
  if (expected.model_type === "gpt2" || expected.model_type === "gpt_neox") return;
  const positions = [0, 1, 17, 60, 127];
  const tables = (config: Config, length: number) =>
    ropeFromConfig(config, {
      headDim,
      maxPositionEmbeddings: Number(config.max_position_embeddings),
    }).tables(positions, length);
  for (const length of [20, 128]) {
    const [a, b] = [tables(found, length), tables(expected, length)];
    expect(a.cos).toHaveLength(b.cos.length);
    a.cos.forEach((x, i) => expect(Math.abs(x - b.cos[i])).toBeLessThan(1e-5));
    a.sin.forEach((x, i) => expect(Math.abs(x - b.sin[i])).toBeLessThan(1e-5));
  }
}

describe("files made by other programs", () => {
  test.each(["llama3", "qwen3", "gemma", "gpt2", "gpt_neox"])(
    "%s.gguf is the model of its folder",
    async (name) => {
      const expected = await checkpoint(name);
      const path = `${models}gguf/${name}.gguf`;
      await expectTensors(path, expected);
      expectSameModel((await openModelSource(path)).config, expected.config);
    },
  );
});

const variants: Record<string, (config: Config) => Config> = {
  "linear scaling": (c) => ({ ...c, rope_scaling: { rope_type: "linear", factor: 3 } }),
  YaRN: (c) => ({
    ...c,
    rope_scaling: { rope_type: "yarn", factor: 4, original_max_position_embeddings: 32 },
  }),
  "YaRN with its own factor and betas": (c) => ({
    ...c,
    rope_scaling: {
      rope_type: "yarn",
      factor: 4,
      original_max_position_embeddings: 32,
      attention_factor: 1.25,
      beta_fast: 16,
      beta_slow: 2,
    },
  }),
  "llama3 scaling": (c) => ({
    ...c,
    rope_scaling: {
      rope_type: "llama3",
      factor: 8,
      low_freq_factor: 1,
      high_freq_factor: 4,
      original_max_position_embeddings: 64,
    },
  }),
  LongRoPE: (c) => ({
    ...c,
    original_max_position_embeddings: 64,
    rope_scaling: {
      rope_type: "longrope",
      short_factor: [1, 1.1, 1.2, 1.5],
      long_factor: [1, 2, 3, 4],
    },
  }),
};

describe("there and back", () => {
  test.each(["llama", "llama3", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "phi3", "gpt2", "gpt_neox"])(
    "%s as float32",
    async (name) => {
      const model = await checkpoint(name);
      const path = join(folder, `${name}.gguf`);
      await writeGgufModel(path, model);
      await expectTensors(path, model);
      expectSameModel((await openModelSource(path)).config, model.config);
    },
  );
  test.each(["llama3", "qwen3", "gemma", "gpt2", "gpt_neox"])(
    "%s is written with the metadata and tensors that another program writes",
    async (name) => {
      const path = join(folder, `same-${name}.gguf`);
      await writeGgufModel(path, await checkpoint(name));
      const [own, other] = [await openGguf(path), await openGguf(`${models}gguf/${name}.gguf`)];
      for (const [key, value] of other.metadata)
        if (key !== "general.name") expect(own.metadata.get(key)).toEqual(value);
      expect([...own.tensors.keys()].sort()).toEqual([...other.tensors.keys()].sort());
      for (const key of other.tensors.keys()) {
        const [a, b] = [await own.readFloat32(key), await other.readFloat32(key)];
        // Divisors of frequencies are made in double precision here and in single there.
        a.forEach((x, i) =>
          expect(Math.abs(x - b[i])).toBeLessThanOrEqual(key.startsWith("rope") ? 1e-6 : 0),
        );
      }
    },
  );
  test.each(Object.entries(variants))("llama with %s", async (name, changed) => {
    const model = await checkpoint("llama");
    const config = changed(model.config);
    const path = join(folder, `${name}.gguf`);
    await writeGgufModel(path, { ...model, config });
    expectSameModel((await openModelSource(path)).config, config);
  });
  test("a model without the prefix of gpt2's names is the same", async () => {
    const model = await checkpoint("gpt2");
    const path = join(folder, "bare.gguf");
    const bare = model.tensors.map((t) => ({ ...t, name: t.name.replace("transformer.", "") }));
    await writeGgufModel(path, { ...model, tensors: bare });
    await expectTensors(path, model);
  });
  test.each([["F16", 2 ** -11] as const, ["BF16", 2 ** -8] as const, ["Q8_0", 1 / 127] as const])(
    "as %s: matrices rounded, vectors exact",
    async (dtype, error) => {
      const model = await checkpoint("llama");
      const path = join(folder, `${dtype}.gguf`);
      await writeGgufModel(path, { ...model, dtype });
      const weights = await (await openModelSource(path)).openWeights();
      for (const { name, shape, data } of model.tensors) {
        const read = await weights.readFloat32(name);
        const largest = data.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
        const furthest = data.reduce((most, w, i) => Math.max(most, Math.abs(w - read[i])), 0);
        expect(furthest, name).toBeLessThanOrEqual(shape.length < 2 ? 0 : largest * error);
        if (shape.length > 1) expect(furthest).toBeGreaterThan(0);
      }
      expect((await openGguf(path)).metadata.get("general.quantization_version")?.value).toBe(
        dtype === "Q8_0" ? 2 : undefined,
      );
    },
  );
  test("what readers of the file will not heed is said", async () => {
    const warnings = async (name: string, change: Config = {}) => {
      const model = await checkpoint(name);
      return writeGgufModel(join(folder, "warned.gguf"), {
        ...model,
        config: { ...model.config, ...change },
      });
    };
    expect(await warnings("llama")).toEqual([]);
    expect(await warnings("mistral")).toEqual([expect.stringContaining("sliding window")]);
    expect(await warnings("gemma2")).toEqual([expect.stringContaining("query_pre_attn_scalar is 20")]);
    expect(await warnings("phi3")).toEqual([expect.stringContaining("sliding window")]);
  });
});

describe("what GGUF cannot say is refused", () => {
  test.each([
    ["llama", { rope_scaling: { rope_type: "dynamic", factor: 2 } }, 'no form for rotary scaling "dynamic"'],
    ["llama", { hidden_act: "relu" }, 'its activation is "relu"'],
    ["llama", { model_type: "bert" }, 'architecture "bert"'],
    ["gemma2", { final_logit_softcapping: null }, "a file without it means 30"],
    ["gpt2", { scale_attn_weights: false }, "scale_attn_weights"],
    [
      "qwen2",
      { use_sliding_window: true, sliding_window: 8, max_window_layers: 1, layer_types: undefined },
      "only some",
    ],
    ["llama", { rope_scaling: { rope_type: "yarn", factor: 2, truncate: false } }, "truncate"],
  ])("%s with %j", async (name, change, reason) => {
    const { config } = await checkpoint(name);
    const refused = () => configToGguf({ ...config, ...change }, "model.gguf");
    expect(refused).toThrow(RequestError);
    expect(refused).toThrow(reason);
  });
});

describe("files that are no model for us", () => {
  const minimal = (extra: Record<string, GgufValue>): [string, GgufValue][] => [
    ["general.architecture", string("llama")],
    ...Object.entries(extra),
  ];
  test.each([
    [
      "an unknown architecture",
      { "general.architecture": string("mamba") },
      'architecture "mamba" is not supported',
    ],
    ["an adapter", { "general.type": string("adapter") }, "it holds no model but: adapter"],
    ["one part of several", { "split.count": u32(3) }, "one of 3 parts"],
    ["a vocabulary alone", {}, 'no tensor "token_embd.weight"'],
  ])("%s", async (_, extra, reason) => {
    const path = join(folder, "other.gguf");
    const sizes = [
      "context_length",
      "embedding_length",
      "block_count",
      "feed_forward_length",
      "attention.head_count",
    ];
    const all = new Map([
      ...sizes.map((key): [string, GgufValue] => [`llama.${key}`, u32(4)]),
      ["llama.attention.layer_norm_rms_epsilon", { type: "f32", value: 1e-5 }] as [string, GgufValue],
      ...minimal(extra as Record<string, GgufValue>),
    ]);
    await writeGguf(path, all, []);
    const error = await openModelSource(path).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(RequestError);
    expect(String(error)).toContain(reason);
    expect(String(error)).toContain("other.gguf");
  });
  test("a key that is missing is named", async () => {
    const path = join(folder, "keyless.gguf");
    await writeGguf(path, new Map(minimal({})), []);
    await expect(openModelSource(path)).rejects.toThrow('keyless.gguf: metadata key "llama.context_length"');
  });
});

describe("transforms", () => {
  const order = (heads: number, headDim: number) => {
    const rows = Float32Array.from({ length: heads * headDim }, (_, i) => i);
    const out = new Float32Array(rows.length);
    toGguf(queryRows, rows, out, [rows.length], { heads, kvHeads: heads, headDim });
    return [...out];
  };
  test("rotary pairs are put side by side", () => {
    expect(order(1, 8)).toEqual([0, 4, 1, 5, 2, 6, 3, 7]);
    expect(order(2, 4)).toEqual([0, 2, 1, 3, 4, 6, 5, 7]);
  });
  test("there and back is the identity", () => {
    const rng = random(1, "rows");
    const heads = { heads: 6, kvHeads: 2, headDim: 10 };
    for (const [transform, rows] of [
      [queryRows, 60],
      [queryRows, 20],
      [groupedByHead, 180],
    ] as const) {
      const data = Float32Array.from({ length: rows * 7 }, () => rng.normal());
      const [there, back] = [new Float32Array(data.length), new Float32Array(data.length)];
      toGguf(transform, data, there, [rows, 7], heads);
      toCheckpoint(transform, there, back, [rows, 7], heads);
      expect(there).not.toEqual(data);
      expect(back).toEqual(data);
    }
  });
});

describe("Llama-3's rotary scaling out of its divisors", () => {
  const released = {
    factor: 32,
    low_freq_factor: 1,
    high_freq_factor: 4,
    original_max_position_embeddings: 8192,
  };
  test("worked divisors", () => {
    const divisors = llama3Divisors(released, 5e5, 64);
    const frequency = (i: number) => 5e5 ** (-i / 32);
    expect(divisors[14]).toBe(1);
    expect(frequency(15) / divisors[15]).toBeCloseTo(1.290547928e-3, 11);
    expect(frequency(17) / divisors[17]).toBeCloseTo(9.708287803e-5, 12);
    expect(divisors[31]).toBe(32);
  });
  test.each([
    ["of Llama 3.2", released],
    ["of Llama 3.1", { ...released, factor: 8 }],
    [
      "of a made-up model",
      { factor: 5, low_freq_factor: 1, high_freq_factor: 7, original_max_position_embeddings: 3000 },
    ],
  ])("parameters %s", (_, parameters) => {
    const divisors = Float32Array.from(llama3Divisors(parameters, 5e5, 128));
    expect(llama3From(divisors, 5e5, 128)).toEqual({ rope_type: "llama3", ...parameters });
  });
  test("divisors without that pattern are kept as they are", async () => {
    const model = await checkpoint("llama3");
    const path = join(folder, "pattern.gguf");
    await writeGgufModel(path, model);
    const file = await openGguf(path);
    const divisors = Float32Array.of(1, 1.5, 1.2, 2, 7, 3, 8, 8);
    await writeGguf(path, file.metadata, [
      { name: "rope_freqs.weight", shape: [8], type: "F32", data: () => divisors },
      { name: "token_embd.weight", shape: [96, 32], type: "F32", data: () => new Float32Array(96 * 32) },
    ]);
    const { config } = await openModelSource(path);
    const rope = ropeFromConfig(config, { headDim: 16, maxPositionEmbeddings: 64 });
    const angle = (length: number) => {
      const { sin } = rope.tables([1e-3], length);
      return [...sin].map((s, i) => (1e-3 * 5000 ** (-i / 8)) / s);
    };
    for (const length of [10, 1000])
      angle(length).forEach((d, i) => expect(Math.abs(d / divisors[i] - 1)).toBeLessThan(1e-5));
  });
});

test("every architecture is named once, and its keys are read by their GGUF names", () => {
  for (const [type, { links, keys }] of Object.entries(ggufArchitectures)) {
    for (const side of ["checkpoint", "gguf"] as const)
      expect(new Set(links.map((l) => l[side])).size, type).toBe(links.length);
    expect(new Set(keys.map((k) => k.gguf)).size).toBe(keys.length);
  }
});
