/** `prefopt plan`: it says what a run then does, and what it holds; budgets that cannot be kept are errors before the first step. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { prefopt, root } from "./command.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "prefopt-plan-"));
  const lines = (await readFile(join(root, "assets/preferences/train.jsonl"), "utf8")).split("\n");
  await writeFile(join(folder, "train.jsonl"), lines.slice(0, 320).join("\n"));
  await writeFile(join(folder, "eval.jsonl"), lines.slice(320, 352).join("\n"));
});
afterAll(() => rm(folder, { recursive: true }));

const recipe = "recipes/sentiment-dpo.yaml";
const settings = (more: readonly string[]) =>
  [
    ...["train.steps=3", "evaluate.metrics=[loss]"],
    ...["train", "eval"].map((part) => `data.${part}=${join(folder, `${part}.jsonl`)}`),
    ...more,
  ].flatMap((s) => ["--set", s]);

interface Plan {
  records: number;
  steps: number;
  microBatch: number;
  recompute: boolean;
  peakBytes: number;
  parameters: { all: number; trained: number };
  seconds: { steps: number };
}

async function plan(...more: string[]): Promise<Plan> {
  const { status, stdout, stderr } = await prefopt(["plan", recipe, "--json", ...settings(more)]);
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  return JSON.parse(stdout) as Plan;
}

describe("a plan", () => {
  test.each([
    ["all weights", []],
    ["an adapter", ["adapter={ rank: 8 }"]],
    ["with recomputation", ["train.recompute=true"]],
  ])("%s: the run holds what was said, within 20 %%", async (name, more) => {
    const said = await plan(...more);
    const out = join(folder, name);
    const run = await prefopt(["train", recipe, "--json", "--out", out, ...settings(more)]);
    expect(run.status).toBe(0);
    const result = JSON.parse(run.stdout.trim().split("\n").at(-1) ?? "") as Record<string, number>;
    expect(result.steps).toBe(said.steps);
    expect(result.peakBytes / result.predictedBytes).toBeGreaterThan(0.8);
    expect(result.peakBytes / result.predictedBytes).toBeLessThan(1.2);
    expect(said.peakBytes / result.predictedBytes).toBeGreaterThan(0.8);
    expect(said.peakBytes / result.predictedBytes).toBeLessThan(1.2);
  });

  test("names records, steps and what trains", async () => {
    const [full, adapter] = [await plan(), await plan("adapter={ rank: 8 }")];
    expect(full).toMatchObject({ steps: 3, recompute: false });
    expect(full.records).toBe(320);
    expect(full.parameters.trained).toBe(full.parameters.all);
    expect(adapter.parameters.trained).toBeLessThan(adapter.parameters.all / 10);
    expect(full.seconds.steps).toBeGreaterThan(0);
  });

  test("keeps a budget by recomputation, then by smaller pieces", async () => {
    const free = await plan();
    const tight = await plan(`memory=${Math.ceil((free.peakBytes * 0.85) / 1e6)}MB`);
    expect(tight.recompute).toBe(true);
    expect(tight.peakBytes).toBeLessThan(free.peakBytes * 0.86);
  });

  test.each([
    ["memory=50MB", /memory: 50MB is not enough.*needs about .* GB.*adapter/s],
    ["memory=lots", /memory: lots is no amount of memory.*2GB/s],
  ])("%s is an error", async (setting, message) => {
    const { status, stderr } = await prefopt(["plan", recipe, ...settings([setting])]);
    expect(status).toBe(2);
    expect(stderr).toMatch(message);
  });
});
