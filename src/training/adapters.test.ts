/** Runs that train an adapter: the model beneath stays as it was and is the reference, and what is saved is the adapter alone. */
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openBackend } from "../engine/backends/open.ts";
import { random } from "../engine/random.ts";
import { openSafetensors } from "../formats/safetensors.ts";
import { architectures } from "../models/architectures.ts";
import { mergedCopy } from "../models/adapter/merge.ts";
import { loadLanguageModel } from "../models/language-model.ts";
import { dpo } from "../objectives/dpo.ts";
import type { Objective } from "../objectives/definition.ts";
import { ofsDpo } from "../objectives/ofs-dpo.ts";
import { tdpo } from "../objectives/tdpo.ts";
import { xpo } from "../objectives/xpo.ts";
import { TextScorer } from "../scoring/text-scorer.ts";
import { follow, referencesOf } from "./references.ts";
import { type Given, prepare } from "./prepare.ts";
import { parseRecipe } from "./recipe.ts";
import { Interrupted, train } from "./train.ts";

const fixture = (name: string) => new URL(`../../test/fixtures/models/${name}`, import.meta.url).pathname;
const rng = random(11, "pairs");
const ids = (n: number) => Array.from({ length: n }, () => rng.integer(96));
const pairs = Array.from({ length: 8 }, () => ({
  promptIds: ids(2 + rng.integer(8)),
  chosenIds: ids(3 + rng.integer(8)),
  rejectedIds: ids(3 + rng.integer(8)),
}));

let folder: string;
let runs = 0;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "prefopt-"));
  process.env.PREFOPT_CACHE = join(folder, "cache");
});
afterAll(() => rm(folder, { recursive: true }));

interface Settings {
  readonly adapter?: object;
  /** All weights train. */
  readonly full?: boolean;
  readonly train?: object;
  readonly objective?: Objective;
  readonly more?: object;
  readonly out?: string;
  readonly stopAfter?: number;
  readonly resume?: boolean;
}

/** Three steps over the same eight pairs. */
async function run(name: string, settings: Settings = {}) {
  const { objective = dpo.with({}), stopAfter, resume } = settings;
  const backend = await openBackend();
  const model = await loadLanguageModel(fixture(name), backend);
  const start = model.weights.flat.slice();
  const recipe = parseRecipe(
    {
      objective: "dpo",
      model: fixture(name),
      adapter: settings.full ? undefined : (settings.adapter ?? { rank: 4 }),
      data: { train: "given" },
      train: {
        ...{ steps: 3, batchSize: 8, learningRate: 1e-2, schedule: "constant", warmup: 0 },
        ...settings.train,
      },
      ...settings.more,
    },
    "test",
  );
  const out = settings.out ?? join(folder, `run-${runs++}`);
  const abort = new AbortController();
  const steps: Record<string, number>[] = [];
  const given = { recipe, model, out, terms: [{ objective, weight: 1 }], records: pairs, resume };
  try {
    for await (const event of train({ ...given, signal: abort.signal })) {
      if (event.type !== "step") continue;
      steps.push({ ...event.metrics });
      if (event.step === stopAfter) abort.abort();
    }
  } catch (error) {
    if (!(error instanceof Interrupted)) throw error;
    return { steps, out, start, model, adapter: new Float32Array() };
  }
  const saved = await loadLanguageModel(join(out, "model"), backend);
  return { steps, out, start, model, adapter: saved.adapter?.weights.flat ?? new Float32Array(), saved };
}

const distance = (a: Float32Array, b: Float32Array) =>
  Math.sqrt(a.reduce((s, v, i) => s + (v - b[i]) ** 2, 0));
const length = (a: Float32Array) => distance(a, new Float32Array(a.length));

test.each(Object.keys(architectures))(
  "%s: the loss begins at log 2 and falls; the model beneath is untouched",
  async (name) => {
    const { steps, model, start } = await run(name);
    expect(steps[0].loss).toBeCloseTo(Math.log(2), 6);
    expect(steps[2].loss).toBeLessThan(steps[0].loss);
    expect(model.weights.flat).toEqual(start);
  },
);

