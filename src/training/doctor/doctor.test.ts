/** The doctor speaks where there is something, once, and not otherwise. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openBackend } from "../../engine/backends/open.ts";
import { newLanguageModel } from "../../models/language-model.ts";
import { dpo } from "../../objectives/dpo.ts";
import type { Evaluation } from "../evaluation.ts";
import { parseRecipe } from "../recipe.ts";
import { train } from "../train.ts";
import { displacement } from "./displacement.ts";
import { Doctor, examine } from "./doctor.ts";

test("displacement: share of records that fell, and the mean change", () => {
  expect(displacement([-1, -2, -3, -4], [-2, -1, -3.5, -4])).toEqual({ share: 0.5, change: -0.125 });
});

describe("likelihood displacement", () => {
  const evaluation = (step: number, loss: number, share?: number, change = 0): Evaluation => ({
    step,
    "eval/loss": loss,
    ...(share !== undefined && {
      "eval/displacement/chosen": share,
      "eval/displacement/chosen_change": change,
      "eval/displacement/rejected_change": change - 1,
    }),
  });
  const start = evaluation(0, 0.69);

  test("is named with numbers and remedies, once", () => {
    const doctor = new Doctor();
    const run = { steps: [], evaluations: [start, evaluation(50, 0.5, 0.9, -4)] };
    const [finding] = doctor.news(run);
    expect(finding.text).toMatch(/after 50 steps: 90 % of the held-out records, log-probability -4.00/);
    expect(finding.text).toMatch(/data check --ches.*rpoAlpha/);
    expect(doctor.news(run)).toEqual([]);
  });

  test.each([
    ["the loss rose", evaluation(50, 0.8, 0.9, -4)],
    ["most chosen answers became likelier", evaluation(50, 0.5, 0.4, -4)],
    ["the fall is too small to matter", evaluation(50, 0.5, 0.9, -0.01)],
    ["there are no chosen answers", evaluation(50, 0.5)],
  ])("is not named where %s", (_, last) => {
    expect(examine({ steps: [], evaluations: [start, last] })).toEqual([]);
  });

  test("without held-out data the last steps are judged against the reference", () => {
    const steps = Array.from({ length: 60 }, (_, i) => ({
      step: i + 1,
      loss: 0.7 - i / 100,
      "displacement/chosen": i < 30 ? 0.4 : 0.8,
      "displacement/chosen_change": -i / 10,
      "displacement/rejected_change": -i / 5,
    }));
    expect(examine({ steps: steps.slice(0, 30), evaluations: [] })).toEqual([]);
    expect(examine({ steps, evaluations: [] })[0].text).toMatch(/80 % of the records of the last 20 steps/);
  });
});

describe("in a run", () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "prefopt-"));
    process.env.PREFOPT_CACHE = join(folder, "cache");
  });
  afterAll(() => rm(folder, { recursive: true }));

  test("with answers that differ in one token displacement is seen, and stands in the report", async () => {
    // Ten tokens in common and one apart: what lowers the rejected answer lowers most of the chosen one.
    const shared = [7, 8, 9, 10, 11, 12, 13, 14, 15, 16];
    const records = Array.from({ length: 8 }, (_, i) => ({
      promptIds: [1, 2, i],
      chosenIds: [...shared, 20],
      rejectedIds: [...shared, 21],
    }));
    const model = newLanguageModel(
      {
        model_type: "llama",
        vocab_size: 30,
        hidden_size: 32,
        intermediate_size: 48,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        initializer_range: 0.2,
      },
      1,
      await openBackend(),
    );
    const recipe = parseRecipe(
      {
        objective: "dpo",
        model: "made here",
        data: { train: "given", eval: "given" },
        train: { steps: 30, batchSize: 8, learningRate: 3e-2, schedule: "constant", warmup: 0 },
        evaluate: { every: 30, metrics: ["loss"] },
      },
      "test",
    );
    const out = join(folder, "run");
    const terms = [{ objective: dpo.with({ beta: 0.5 }), weight: 1 }];
    const told: string[] = [];
    let evaluations = 0;
    for await (const event of train({ recipe, model, out, records, evalRecords: records, terms })) {
      if (event.type === "finding") told.push(event.finding.text);
      if (event.type === "evaluation") evaluations++;
    }
    expect(evaluations).toBe(2);
    expect(told).toHaveLength(1);
    expect(told[0]).toMatch(/less likely since the start/);
    expect(await readFile(join(out, "report.html"), "utf8")).toMatch(
      /What to look at[^]*less likely since the start/,
    );
    // Held-out records are those trained on and the reference is the start: both ways to measure agree at the same weights.
    const lines = (await readFile(join(out, "evaluations.jsonl"), "utf8")).trim().split("\n");
    const last = JSON.parse(lines[1]) as Record<string, number>;
    expect(last["eval/displacement/chosen"]).toBeGreaterThan(0.5);
  }, 60_000);
});
