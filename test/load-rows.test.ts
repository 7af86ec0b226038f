/** Rows in threads and from the cache are the rows that are made at home: compared, timed, interrupted, damaged, and trained on. */
import { mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type LoadRowsOptions, loadRows } from "../src/data/load-rows.ts";
import { packRows, unpackRows } from "../src/data/packed-rows.ts";
import type { TokenRow } from "../src/data/token-row.ts";
import { random } from "../src/engine/random.ts";
import { run } from "../src/methods/run.ts";
import { tokenizerFingerprint } from "../src/text/tokenizer-files.ts";
import { type Tokenizer, loadTokenizer } from "../src/text/tokenizer.ts";
import { root } from "./command.ts";

const model = join(root, "assets/reviews");
let folder: string;
let tokenizer: Tokenizer;
let options: LoadRowsOptions;
let pairs: string;
const before = { ...process.env };

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "prefopt-"));
  process.env.PREFOPT_CACHE = join(folder, "cache");
  tokenizer = await loadTokenizer(model);
  options = {
    invalid: "error",
    tokenizer,
    tokenizerFrom: { path: model, fingerprint: await tokenizerFingerprint(model) },
    job: {
      kindFor: { pair: "pair" },
      vocabularySize: 4096,
      endIds: [tokenizer.endId ?? 0],
      limits: { maxLength: 64, truncation: "keep-end" },
      settings: {},
    },
    many: 200,
  };
  pairs = join(root, "assets/preferences/train.jsonl");
});
afterAll(async () => {
  process.env = before;
  await rm(folder, { recursive: true });
});

/** Makes threads possible: the file that they start with is bundled as for the command line. */
async function withThreads<T>(work: () => Promise<T>): Promise<T> {
  const { bundled } = (await import(new URL("../scripts/bundle.js", import.meta.url).href)) as {
    bundled: (entry: string) => Promise<string>;
  };
  process.env.PREFOPT_WORKERS = dirname(await bundled("src/data/row-worker.ts"));
  try {
    return await work();
  } finally {
    delete process.env.PREFOPT_WORKERS;
  }
}

describe("packed rows", () => {
  const row = (changes: Partial<TokenRow> = {}): TokenRow => ({
    kind: "pair",
    trees: [
      { prompt: [1, 2], branches: [[{ role: "chosen", ids: [3] }], [{ role: "rejected", ids: [4, 5] }]] },
      { prompt: [9], branches: [] },
    ],
    fields: { weight: 0.1, chosenProb: 1 / 3 },
    values: { chosen: { reward: [-1.5] }, completions: { score: [0.25, 1e-300] } },
    tokenRewards: { chosen: [[0.5], [1, 2]] },
    truncated: 3,
    source: { file: "b.jsonl", line: 70_000 },
    ...changes,
  });
  test.each<[string, TokenRow[]]>([
    ["nothing", []],
    ["rows with everything", [row(), row({ warning: "it was cut", kind: "list", fields: {}, values: {} })]],
    ["large ids", [row({ trees: [{ prompt: [65_535, 65_536, 250_000], branches: [] }] }), row()]],
    ["many rows", Array.from({ length: 3000 }, (_, i) => row({ source: { file: "a.jsonl", line: i } }))],
  ])("%s", (_, rows) => {
    const files = ["a.jsonl", "b.jsonl"];
    const packed = packRows(rows, files);
    expect(unpackRows(packed, files)).toEqual(rows);
    if (rows.length === 3000) expect(packed.stream).toBeInstanceOf(Uint16Array);
  });
});