describe("how a batch is cut", () => {
  test.each([
    ["LoRA", { rank: 4 }],
    ["DoRA with biases", { rank: 2, dora: true, bias: "all" }],
  ] as const)("%s: 8×1 makes the update of 1×8", async (_, adapter) => {
    const whole = await run("qwen2", { adapter });
    const cut = await run("qwen2", { adapter, train: { microBatch: 1 } });
    expect(distance(whole.adapter, cut.adapter) / length(whole.adapter)).toBeLessThan(1e-4);
    expect(cut.steps[0].grad_norm / whole.steps[0].grad_norm).toBeCloseTo(1, 4);
  });
});

test("gradients are those of the merged weights: dB = s (dW) Aᵀ", async () => {
  // One step of plain SGD with an adapter and one with all weights: B moves by s·(movement of W)·Aᵀ, as B is 0 and A does not move yet.
  const settings = { train: { steps: 1, optimizer: "sgd", learningRate: 1, maxGradNorm: 0 } };
  const full = await run("llama", { ...settings, full: true });
  const own = await run("llama", settings);
  const name = "model.layers.0.self_attn.q_proj";
  const before = await loadLanguageModel(fixture("llama"), full.model.backend);
  const moved = full.model.weights
    .view(`${name}.weight`)
    .map((v, i) => v - before.weights.view(`${name}.weight`)[i]);
  const weights = own.saved?.adapter?.weights;
  if (!weights) throw new Error("no adapter was saved");
  const [a, b] = [weights.view(`${name}.lora_A.weight`), weights.view(`${name}.lora_B.weight`)];
  const width = before.architecture.hiddenSize;
  const scale = 32 / 4;
  const expected = b.map((_, i) => {
    const [o, r] = [Math.floor(i / 4), i % 4];
    let sum = 0;
    for (let c = 0; c < width; c++) sum += moved[o * width + c] * a[r * width + c];
    return scale * sum;
  });
  expect(length(b)).toBeGreaterThan(1e-6);
  expect(distance(b, expected) / length(b)).toBeLessThan(1e-3);
});

describe.each(["bfloat16", "int8", "int4"] as const)("a base held in %s", (base) => {
  test("trains its adapter; the reference is what the base was rounded to", async () => {
    const recipe = parseRecipe(
      {
        objective: "dpo",
        model: fixture("qwen2"),
        adapter: { rank: 4, base },
        data: { train: "given" },
        train: { steps: 3, batchSize: 8, learningRate: 1e-2, schedule: "constant", warmup: 0 },
      },
      "test",
    );
    const out = join(folder, `run-${runs++}`);
    const losses: number[] = [];
    const given = { recipe, out, terms: [{ objective: dpo.with({}), weight: 1 }], records: pairs };
    for await (const event of train(given)) if (event.type === "step") losses.push(event.metrics.loss);
    expect(losses[0]).toBeCloseTo(Math.log(2), 5);
    expect(losses[2]).toBeLessThan(losses[0]);
    // On the base in full the adapter scores nearly alike; bounds are for these random weights.
    const backend = await openBackend();
    const [own, whole] = await Promise.all(
      [base, undefined].map((pack) => loadLanguageModel(join(out, "model"), backend, { pack })),
    );
    expect(own.packed?.size).toBeGreaterThan(0);
    expect(own.adapter?.weights.flat).toEqual(whole.adapter?.weights.flat);
    const scores = await Promise.all(
      [own, whole].map(async (m) => {
        const trees = pairs.map((p) => ({ prompt: p.promptIds, completions: [p.chosenIds] }));
        return (await new TextScorer(m).score(trees)).flatMap(([s]) => [...s]);
      }),
    );
    const mean = scores[0].reduce((sum, v, i) => sum + Math.abs(v - scores[1][i]), 0) / scores[0].length;
    expect(mean).toBeGreaterThan(0);
    expect(mean).toBeLessThan({ bfloat16: 0.01, int8: 0.1, int4: 1 }[base]);
  });
});

