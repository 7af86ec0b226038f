/** `prefopt bench` on a tiny model: every benchmark runs, prints what it is said to, and says on what it ran. */
import { expect, test } from "vitest";
import { prefopt } from "./command.ts";

const tiny = ["--hidden", "32", "--layers", "2", "--heads", "2", "--vocabulary", "64", "--repeats", "3"];

/** The last line of stdout. */
async function measured(...args: string[]): Promise<Record<string, unknown>> {
  const result = await prefopt(["bench", ...args, "--json"]);
  expect(result.status, result.stderr).toBe(0);
  const json = JSON.parse(result.stdout) as Record<string, unknown>;
  expect(Object.keys(json.machine as object)).toEqual([
    "cpu",
    "processors",
    "threads",
    "avx512",
    "memoryGb",
    "os",
  ]);
  expect(json.versions).toMatchObject({ node: process.versions.node });
  expect(json.peakRssMb).toBeGreaterThan(20);
  expect(String(json.peakRssIs)).toMatch(/VmHWM|maxrss/);
  return json;
}

interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}
const ordered = ({ min, median, max }: Spread) => 0 < min && min <= median && median <= max;

test("step: rates, their quotient, tokens a second, spread", async () => {
  const json = await measured("step", ...tiny, "--rows", "2", "--time", "16");
  const n = (key: string) => Number(json[key]);
  expect(Math.abs(n("fraction") / (n("stepGflops") / n("gemmGflops")) - 1)).toBeLessThan(0.01);
  const spread = json.spread as Record<string, Spread>;
  for (const name of ["stepMs", "gemmGflops", "fraction"]) expect(ordered(spread[name]), name).toBe(true);
  // 2 rows of 16 tokens: tokens a second are 32 over the median step.
  expect(Math.abs(n("tokensPerSecond") / (32_000 / spread.stepMs.median) - 1)).toBeLessThan(0.01);
  // 6·(embedding apart: head 64·32, and two layers of 4·32² + 3·32·88 matrices and 2·32 norms, and the last norm)·32 + 12·2·2·16²·32
  const parameters = 64 * 32 + 2 * (4 * 32 ** 2 + 3 * 32 * 88 + 2 * 32) + 32;
  const flops = 6 * parameters * 32 + 12 * 2 * 2 * 16 ** 2 * 32;
  expect(Math.abs(n("stepGflops") / (flops / spread.stepMs.median / 1e6) - 1)).toBeLessThan(0.01);
  expect(json.shape).toMatchObject({ hidden: 32, inner: 88, rows: 2, time: 16 });
});

test("generate: prompts and steps, for each number of sequences", async () => {
  const json = await measured("generate", ...tiny, "--batch", "1,3", "--prompt", "5", "--tokens", "4");
  const decoding = json.decoding as { sequences: number; stepMs: Spread; promptTokensPerSecond: Spread }[];
  expect(decoding.map((d) => d.sequences)).toEqual([1, 3]);
  for (const d of decoding) expect(ordered(d.stepMs) && ordered(d.promptTokensPerSecond)).toBe(true);
});

test("optimizer: every one of the table, the norm, or one alone", async () => {
  const json = await measured("optimizer", ...tiny);
  const found = json.nanosecondsPerParameter as Record<string, Spread>;
  expect(Object.keys(found)).toEqual([...["norm", "adamw", "sgd", "rmsprop", "adafactor", "lion"], "copy"]);
  for (const [name, s] of Object.entries(found)) expect(ordered(s), name).toBe(true);
  const one = await prefopt(["bench", "optimizer", "--optimizer", "adam"]);
  expect([one.status, one.stderr]).toEqual([
    2,
    'prefopt: --optimizer: there is no optimizer "adam". Did you mean adamw?\n',
  ]);
});

test("compile: the stages from a model to a program", async () => {
  const json = await measured("compile", ...tiny, "--rows", "2", "--time", "16");
  const found = json.milliseconds as Record<string, Spread>;
  expect(Object.keys(found)).toEqual(["build", "emit", "plain", "optimized"]);
  for (const [name, s] of Object.entries(found)) expect(ordered(s), name).toBe(true);
  expect(json.nodes).toBeGreaterThan(100);
});

test("people get a table, and a shape that cannot be is refused", async () => {
  const result = await prefopt(["bench", "step", ...tiny, "--rows", "2", "--time", "16"]);
  expect(result.stdout).toMatch(/^fraction +[\d.]+ \([\d.]+ to [\d.]+\)$/m);
  expect(result.stdout).toMatch(/^machine +.+, \d+ threads/m);
  const odd = await prefopt(["bench", "step", "--hidden", "48", "--heads", "16"]);
  expect([odd.status, odd.stderr]).toEqual([
    2,
    "prefopt: 16 heads for a hidden size of 48: a head must be a whole, even number of dimensions wide. Choose another --heads or --hidden.\n",
  ]);
});
