/**
 * Device webgpu against the CPU, where there is an adapter (a software one will do): log-probabilities, losses and every gradient of each
 * kind of model, optimizers, sampling, and whole runs, during which weights, gradients and moments stay on the device.
 */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Backend } from "../src/engine/backends/backend.ts";
import { openBackend } from "../src/engine/backends/open.ts";
import { gradients } from "../src/engine/gradient.ts";
import { Graph } from "../src/engine/graph.ts";
import { add, mul } from "../src/engine/ops/elementwise.ts";
import { sum } from "../src/engine/ops/reduce.ts";
import { compile } from "../src/engine/program.ts";
import { random } from "../src/engine/random.ts";
import { type Tensor, dim } from "../src/engine/tensor.ts";
import { openSafetensors } from "../src/formats/safetensors.ts";
import { generate } from "../src/generation/generate.ts";
import { run as runRecipe } from "../src/methods/run.ts";
import { declareModel, modelArrays } from "../src/models/declare.ts";
import { fingerprint, loadLanguageModel } from "../src/models/language-model.ts";
import { ParameterArray } from "../src/nn/parameters.ts";
import { pack } from "../src/scoring/packing.ts";
import type { Placement } from "../src/scoring/segments.ts";
import { batchArrays, scoreText } from "../src/scoring/text-graph.ts";
import { jsonLines, prefopt } from "./command.ts";
import { noAdapter } from "./webgpu.ts";

const models = new URL("fixtures/models/", import.meta.url).pathname;
const missing = noAdapter();

/** Relative to the L2 norm of the CPU's values. */
function difference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  expect(b).toHaveLength(a.length);
  let [apart, norm] = [0, 0];
  for (let i = 0; i < a.length; i++) [apart, norm] = [apart + (a[i] - b[i]) ** 2, norm + a[i] ** 2];
  return Math.sqrt(apart) / (Math.sqrt(norm) + 1e-6);
}

