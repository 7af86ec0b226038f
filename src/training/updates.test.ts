/** Updates within runs: every optimizer goes on after an interruption with the same bits, skipped steps leave no trace, averages are used where the recipe says. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openBackend } from "../engine/backends/open.ts";
import { random } from "../engine/random.ts";
import { openSafetensors } from "../formats/safetensors.ts";
import { newLanguageModel } from "../models/language-model.ts";
import { dpo } from "../objectives/dpo.ts";
import { optimizerNames } from "../optim/table.ts";
import { parseRecipe } from "./recipe.ts";
import { Interrupted, type TrainEvent, train } from "./train.ts";

const config = {
  model_type: "llama",
  vocab_size: 60,
  hidden_size: 32,
  intermediate_size: 48,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  max_position_embeddings: 64,
  initializer_range: 0.2,
};
const rng = random(9, "pairs");
const ids = (n: number) => Array.from({ length: n }, () => rng.integer(60));
const pairs = Array.from({ length: 12 }, () => ({
  promptIds: ids(5),
  chosenIds: ids(6),
  rejectedIds: ids(7),
}));

let folder: string;
let runs = 0;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "prefopt-"));
  process.env.PREFOPT_CACHE = join(folder, "cache");
});
afterAll(() => rm(folder, { recursive: true }));

const recipeOf = (settings: object, more: object = {}) =>
  parseRecipe(
    {
      objective: "dpo",
      model: "made here",
      data: { train: "given", eval: "given", shuffle: false },
      train: { steps: 6, batchSize: 4, learningRate: 3e-3, schedule: "linear", warmup: 0, ...settings },
      ...more,
    },
    "test",
  );

interface Ran {
  readonly weights: Float32Array;
  readonly events: readonly TrainEvent[];
  readonly out: string;
}

/** Trains a fresh model, the same one each time; `until` interrupts after that step. */
async function run(
  recipe: ReturnType<typeof recipeOf>,
  given: { records?: readonly object[]; out?: string; resume?: boolean; until?: number } = {},
): Promise<Ran> {
  const { records = pairs, out = join(folder, `run-${runs++}`), resume, until } = given;
  const model = newLanguageModel(config, 1, await openBackend());
  const abort = new AbortController();
  const events: TrainEvent[] = [];
  try {
    for await (const event of train({
      recipe,
      model,
      out,
      resume,
      terms: [{ objective: dpo.with({}), weight: 1 }],
      records,
      evalRecords: pairs,
      signal: abort.signal,
    })) {
      events.push(event);
      if (event.type === "step" && event.step === until) abort.abort();
    }
  } catch (error) {
    if (!(error instanceof Interrupted)) throw error;
  }
  return { weights: model.weights.flat, events, out };
}

const saved = async ({ out }: Ran) => {
  const file = await openSafetensors(join(out, "model", "model.safetensors"));
  return file.readFloat32("model.layers.0.mlp.up_proj.weight");
};
const metrics = (events: readonly TrainEvent[]) =>
  events.flatMap((e) => (e.type === "step" ? [e.metrics] : []));
const bytes = (x: Float32Array) => Buffer.from(x.buffer, x.byteOffset, x.byteLength);

/** Optimizers with options that use everything they can remember. */
const settings: Readonly<Record<string, object>> = {
  adamw: { weightDecay: 0.1 },
  sgd: { momentum: 0.9, nesterov: true },
  rmsprop: { centered: true, momentum: 0.5, alpha: 0.9, epsilon: 1e-3 },
  adafactor: { beta1: 0.9, scaleParameter: true },
  lion: { weightDecay: 0.1, learningRate: 1e-3 },
};

describe.each(optimizerNames)("%s", (optimizer) => {
  const own = { optimizer, ...settings[optimizer] };
  test("a run that is interrupted and resumed ends with the same bits, average and groups included", async () => {
    const groups = [{ match: "model.embed_tokens.*", learningRate: 1e-3 }];
    const recipe = recipeOf({ ...own, groups, ema: { decay: 0.5, use: ["model"] } });
    const whole = await run(recipe);
    const cut = await run(recipe, { until: 2 });
    const resumed = await run(recipe, { out: cut.out, resume: true });
    expect(metrics(resumed.events)).toHaveLength(4);
    expect(bytes(resumed.weights).equals(bytes(whole.weights))).toBe(true);
    const files = await Promise.all(
      [whole, resumed].map(({ out }) => readFile(join(out, "model", "model.safetensors"))),
    );
    expect(files[0].equals(files[1])).toBe(true);
  });
  test("a step that is skipped leaves no trace in weights and moments", async () => {
    // Of one length, so that both runs are laid out in the same shapes: other padding would round otherwise.
    const even = pairs.map((p) => ({
      promptIds: p.promptIds.slice(0, 1),
      chosenIds: p.chosenIds.slice(0, 1),
      rejectedIds: p.rejectedIds.slice(0, 1),
    }));
    const broken = even.map((p, i) => (i === 5 ? { ...p, weight: 1e300 } : p));
    const without = [...even.slice(0, 4), ...even.slice(8)];
    const constant = { ...own, schedule: "constant", nonFinite: "skip" };
    const skipped = await run(recipeOf({ ...constant, steps: 3 }), { records: broken });
    expect(skipped.events.filter((e) => e.type === "warning")).toHaveLength(1);
    const other = await run(recipeOf({ ...constant, steps: 2 }), { records: without });
    expect(bytes(skipped.weights).equals(bytes(other.weights))).toBe(true);
  });
});

