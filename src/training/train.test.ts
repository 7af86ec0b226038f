/** What a run promises whatever its data: pieces that add up, guilty records by name, counted skips, nothing loaded that is not asked for. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openBackend } from "../engine/backends/open.ts";
import { softplus, sub } from "../engine/ops/elementwise.ts";
import { random } from "../engine/random.ts";
import { openSafetensors } from "../formats/safetensors.ts";
import { loadLanguageModel, newLanguageModel } from "../models/language-model.ts";
import { dpo } from "../objectives/dpo.ts";
import type { Objective } from "../objectives/definition.ts";
import { objectiveOf } from "../objectives/objective.ts";
import { reward } from "../objectives/reward.ts";
import { batchIndices, heldOutBatches } from "./order.ts";
import { parseRecipe } from "./recipe.ts";
import { type TrainEvent, train } from "./train.ts";

const config = {
  model_type: "llama",
  vocab_size: 60,
  hidden_size: 32,
  intermediate_size: 48,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  max_position_embeddings: 64,
  initializer_range: 0.2,
};
const rng = random(9, "pairs");
const ids = (n: number) => Array.from({ length: n }, () => rng.integer(60));
const pairs = Array.from({ length: 8 }, () => ({
  promptIds: ids(1 + rng.integer(9)),
  chosenIds: ids(1 + rng.integer(8)),
  rejectedIds: ids(1 + rng.integer(8)),
}));

let folder: string;
let runs = 0;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "prefopt-"));
  process.env.PREFOPT_CACHE = join(folder, "cache");
});
afterAll(() => rm(folder, { recursive: true }));

interface Ran {
  steps: Record<string, number>[];
  weights: Float32Array;
  events: TrainEvent[];
}

/** Trains a fresh model, the same one each time, for two steps over eight pairs. */
async function run(
  settings: object,
  records: readonly object[] = pairs,
  objective: Objective = dpo.with({}),
  more: object = {},
): Promise<Ran> {
  const model = newLanguageModel(config, 1, await openBackend());
  const recipe = parseRecipe(
    {
      objective: "dpo",
      model: "made here",
      data: { train: "given", invalid: "skip" },
      train: { steps: 2, batchSize: 8, learningRate: 1e-2, schedule: "constant", warmup: 0, ...settings },
      ...more,
    },
    "test",
  );
  const events: TrainEvent[] = [];
  for await (const event of train({
    recipe,
    model,
    out: join(folder, `run-${runs++}`),
    terms: [{ objective, weight: 1 }],
    records,
  }))
    events.push(event);
  return {
    events,
    weights: model.weights.flat,
    steps: events.flatMap((e) => (e.type === "step" ? [{ ...e.metrics }] : [])),
  };
}

const distance = (a: Float32Array, b: Float32Array) =>
  Math.sqrt(a.reduce((s, v, i) => s + (v - b[i]) ** 2, 0));

describe("a batch means what it says", () => {
  test.each([
    ["dpo", dpo.with({})],
    ["an objective that pools over the batch", dpo.with({ rpoAlpha: 1 })],
    ["an objective that sorts the batch", dpo.with({ lossType: ["aot", "kto-pair"] })],
  ] as const)("%s: 1×8, 3+3+2 and 8×1 make the same update", async (_, objective) => {
    const start = newLanguageModel(config, 1, await openBackend()).weights.flat;
    const whole = await run({ microBatch: 8 }, pairs, objective);
    const moved = distance(whole.weights, start);
    for (const microBatch of [1, 3]) {
      const cut = await run({ microBatch }, pairs, objective);
      // Adam divides small gradients by themselves: the order of a sum shows. A piece left out would be 1e-1.
      expect(distance(cut.weights, whole.weights) / moved).toBeLessThan(5e-4);
      cut.steps.forEach((m, i) => expect(Math.abs(m.loss / whole.steps[i].loss - 1)).toBeLessThan(1e-4));
      expect(Math.abs(cut.steps[0].grad_norm / whole.steps[0].grad_norm - 1)).toBeLessThan(1e-5);
    }
  });
  test("a coupled objective that happens to look at one pair at a time makes the update of the other kind", async () => {
    // aot of equal pairs: every difference of ranks is the difference of one pair
    const equal = Array.from({ length: 4 }, () => pairs[0]);
    const [a, b] = [
      await run({ steps: 1 }, equal, dpo.with({ lossType: "aot" })),
      await run({ steps: 1 }, equal),
    ];
    expect(a.steps[0].loss).toBeCloseTo(b.steps[0].loss, 6);
    expect(a.steps[0].grad_norm / b.steps[0].grad_norm).toBeCloseTo(1, 5);
  });
  test("a coupled objective with one record alone is refused before it starts", async () => {
    await expect(run({ batchSize: 7 }, pairs, dpo.with({ lossType: "aot" }))).rejects.toThrow(
      "8 records in batches of 7 leave one alone",
    );
  });
  test("a weight of 0 takes a pair's pull away, the mean still divides by all", async () => {
    const weighted = pairs.map((p, i) => ({ ...p, weight: i < 4 ? 1 : 0 }));
    const [a, b] = [
      await run({ steps: 1 }, weighted),
      await run({ steps: 1, batchSize: 4 }, pairs.slice(0, 4)),
    ];
    expect(a.steps[0].loss).toBeCloseTo(b.steps[0].loss / 2, 5);
    expect(a.steps[0].grad_norm).toBeCloseTo(b.steps[0].grad_norm / 2, 4);
  });
  test("soft labels of ½ pull nowhere at the start", async () => {
    const { steps } = await run(
      { steps: 1 },
      pairs.map((p) => ({ ...p, chosenProb: 0.5 })),
    );
    expect(steps[0].loss).toBeCloseTo(Math.LN2, 5);
    expect(steps[0].grad_norm).toBeLessThan(1e-4);
  });
});

