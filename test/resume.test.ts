/** A run killed at any instant and resumed ends with the bytes of one that was not; an interrupted one saves first. */
import { createHash } from "node:crypto";
import { mkdtemp, readFile, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { prefopt } from "./command.ts";

let folder: string;
let env: Record<string, string>;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "prefopt-"));
  env = { PREFOPT_CACHE: join(folder, "cache") };
});
afterAll(() => rm(folder, { recursive: true }));

/** The recipe of `npm start`, shorter, looking at few prompts while it trains. */
const args = (out: string, steps: number) => [
  "train",
  "recipes/sentiment-dpo.yaml",
  ...["--set", `train.steps=${steps}`, "--set", "run.checkpointEvery=7", "--set", "evaluate.every=20"],
  ...["--set", "evaluate.prompts=8", "--set", "evaluate.maxTokens=8", "--out", out],
];
const sha = async (path: string) =>
  createHash("sha256")
    .update(await readFile(path))
    .digest("hex");
const weights = (out: string) => sha(join(out, "model", "model.safetensors"));

test("killed at random moments, resumed, and the same in the end", async () => {
  const [whole, killed] = [join(folder, "whole"), join(folder, "killed")];
  const uninterrupted = await prefopt(args(whole, 24), { env });
  expect(uninterrupted.stderr).toBe("");
  expect(uninterrupted.status).toBe(0);

  // Three kills: while loading, in the middle of steps, and around a checkpoint; the moments differ from run to run.
  for (const [attempt, mark] of ["scoring", "step", "step"].entries()) {
    const delay = Math.random() * 2500;
    let set = false;
    const { signal } = await prefopt([...args(killed, 24), "--resume"], {
      env,
      watch: (child, text) => {
        if (set || !text.includes(mark)) return;
        set = true;
        setTimeout(() => child.kill("SIGKILL"), delay);
      },
    });
    console.log(`kill ${attempt + 1}: ${Math.round(delay)} ms after "${mark}", ended by ${signal}`);
  }
  const resumed = await prefopt([...args(killed, 24), "--resume"], { env });
  expect(resumed.status, resumed.stderr).toBe(0);
  expect(await weights(killed)).toBe(await weights(whole));

  const steps = async (out: string) =>
    (await readFile(join(out, "metrics.jsonl"), "utf8"))
      .trim()
      .split("\n")
      .map((l) => JSON.parse(l) as { step: number; loss: number });
  const [a, b] = [await steps(whole), await steps(killed)];
  expect(b.map((m) => m.step)).toEqual(Array.from({ length: 24 }, (_, i) => i + 1));
  expect(b.map((m) => m.loss)).toEqual(a.map((m) => m.loss));

  const again = await prefopt([...args(killed, 24), "--resume"], { env });
  expect(again.status).toBe(0);
  expect(again.stdout).toContain("complete already");
}, 300_000);

test("Ctrl-C saves, says how to go on and exits with 130; a second run may not overwrite it", async () => {
  const out = join(folder, "interrupted");
  let sent = false;
  const interrupted = await prefopt(args(out, 24), {
    env,
    watch: (child, text) => {
      if (sent || !/step [2-9]|step 1\//.test(text)) return;
      sent = true;
      child.kill("SIGINT");
    },
  });
  expect(interrupted.status).toBe(130);
  expect(interrupted.stderr).toMatch(/^prefopt: interrupted after step \d+; go on with --resume --out .*\n$/);
  expect((await readdir(join(out, "checkpoints"))).length).toBeGreaterThan(0);
  expect(await readdir(out)).not.toContain("model");
  expect(await readdir(out)).not.toContain("result.json");

  const fresh = await prefopt(args(out, 24), { env });
  expect(fresh.status).toBe(2);
  expect(fresh.stderr).toContain("the folder holds a run");

  const different = await prefopt([...args(out, 25), "--resume"], { env });
  expect(different.status).toBe(2);
  expect(different.stderr).toContain("train.steps");

  const resumed = await prefopt([...args(out, 24), "--resume"], { env });
  expect(resumed.status, resumed.stderr).toBe(0);
  expect(await weights(out)).toBe(await weights(join(folder, "whole")));
}, 180_000);