describe("loading", () => {
  test("in threads, at home and from the cache the rows are the same", async () => {
    const home = await loadRows(pairs, { ...options, cache: false });
    const threads = await withThreads(() => loadRows(pairs, { ...options, workers: 2 }));
    const kept = await loadRows(pairs, options);
    expect([home.cached, threads.cached, kept.cached]).toEqual([false, false, true]);
    expect(home.rows).toHaveLength(5505);
    expect(home.rows.some((r) => r.truncated > 0) || home.rows[0].trees[0].branches.length === 2).toBe(true);
    expect(threads).toEqual(home);
    expect({ ...kept, cached: false }).toEqual(home);
  });
  test("another policy, tokenizer or file is another cache", async () => {
    await loadRows(pairs, options);
    const { job } = options;
    const changed: Partial<LoadRowsOptions>[] = [
      { job: { ...job, limits: { ...job.limits, maxLength: 63 } } },
      { job: { ...job, endIds: [1] } },
      { job: { ...job, settings: { endOnFinalStep: true } } },
      { invalid: "skip" },
      { tokenizerFrom: { path: model, fingerprint: "other" } },
      { format: "trl" },
    ];
    for (const change of changed)
      expect((await loadRows(pairs, { ...options, ...change })).cached, JSON.stringify(change)).toBe(false);
    const copy = join(folder, "copy.jsonl");
    const text = await readFile(pairs, "utf8");
    await writeFile(copy, text);
    const { cached, rows } = await loadRows(copy, options);
    expect([cached, rows[0].source.file]).toEqual([true, copy]); // the same bytes under another name
    await writeFile(copy, text.replace("film", "Film"));
    expect((await loadRows(copy, options)).cached).toBe(false);
  });
  test("a damaged cache is made anew, with a warning", async () => {
    const place = join(folder, "damaged");
    process.env.PREFOPT_CACHE = place;
    const { rows } = await loadRows(pairs, options);
    const [name] = await readdir(join(place, "rows"));
    const path = join(place, "rows", name);
    const whole = await readFile(path);
    const rng = random(1, "damage");
    const damages: ((bytes: Buffer) => Buffer)[] = [
      (b) => b.subarray(0, rng.integer(b.length)),
      () => Buffer.alloc(rng.integer(40)),
      (b) => Buffer.concat([b, b.subarray(0, 5)]),
      ...Array.from({ length: 8 }, () => (b: Buffer) => {
        b[rng.integer(b.length)] ^= 1 << rng.integer(8);
        return b;
      }),
    ];
    for (const damage of damages) {
      await writeFile(path, damage(Buffer.from(whole)));
      const again = await loadRows(pairs, options);
      expect(again.cached).toBe(false);
      expect(again.warnings).toEqual([expect.stringContaining("were damaged, and were made anew")]);
      expect(again.rows).toEqual(rows);
      expect((await loadRows(pairs, options)).cached).toBe(true);
    }
    process.env.PREFOPT_CACHE = join(folder, "cache");
  }, 60_000);

  const good = JSON.stringify({ prompt: "The film is", chosen: " a delight.", rejected: " a mess." });
  async function file(changes: Readonly<Record<number, string>>): Promise<string> {
    const path = join(folder, "lines.jsonl");
    await writeFile(path, Array.from({ length: 1500 }, (_, i) => changes[i + 1] ?? good).join("\n"));
    return path;
  }
  test.each<[string, Readonly<Record<number, string>>, string]>([
    [
      "a record that lacks a field",
      { 900: '{"prompt": "p", "chosen": "a"}', 1100: "{}" },
      'lines.jsonl:900: field "rejected" cannot be used: it is missing',
    ],
    [
      "a record of another kind",
      { 900: '{"prompt": "p", "completion": "a"}' },
      'lines.jsonl:900: field "chosen" cannot be used',
    ],
    [
      "a row that cannot be made",
      { 1300: '{"promptIds": [99999], "chosenIds": [1], "rejectedIds": [2]}' },
      "lines.jsonl:1300: token id 99999 does not exist",
    ],
    ["a broken line", { 1400: "{" }, "lines.jsonl:1400: is not valid JSON"],
  ])("the first thing that is wrong is told, in threads too: %s", async (_, changes, message) => {
    const path = await file(changes);
    await expect(loadRows(path, options)).rejects.toThrow(message);
    await withThreads(() => expect(loadRows(path, { ...options, workers: 2 })).rejects.toThrow(message));
  });
  test("what cannot be used is skipped, listed and kept with the rows", async () => {
    const path = await file({
      3: '{"prompt": "p"}',
      1200: '{"promptIds": [99999], "chosenIds": [1], "rejectedIds": [2]}',
    });
    const skip = { ...options, invalid: "skip" } as const;
    const home = await loadRows(path, skip);
    expect(home.rows).toHaveLength(1498);
    expect(home.skipped.map((s) => [s.source.line, s.field])).toEqual([
      [3, "chosen"],
      [1200, ""],
    ]);
    const kept = await loadRows(path, skip);
    expect([kept.cached, kept.skipped]).toEqual([true, home.skipped]);
  });
  test("it stops when it is asked to", async () => {
    const stop = new AbortController();
    const onProgress = (_: string, done: number) => done > 1000 && stop.abort(new Error("enough"));
    const stopped = { ...options, cache: false, signal: stop.signal, onProgress };
    await withThreads(() => expect(loadRows(pairs, { ...stopped, workers: 2 })).rejects.toThrow("enough"));
  });
});

test("a run ends with the same bytes whether rows were made at home, in threads, or taken from the cache", async () => {
  const data = join(folder, "pairs.jsonl");
  const lines = (await readFile(pairs, "utf8")).split("\n").slice(0, 2100);
  await writeFile(data, lines.join("\n"));
  const recipe = { method: "dpo", model, data: { train: data }, train: { steps: 2, batchSize: 4 } };
  const trained = async (name: string, cache: string) => {
    process.env.PREFOPT_CACHE = join(folder, cache);
    const out = join(folder, name);
    const reading: string[] = [];
    await run(recipe, { out, onEvent: (e) => e.type === "prepared" && reading.push(...e.prepared.reading) });
    return {
      bytes: await readFile(join(out, "model/model.safetensors")),
      metrics: await metricsOf(out),
      reading,
    };
  };
  const home = await trained("home", "one");
  const kept = await trained("kept", "one");
  const threads = await withThreads(() => trained("threads", "two"));
  expect(home.reading).toEqual([]);
  expect(kept.reading).toEqual([`${data}: 2100 tokenised rows taken from the cache`]);
  for (const other of [kept, threads]) {
    expect(other.bytes.equals(home.bytes)).toBe(true);
    expect(other.metrics).toEqual(home.metrics);
  }
}, 300_000);

/** Metrics of a run, without how fast it was. */
async function metricsOf(out: string): Promise<object[]> {
  const text = await readFile(join(out, "metrics.jsonl"), "utf8");
  return text
    .trim()
    .split("\n")
    .map((line) => ({ ...(JSON.parse(line) as object), tokens_per_second: 0 }));
}
