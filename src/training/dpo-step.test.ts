/** A DPO run of three AdamW steps equals PyTorch's: losses, gradient norms, checksums of the trained weights. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openSafetensors } from "../formats/safetensors.ts";
import { dpo } from "../objectives/dpo.ts";
import { parseRecipe } from "./recipe.ts";
import { type TrainEvent, train } from "./train.ts";

const fixture = new URL("../../test/fixtures/models/dpo_step/", import.meta.url).pathname;
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "prefopt-"));
  process.env.PREFOPT_CACHE = join(folder, "cache");
});
afterAll(() => rm(folder, { recursive: true }));

interface Golden {
  pairs: object[];
  float64: {
    steps: {
      loss: number;
      gradientNorm: number;
      parametersAfter?: Record<string, { sum: number; sumOfSquares: number }>;
    }[];
  };
}

test.each([3, 1, 2])("equals PyTorch over three steps, %i records a piece", async (microBatch) => {
  const golden = JSON.parse(await readFile(join(fixture, "golden.json"), "utf8")) as Golden;
  const out = join(folder, `run-${microBatch}`);
  const recipe = parseRecipe(
    {
      objective: "dpo",
      model: join(fixture, "policy"),
      reference: join(fixture, "reference"),
      data: { train: "given" },
      train: {
        steps: 3,
        batchSize: 3,
        microBatch,
        learningRate: 1e-3,
        schedule: "constant",
        warmup: 0,
        weightDecay: 0.1,
      },
    },
    "test",
  );
  const metrics: Record<string, number>[] = [];
  for await (const event of train({
    recipe,
    out,
    terms: [{ objective: dpo.with({ beta: 0.1 }), weight: 1 }],
    records: golden.pairs,
  })) {
    if (event.type === "step") metrics.push({ ...(event as Extract<TrainEvent, { type: "step" }>).metrics });
  }
  golden.float64.steps.slice(0, 3).forEach((step, i) => {
    expect(Math.abs(metrics[i].loss / step.loss - 1)).toBeLessThan(1e-5);
    expect(Math.abs(metrics[i].grad_norm / step.gradientNorm - 1)).toBeLessThan(1e-5);
  });
  const saved = await openSafetensors(join(out, "model", "model.safetensors"));
  const expected = Object.entries(golden.float64.steps[2].parametersAfter ?? {});
  expect(expected.length).toBeGreaterThan(10);
  for (const [name, { sum, sumOfSquares }] of expected) {
    const values = await saved.readFloat32(name);
    let [s, q] = [0, 0];
    for (const v of values) [s, q] = [s + v, q + v * v];
    expect(Math.abs(q / sumOfSquares - 1), name).toBeLessThan(1e-5);
    expect(Math.abs(s - sum), name).toBeLessThan(1e-5 * Math.max(1, Math.sqrt(values.length * sumOfSquares)));
  }
});