describe("the moving average", () => {
  const of = (ema: object | undefined) =>
    recipeOf({ ema, steps: 3 }, { evaluate: { every: 1, metrics: ["loss"] } });
  const losses = ({ events }: Ran) =>
    events.flatMap((e) => (e.type === "evaluation" ? [e.evaluation["eval/loss"]] : []));

  test("stands for the weights in evaluations and in the model, or in one of them, and never changes training", async () => {
    const [plain, both, model, evaluation] = [
      await run(of(undefined)),
      await run(of({ decay: 0.9 })),
      await run(of({ decay: 0.9, use: ["model"] })),
      await run(of({ decay: 0.9, use: ["evaluation"] })),
    ];
    for (const other of [both, model, evaluation])
      expect(metrics(other.events).map((m) => m.loss)).toEqual(metrics(plain.events).map((m) => m.loss));
    expect(losses(model)).toEqual(losses(plain));
    expect(losses(both)).toEqual(losses(evaluation));
    // The first average is the weights themselves, within rounding; later ones lag behind.
    expect(losses(both)[1]).toBeCloseTo(losses(plain)[1], 5);
    expect(Math.abs(losses(both)[3] - losses(plain)[3])).toBeGreaterThan(1e-4);
    expect(bytes(await saved(evaluation)).equals(bytes(await saved(plain)))).toBe(true);
    expect(bytes(await saved(both)).equals(bytes(await saved(model)))).toBe(true);
    expect(bytes(await saved(both)).equals(bytes(await saved(plain)))).toBe(false);
    // What the caller holds is what was saved.
    expect(bytes(both.weights).equals(bytes(model.weights))).toBe(true);
  });
  test("that has not begun stands for nothing", async () => {
    const [plain, late] = [await run(of(undefined)), await run(of({ every: 4 }))];
    expect(losses(late)).toEqual(losses(plain));
    expect(bytes(late.weights).equals(bytes(plain.weights))).toBe(true);
  });
});

describe("groups and rates", () => {
  test("a group with rate 0 stays, the others move", async () => {
    const start = newLanguageModel(config, 1, await openBackend());
    const groups = [{ match: "model.layers.0.*", learningRate: 0 }];
    const { weights } = await run(recipeOf({ groups, steps: 2 }));
    for (const { name, offset, elements } of start.weights.layout.parameters) {
      const after = weights.subarray(offset, offset + elements);
      const stays = bytes(after).equals(bytes(start.weights.view(name)));
      expect(stays, name).toBe(name.startsWith("model.layers.0."));
    }
  });
  test("a pattern that fits no parameter stops the run before it scores anything", async () => {
    const groups = [{ match: "model.layer.*", learningRate: 1 }];
    await expect(run(recipeOf({ groups }))).rejects.toThrow('no parameter is matched by "model.layer.*"');
  });
  test("Adafactor's relative steps set the rate, and the recipe then may not", async () => {
    const relative = { optimizer: "adafactor", relativeStep: true, scaleParameter: true };
    const bare = { learningRate: undefined, schedule: undefined, warmup: undefined };
    const recipe = recipeOf({ ...relative, ...bare, steps: 2 });
    expect(recipe.train).toMatchObject({ learningRate: null, schedule: "constant", warmup: 0 });
    expect(parseRecipe(recipe, "again").train).toEqual(recipe.train);
    const { events } = await run(recipe);
    expect(metrics(events).map((m) => m.lr)).toEqual([0.01, 0.01]);
    expect(() => recipeOf({ ...relative, ...bare, learningRate: 1e-3 })).toThrow(
      "train.learningRate is set, and relativeStep too",
    );
    expect(() => recipeOf({ ...relative, ...bare, groups: [{ match: "*", learningRate: 1 }] })).toThrow(
      "train.groups[0].learningRate is set",
    );
    expect(() => recipeOf({ learningRate: null })).toThrow("this optimizer does not set the rate itself");
  });
  test("options of another optimizer are refused", () => {
    expect(() => recipeOf({ optimizer: "lion", momentum: 0.9 })).toThrow(
      "test, train.momentum: optimizer lion does not take momentum",
    );
    expect(() => recipeOf({ optimizer: "sdg" })).toThrow("Did you mean sgd?");
    expect(() => recipeOf({ groups: [{ match: "*" }] })).toThrow(
      "a group sets learningRate, weightDecay or both",
    );
  });
});