describe.skipIf(missing !== undefined)("device webgpu", () => {
  let [cpu, gpu]: Backend[] = [];
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "prefopt-"));
    [cpu, gpu] = [await openBackend(), await openBackend({ device: "webgpu" })];
  });
  afterAll(() => rm(folder, { recursive: true }));

  const roles = ["chosen", "rejected"].map((name) => ({ name, many: false }));

  /** Log-probabilities of two packed pairs, a loss that weighs each token differently, and its gradients. */
  async function scoreAndDifferentiate(name: string, way: Placement, backend: Backend) {
    const model = await loadLanguageModel(models + name, backend);
    const rng = random(1, "pairs");
    const ids = (n: number) => Array.from({ length: n }, () => Math.floor(90 * rng.uniform()));
    const row = (prompt: number, ...lengths: number[]) => ({
      trees: [
        { prompt: ids(prompt), branches: roles.map((r, k) => [{ role: r.name, ids: ids(lengths[k]) }]) },
      ],
    });
    const batch = pack([row(5, 6, 4), row(3, 9, 7)], roles, model.architecture.rope, {
      slots: 2,
      placements: [way],
    });
    const graph = new Graph();
    const declared = declareModel(graph, model);
    const scores = scoreText(graph, model.architecture, declared.weights, batch.shape, roles);
    const pulls: Record<string, Float32Array> = {};
    const parts = scores.roles.map(({ logps }, k) => {
      pulls[`pull/${k}`] = Float32Array.from({ length: logps.elements }, (_, i) => Math.sin(i + k));
      return sum(mul(logps, graph.input(`pull/${k}`, "float", logps.shape)));
    });
    const loss = add(parts[0], parts[1]);
    const outputs: Record<string, Tensor> = { loss };
    scores.roles.forEach(({ logps }, k) => (outputs[`logps/${k}`] = logps));
    gradients(loss, declared.trained).forEach((g, i) => g && (outputs[`d/${declared.trained[i].id}`] = g));
    const found = ParameterArray.allocate(backend, model.weights.layout);
    const program = await compile(backend, graph, outputs);
    const given = { ...modelArrays(model), ...batchArrays(batch, roles), ...pulls };
    const bound = program.bind(given, found.named("d/"));
    await bound.run();
    program.release();
    const numbers = (output: string) => Array.from(bound.outputs[output] as Float32Array);
    return {
      loss: numbers("loss")[0],
      logps: [...numbers("logps/0"), ...numbers("logps/1")],
      gradients: found.forReading(),
    };
  }

  const names = [
    "llama",
    "llama3",
    "mistral",
    "qwen2",
    "qwen3",
    "gemma",
    "gemma2",
    "phi3",
    "gpt2",
    "gpt_neox",
  ];
  test.each(names.flatMap((name) => (["split", "joined"] as const).map((way) => [name, way] as const)))(
    "%s: log-probabilities, loss and every gradient, completions %s",
    async (name, way) => {
      const [a, b] = [
        await scoreAndDifferentiate(name, way, cpu),
        await scoreAndDifferentiate(name, way, gpu),
      ];
      a.logps.forEach((v, i) => expect(Math.abs(v - b.logps[i])).toBeLessThan(2e-5));
      expect(Math.abs(a.loss - b.loss)).toBeLessThan(1e-4);
      for (const { name: p } of a.gradients.layout.parameters)
        expect(difference(a.gradients.view(p), b.gradients.view(p)), p).toBeLessThan(2e-5);
    },
  );

  test.each(["llama", "mistral", "gemma2", "gpt2"])("%s: greedy samples through the cache", async (name) => {
    const prompts = [
      [1, 5, 9, 12],
      [3, 4, 5, 6, 7, 8, 9],
    ];
    const sample = async (backend: Backend) =>
      generate(await loadLanguageModel(models + name, backend), prompts, {
        temperature: 0,
        maxTokens: 12,
        ignoreEos: true,
        n: 2,
      });
    const [a, b] = [await sample(cpu), await sample(gpu)];
    expect(b.flat().map((s) => s.ids)).toEqual(a.flat().map((s) => s.ids));
    expect(
      difference(
        a.flat().flatMap((s) => s.logps),
        b.flat().flatMap((s) => s.logps),
      ),
    ).toBeLessThan(1e-5);
  });

  test("updates an array in place, and the host reads and writes it when it wants to", async () => {
    const n = dim("n", 5);
    const graph = new Graph();
    const program = await compile(gpu, graph, { y: add(mul(graph.input("x", "float", [n]), 2), 1) });
    const memory = new Float32Array(gpu.allocate(40));
    const [first, second] = [memory.subarray(0, 5), memory.subarray(5, 10)];
    second.fill(3);
    const bound = [first, second].map((x) => program.bind({ x }, { y: x }));
    for (let i = 0; i < 3; i++) for (const b of bound) await b.run();
    expect([...memory]).toEqual([0, 0, 0, 0, 0, 3, 3, 3, 3, 3]);
    gpu.resident?.beforeRead(memory);
    expect([...memory]).toEqual([7, 7, 7, 7, 7, 31, 31, 31, 31, 31]);
    gpu.resident?.beforeWrite(memory);
    first.fill(1);
    await bound[0].run();
    gpu.resident?.beforeRead(memory);
    expect([...memory]).toEqual([3, 3, 3, 3, 3, 31, 31, 31, 31, 31]);
    gpu.free(memory.buffer as ArrayBuffer);
  });

  interface Golden {
    pairs: object[];
  }
  /** Three steps on the pairs of `dpo_step`: metrics of each, the trained weights, and what travelled after each step. */
  async function threeSteps(device: string, recipe: { train?: object; [key: string]: unknown }) {
    const { pairs } = JSON.parse(await readFile(`${models}dpo_step/golden.json`, "utf8")) as Golden;
    process.env.PREFOPT_CACHE = join(folder, "cache");
    const out = await mkdtemp(join(folder, "run-"));
    const metrics: Readonly<Record<string, number>>[] = [];
    const travelled: object[] = [];
    const { train, ...keys } = recipe;
    const run = runRecipe(
      {
        model: `${models}dpo_step/policy`,
        reference: `${models}dpo_step/reference`,
        device: device as "cpu",
        train: { steps: 3, batchSize: 3, microBatch: 1, learningRate: 1e-3, warmup: 0, ...train },
        ...keys,
      },
      { records: pairs, evalRecords: pairs, out },
    );
    for await (const event of run) {
      if (event.type !== "step") continue;
      metrics.push(event.metrics);
      travelled.push({ ...gpu.resident?.travelled });
    }
    const file = recipe.adapter ? "adapter_model.safetensors" : "model.safetensors";
    const saved = await openSafetensors(join(out, "model", file));
    const weights: number[] = [];
    for (const name of saved.tensors.keys()) weights.push(...(await saved.readFloat32(name)));
    const evaluations = await readFile(join(out, "evaluations.jsonl"), "utf8").catch(() => "");
    return { metrics, weights, travelled, evaluations: jsonLines(evaluations) };
  }

  test.each([
    ["adamw", { objective: "dpo", train: { weightDecay: 0.1 } }],
    ["adafactor", { objective: "dpo", train: { optimizer: "adafactor", beta1: 0.9 } }],
    ["lion", { objective: "dpo", train: { optimizer: "lion", learningRate: 1e-4 } }],
    ["sgd", { objective: "dpo", train: { optimizer: "sgd", momentum: 0.9 } }],
    ["an average of the weights", { objective: "dpo", train: { ema: { every: 1, use: ["model"] } } }],
    ["an adapter", { objective: "dpo", adapter: { rank: 2, dora: true } }],
    ["a loss of the whole batch", { objective: "aot", train: { microBatch: 2 } }],
    ["divergences over the vocabulary", { objective: "tdpo" }],
    ["one piece", { objective: "dpo", train: { microBatch: 3 } }],
  ])("three steps with %s end as on the CPU", async (_name, recipe) => {
    const [a, b] = [await threeSteps("cpu", recipe), await threeSteps("webgpu", recipe)];
    expect(a.metrics).toHaveLength(3);
    a.metrics.forEach((m, i) => {
      for (const key of ["loss", "grad_norm", "logps/chosen", "logps/rejected"])
        expect(Math.abs(b.metrics[i][key] / m[key] - 1), `${key} of step ${i + 1}`).toBeLessThan(1e-5);
    });
    expect(difference(a.weights, b.weights)).toBeLessThan(1e-5);
  });

  test("between steps nothing of weights, gradients and moments travels", async () => {
    const { travelled } = await threeSteps("webgpu", { objective: "dpo" });
    expect(travelled[1]).toEqual(travelled[0]);
    expect(travelled[2]).toEqual(travelled[0]);
  });

  test("held-out losses as on the CPU", async () => {
    const recipe = { objective: "dpo", evaluate: { every: 2, metrics: ["loss"] } };
    const [a, b] = [await threeSteps("cpu", recipe), await threeSteps("webgpu", recipe)];
    expect(a.evaluations).toHaveLength(3);
    a.evaluations.forEach((e, i) =>
      expect(Math.abs(Number(b.evaluations[i]["eval/loss"]) / Number(e["eval/loss"]) - 1)).toBeLessThan(1e-5),
    );
  });

  test("a model that only moved to the device keeps its fingerprint", async () => {
    const [a, b] = await Promise.all([cpu, gpu].map((on) => loadLanguageModel(`${models}llama`, on)));
    await generate(b, [[1, 2, 3]], { maxTokens: 2 });
    expect(fingerprint(b)).toBe(fingerprint(a));
  });

  test("a model on one device is not trained on another", async () => {
    const model = await loadLanguageModel(`${models}dpo_step/policy`, cpu);
    const recipe = { objective: "sft", model: "given", device: "webgpu" } as const;
    const run = runRecipe(recipe, {
      model,
      records: [{ promptIds: [1], completionIds: [2] }],
      out: join(folder, "apart"),
    });
    await expect(run).rejects.toThrow("the model that was passed is on cpu");
  });

  test("prefopt score --device webgpu", async () => {
    const input = JSON.stringify({ promptIds: [1, 5, 9], completionIds: [3, 4, 5, 6] });
    const [a, b] = await Promise.all(
      ["cpu", "webgpu"].map((device) =>
        prefopt(["score", `${models}llama`, "--device", device], { input: `${input}\n` }),
      ),
    );
    expect([a.stderr, b.stderr, a.status, b.status]).toEqual(["", "", 0, 0]);
    const logps = ({ stdout }: typeof a) => jsonLines(stdout)[0].logps as number[];
    expect(logps(a)).toHaveLength(4);
    expect(difference(logps(a), logps(b))).toBeLessThan(1e-5);
  });
});

test.skipIf(missing === undefined)("without an adapter, one sentence says so", async () => {
  const { status, stderr } = await prefopt(["score", `${models}llama`, "--device", "webgpu"], { input: "" });
  expect(status).toBe(2);
  expect(stderr).toContain("device: webgpu cannot be used on this machine");
  expect(stderr.trimEnd().split("\n").at(-1)).toContain("Use device: cpu");
});

test("devices that the installed runtime lacks, and names that are none, are refused", async () => {
  const { status, stderr } = await prefopt(["score", `${models}llama`, "--device", "webgp"], { input: "" });
  expect([status, stderr]).toEqual([2, expect.stringContaining("Did you mean webgpu?")]);
  const absent = process.platform === "win32" ? "coreml" : "dml";
  await expect(openBackend({ device: absent })).rejects.toThrow(
    `device: ${absent} is not in this ONNX Runtime: it has cpu`,
  );
});