describe("what goes wrong is named", () => {
  const broken = pairs.map((p, i) => (i === 2 ? { ...p, weight: 1e300 } : p));
  test("a loss that is not finite stops the run and names its record", async () => {
    await expect(run({}, broken)).rejects.toThrow("step 1: the loss is not finite for records:3");
  });
  test("or skips the step, if the recipe says so, leaving the weights as they were", async () => {
    const { events, weights } = await run({ nonFinite: "skip" }, broken);
    expect(events.filter((e) => e.type === "warning")).toHaveLength(2);
    expect(weights).toEqual(newLanguageModel(config, 1, await openBackend()).weights.flat);
  });
  test("skipped records are counted and listed", async () => {
    const { events } = await run({}, [
      ...pairs,
      { promptIds: [1], chosenIds: [2], rejectedIds: [2] },
      { promptIds: [1], chosenIds: [99], rejectedIds: [2] },
    ]);
    const prepared = events.find((e) => e.type === "prepared");
    expect(
      prepared?.type === "prepared" && prepared.prepared.skipped.map((s) => [s.source.line, s.why]),
    ).toEqual([
      [9, "it equals the chosen one, so nothing is preferred"],
      [10, "token id 99 does not exist: the model's vocabulary has 60 tokens"],
    ]);
  });
});

test("an objective that touches no reference runs without one", async () => {
  const own = objectiveOf(({ chosen, rejected }) => softplus(sub(rejected.policy.logp, chosen.policy.logp)));
  const { events } = await run({}, pairs, own, { reference: "none" });
  expect(events.some((e) => e.type === "phase" && e.text.includes("reference"))).toBe(false);
  await expect(run({}, pairs, dpo.with({}), { reference: "none" })).rejects.toThrow("needs a reference");
});

test("reference scores are taken from the cache the second time", async () => {
  const fresh = pairs.slice(0, 5);
  const phases = async () =>
    (await run({}, fresh)).events.flatMap((e) => (e.type === "phase" ? [e.text] : []));
  expect(await phases()).not.toContain("reference scores taken from the cache");
  expect(await phases()).toContain("reference scores taken from the cache");
});

test("every record comes once an epoch, in an order that the seed and the epoch name", () => {
  const epoch = (first: number, seed = 1) =>
    [1, 2, 3].flatMap((k) => batchIndices(first + k, 8, 3, seed, true));
  expect([...epoch(0)].sort()).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
  expect(batchIndices(3, 8, 3, 1, true)).toHaveLength(2);
  expect(epoch(0)).toEqual(epoch(0));
  expect(epoch(0)).not.toEqual(epoch(3));
  expect(epoch(0)).not.toEqual(epoch(0, 2));
  expect(batchIndices(2, 8, 3, 1, false)).toEqual([3, 4, 5]);
});

test("held-out batches: a rest of one joins the others where the objective needs two", () => {
  expect(heldOutBatches(17, 8, 2)).toEqual([
    [0, 8],
    [8, 17],
  ]);
  expect(heldOutBatches(17, 8, 1)).toHaveLength(3);
  expect(heldOutBatches(18, 8, 2).at(-1)).toEqual([16, 18]);
  expect(heldOutBatches(5, 8, 2)).toEqual([[0, 5]]);
  expect(heldOutBatches(0, 8, 2)).toEqual([]);
});

test("the model of a run can be read back, with its metrics", async () => {
  const before = runs;
  await run({});
  const lines = (await readFile(join(folder, `run-${before}`, "metrics.jsonl"), "utf8"))
    .trim()
    .split("\n")
    .map((l) => JSON.parse(l) as object);
  expect(lines).toHaveLength(2);
  expect(Object.keys(lines[0])).toEqual([
    "step",
    "loss",
    "rewards/chosen",
    "rewards/rejected",
    "rewards/margins",
    "rewards/accuracies",
    "logps/chosen",
    "logps/rejected",
    "displacement/chosen",
    "displacement/chosen_change",
    "displacement/rejected_change",
    "grad_norm",
    "lr",
    "tokens_per_second",
    "layout/padding",
    "layout/shared_prompts",
  ]);
});

test("a reward model's head is saved beside it, as sequence classifiers name it; other heads are not", async () => {
  const { events } = await run({}, pairs, reward.with());
  const end = events.at(-1);
  const out = end?.type === "end" ? end.result.run : "";
  const file = await openSafetensors(join(out, "model", "reward_head.safetensors"));
  expect([...file.tensors].map(([name, { shape }]) => [name, shape])).toEqual([["score.weight", [1, 32]]]);
  const weight = await file.readFloat32("score.weight");
  expect(Math.hypot(...weight)).toBeGreaterThan(0);
  await loadLanguageModel(join(out, "model"), await openBackend()); // the model is one by itself
});
