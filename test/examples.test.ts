/** The programs under examples/ run as they are and do what they say. */
import { execFile } from "node:child_process";
import { mkdtemp, readFile, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { root } from "./command.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "prefopt-"));
});
afterAll(() => rm(folder, { recursive: true }));

async function run(example: string, ...args: string[]): Promise<string> {
  const env = { ...process.env, PREFOPT_CACHE: join(folder, "cache") };
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ["scripts/run.js", `examples/${example}.ts`, ...args],
    { cwd: root, env },
  );
  return stdout;
}

test("train-dpo learns the twelve pairs and writes three continuations", async () => {
  const output = await run("train-dpo", join(folder, "own"));
  const losses = [...output.matchAll(/step \d+ of 8: loss ([\d.]+)/g)].map((m) => Number(m[1]));
  expect(losses).toHaveLength(8);
  expect(losses[0]).toBeCloseTo(Math.log(2), 2);
  expect(losses[7]).toBeLessThan(0.5);
  expect(output.match(/^The story/gm)).toHaveLength(3);
  expect(await readdir(join(folder, "own", "model"))).toEqual(
    expect.arrayContaining(["config.json", "model.safetensors", "tokenizer.json"]),
  );
});

test("own-objective trains with a plain function and measures", async () => {
  const output = await run("own-objective", join(folder, "hinge"), "10");
  expect(output).toMatch(/reward -?[\d.]+ → -?[\d.]+, KL -?[\d.]+ nats/);
  const losses = [...output.matchAll(/step \d+: loss ([\d.]+)/g)].map((m) => Number(m[1]));
  expect(losses.at(-1)).toBeLessThan(1);
});

test("register-objective: one more objective is one definition of under 20 lines, then known by name", async () => {
  const source = await readFile(join(root, "examples/register-objective.ts"), "utf8");
  const [, definition] = source.match(/^(registerObjective\([^]*?^\);)$/m) ?? [];
  expect(definition.split("\n").length).toBeLessThan(20);
  const output = await run("register-objective", join(folder, "squared"));
  expect(Number(output.match(/^loss ([\d.]+)/)?.[1])).toBeCloseTo(0.49, 12);
  const losses = [...output.matchAll(/step \d+: loss ([\d.]+)/g)].map((m) => Number(m[1]));
  expect(losses).toHaveLength(5);
  expect(losses[0]).toBeCloseTo(1, 2); // no margin at the start
  expect(losses[4]).toBeLessThan(losses[0]);
});
