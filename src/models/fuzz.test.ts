/**
 * Damaged config.json, generation_config.json and index files of every architecture, 500 of each kind: a model that can be used or one
 * clear error, in little time, and never memory for sizes that a file only claims.
 */
import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Backend } from "../engine/backends/backend.ts";
import { openBackend } from "../engine/backends/open.ts";
import { random } from "../engine/random.ts";
import { RequestError } from "../errors.ts";
import { packagePath, readJson } from "../formats/files.ts";
import { byteDamages, damagedText } from "../formats/testing.ts";
import { loadTokenizer } from "../text/tokenizer.ts";
import { architectures } from "./architectures.ts";
import { loadLanguageModel, newLanguageModel, readModelFacts } from "./language-model.ts";
import { saveGguf } from "./save-gguf.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "prefopt-fuzz-"));
});
afterAll(() => rm(folder, { recursive: true }));

const names = Object.keys(architectures);
const fixture = (name: string) => packagePath(`test/fixtures/models/${name}`);
/** The models here have 30,000 to 100,000 numbers. */
const most = { seconds: 2, bytes: 2e6 };

/** Loads a model, which must end well or in one line about the folder; returns whether it was refused. */
async function refused(place: string, about: string): Promise<boolean> {
  let allocated = 0;
  const backend: Backend = {
    ...(await openBackend()),
    allocate(bytes) {
      allocated = Math.max(allocated, bytes);
      return new ArrayBuffer(Math.min(bytes, most.bytes));
    },
  };
  const began = performance.now();
  const errors: unknown[] = [];
  for (const load of [() => loadLanguageModel(place, backend), () => readModelFacts(place)])
    await load().catch((error: unknown) => errors.push(error));
  expect((performance.now() - began) / 1000, about).toBeLessThan(most.seconds);
  expect(allocated, about).toBeLessThan(most.bytes);
  for (const error of errors) {
    expect(error, about).toBeInstanceOf(RequestError);
    expect((error as Error).message.split("\n"), about).toHaveLength(1);
    expect((error as Error).message.length, about).toBeLessThan(2000);
  }
  return errors.length > 0;
}

test("500 damaged config.json", { timeout: 120_000 }, async () => {
  const places = new Map<string, string>();
  for (const name of names) {
    const place = join(folder, name);
    await cp(fixture(name), place, { recursive: true });
    places.set(name, place);
  }
  let count = 0;
  for (let seed = 0; seed < 500; seed++) {
    const rng = random(seed, "config.json");
    const name = names[seed % names.length];
    const place = places.get(name) ?? "";
    const config = JSON.parse(await readFile(join(fixture(name), "config.json"), "utf8")) as object;
    await writeFile(join(place, "config.json"), damagedText(config, rng));
    if (await refused(place, `seed ${seed}: ${name}`)) count++;
  }
  expect(count).toBeGreaterThan(150);
  expect(count).toBeLessThan(500); // keys that nothing depends on
});

test("sizes that a configuration only claims are compared with the file before memory is made", async () => {
  const sizes = [
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "head_dim",
  ];
  const place = join(folder, "claims");
  await cp(fixture("llama"), place, { recursive: true });
  const config = JSON.parse(await readFile(join(place, "config.json"), "utf8")) as object;
  for (const key of sizes)
    for (const value of [1000, 2 ** 31, 2 ** 40, Number.MAX_SAFE_INTEGER, 1e300]) {
      await writeFile(join(place, "config.json"), JSON.stringify({ ...config, [key]: value }));
      expect(await refused(place, `${key} ${value}`)).toBe(true);
    }
});

test("500 damaged generation_config.json", { timeout: 60_000 }, async () => {
  const place = join(folder, "generation");
  await cp(fixture("llama"), place, { recursive: true });
  const value = {
    bos_token_id: 1,
    eos_token_id: [2, 3],
    max_length: 20,
    temperature: 0.5,
    transformers_version: "5",
  };
  for (let seed = 0; seed < 500; seed++) {
    await writeFile(join(place, "generation_config.json"), damagedText(value, random(seed, "generation")));
    await refused(place, `seed ${seed}`);
  }
});

test("500 damaged index files", { timeout: 60_000 }, async () => {
  const place = join(folder, "index");
  await cp(fixture("llama"), place, { recursive: true });
  const { parameters } = (await readModelFacts(place)).architecture;
  const weights = parameters.map((p) => [p.name, "model.safetensors"]);
  const value = { metadata: { total_size: 100 }, weight_map: Object.fromEntries(weights) as object };
  await writeFile(join(place, "model.safetensors.index.json"), JSON.stringify(value));
  expect(await refused(place, "the index as it is")).toBe(false);
  let count = 0;
  for (let seed = 0; seed < 500; seed++) {
    await writeFile(join(place, "model.safetensors.index.json"), damagedText(value, random(seed, "index")));
    if (await refused(place, `seed ${seed}`)) count++;
  }
  expect(count).toBeGreaterThan(300);
});

describe("500 damaged GGUF files", () => {
  const text = "The quick fox, 1234 times.";
  test.each(["qwen3.gguf", "gpt2.gguf", "with a tokenizer"])("%s", { timeout: 120_000 }, async (name) => {
    const path = join(folder, "damaged.gguf");
    let header = 2500;
    if (name.endsWith(".gguf")) await cp(fixture(`gguf/${name}`), path);
    else {
      const tokenizerFrom = packagePath("assets/reviews");
      const { vocab_size } = (await readJson(join(tokenizerFrom, "config.json"))) as { vocab_size: number };
      const config = (await readJson(join(fixture("llama"), "config.json"))) as object;
      const model = newLanguageModel({ ...config, vocab_size, hidden_size: 8 }, 1, await openBackend());
      await saveGguf(model, path, { tokenizerFrom });
      header = 120_000;
      expect((await loadTokenizer(path)).encode(text).length).toBeGreaterThan(4);
    }
    expect(await refused(path, name)).toBe(false);
    const good = new Uint8Array(await readFile(path));
    let count = 0;
    for (let seed = 0; seed < 500; seed++) {
      const rng = random(seed, "gguf", name);
      await writeFile(path, byteDamages[seed % byteDamages.length](good.slice(), header, rng));
      if (await refused(path, `seed ${seed}`)) count++;
      if (name.endsWith(".gguf")) continue;
      const error: unknown = await loadTokenizer(path).then(
        (tokenizer) => void tokenizer.encode(text),
        (e: unknown) => e,
      );
      if (error !== undefined && !(error instanceof RequestError))
        throw new Error(`seed ${seed}`, { cause: error });
    }
    expect(count).toBeGreaterThan(100);
  });
});