describe("what is kept", () => {
  test("a checkpoint holds the adapter and its moments, not the model", async () => {
    const { out, adapter } = await run("llama", { more: { run: { checkpointEvery: 2 } } });
    const [checkpoint] = await readdir(join(out, "checkpoints"));
    const { tensors } = await openSafetensors(join(out, "checkpoints", checkpoint, "state.safetensors"));
    for (const { shape } of tensors.values()) expect(shape).toEqual([adapter.length]);
    expect((await readdir(join(out, "model"))).sort()).toEqual([
      "adapter_config.json",
      "adapter_model.safetensors",
    ]);
  });

  test.each([
    ["DPO", dpo.with({})],
    [
      "a reference that follows",
      dpo.with({ syncRefModel: true, refModelSyncSteps: 1, refModelMixupAlpha: 0.5 }),
    ],
    ["a second, slow adapter", ofsDpo.with({})],
    ["divergences over the vocabulary", tdpo.with({})],
  ])("%s: interrupted and resumed, it ends with the same bytes", async (_, objective) => {
    const whole = await run("llama", { objective });
    expect(length(whole.adapter)).toBeGreaterThan(0);
    const out = join(folder, `resumed-${runs++}`);
    await run("llama", { objective, out, stopAfter: 1 });
    const resumed = await run("llama", { objective, out, resume: true });
    expect(resumed.adapter).toEqual(whole.adapter);
    expect(resumed.model.weights.flat).toEqual(resumed.start);
  });

  test("a run goes on from the adapter of another, which is its reference then", async () => {
    const first = await run("llama");
    const second = await run("llama", { adapter: { from: join(first.out, "model") } });
    expect(second.steps[0].loss).toBeCloseTo(Math.log(2), 6);
    expect(distance(second.adapter, first.adapter)).toBeGreaterThan(0.01);
  });
});

describe("references", () => {
  async function references(adapter: object, objective: Objective = dpo.with({})) {
    const backend = await openBackend();
    const model = await loadLanguageModel(fixture("llama"), backend);
    const recipe = parseRecipe(
      { objective: "dpo", model: fixture("llama"), adapter, data: { train: "given" } },
      "test",
    );
    const given: Given = { backend, model, records: pairs, terms: [{ objective, weight: 1 }] };
    const prepared = await prepare(recipe, given);
    return { prepared, found: await referencesOf(prepared), model };
  }
  test("beneath a fresh adapter the reference is the same memory", async () => {
    const { found, model } = await references({ rank: 4 }, tdpo.with({}));
    expect(found.live?.weights).toBe(model.weights);
    expect(found.live?.adapter).toBeUndefined();
    found.release();
    expect(model.weights.flat[0]).not.toBeNaN();
  });
  test("one that follows is mixed of weights, not of the adapter's matrices", async () => {
    const { found, prepared } = await references(
      { rank: 4 },
      dpo.with({ syncRefModel: true, refModelSyncSteps: 1, refModelMixupAlpha: 0.5 }),
    );
    const { live } = found;
    const { adapter } = prepared.model;
    if (!live || !adapter) throw new Error("no reference");
    adapter.weights.flat.forEach((_, i, flat) => (flat[i] += 0.01 * ((i % 7) - 3)));
    const [before, policy] = [live.weights.flat.slice(), mergedCopy(prepared.model).weights.flat];
    follow(live, prepared.model, 0.25);
    const expected = before.map((v, i) => 0.25 * policy[i] + 0.75 * v);
    expect(distance(live.weights.flat, expected)).toBeLessThan(1e-5);
    expect(distance(policy, before)).toBeGreaterThan(0.01);
    found.release();
  });
});

describe("errors", () => {
  test.each([
    [{ rnak: 4 }, /rnak.*adapter\.rank/],
    [{ dropout: 0.1 }, /adapter\.dropout/],
    [{ from: "x", rank: 2 }, /adapter\.rank is set, and adapter\.from too/],
    [{ rank: 0 }, /adapter\.rank/],
  ])("%j", (adapter, message) => {
    expect(() => parseRecipe({ objective: "dpo", model: "m", adapter, data: { train: "x" } }, "r")).toThrow(
      message,
    );
  });
  test("an adapter beside an adapter", async () => {
    const { out } = await run("llama");
    const model = await loadLanguageModel(join(out, "model"), await openBackend());
    const recipe = parseRecipe({ objective: "dpo", model: "m", adapter: {}, data: { train: "x" } }, "r");
    const terms = [{ objective: xpo.with({}), weight: 1 }];
    await expect(prepare(recipe, { model, records: pairs, terms })).rejects.toThrow(/has an adapter already/);
  });
});
