/** Models and data by their names on the hub, from the command line and the API, against a hub on this machine. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { loadLanguageModel, openBackend } from "../src/index.ts";
import { afterAll, beforeAll, expect, test } from "vitest";
import { writeRows } from "../src/formats/rows.ts";
import { prefopt, root } from "./command.ts";
import { FakeHub } from "./fake-hub.ts";

let hub: FakeHub;
let folder: string;
let env: Record<string, string>;
const commit = "a".repeat(40);
const llama = join(root, "test/fixtures/models/llama");
const pairs = Array.from({ length: 6 }, (_, i) => ({
  promptIds: [1, 2 + i],
  chosenIds: [3 + i, 4],
  rejectedIds: [5, 6 + i],
}));

beforeAll(async () => {
  hub = await FakeHub.start();
  folder = await mkdtemp(join(tmpdir(), "prefopt-"));
  env = {
    HF_ENDPOINT: hub.url,
    HF_HOME: join(folder, "hf"),
    HF_TOKEN: "",
    HF_HUB_OFFLINE: "",
    PREFOPT_CACHE: join(folder, "cache"),
  };
  await writeRows(join(folder, "pairs.parquet"), pairs);
  hub.repositories.set("models/tiny/llama", {
    commit,
    files: {
      "config.json": await readFile(join(llama, "config.json")),
      "model.safetensors": await readFile(join(llama, "model.safetensors")),
    },
    large: ["model.safetensors"],
  });
  hub.repositories.set("datasets/tiny/pairs", {
    commit,
    files: {
      "train.parquet": await readFile(join(folder, "pairs.parquet")),
      "test.jsonl.gz": gzipSync(pairs.map((p) => `${JSON.stringify(p)}\n`).join("")),
    },
    large: ["train.parquet"],
  });
});
afterAll(async () => {
  await hub.stop();
  await rm(folder, { recursive: true, force: true });
});

test("a command takes a name for MODEL and scores as with the folder", async () => {
  const input = '{"promptIds":[1],"completionIds":[2,3]}\n';
  const named = await prefopt(["score", "hf://tiny/llama"], { input, env });
  expect(named.status, named.stderr).toBe(0);
  expect(named.stderr).toContain("downloading hf://tiny/llama: 0 %");
  expect(named.stdout).toBe((await prefopt(["score", llama], { input, env })).stdout);
  const offline = { ...env, PREFOPT_OFFLINE: "1" };
  expect((await prefopt(["score", "hf://tiny/llama"], { input, env: offline })).stdout).toBe(named.stdout);
});

test("text alone needs the tokenizer's files alone", async () => {
  const reviews = join(root, "assets/reviews");
  const file = async (name: string): Promise<[string, Uint8Array]> => [
    name,
    await readFile(join(reviews, name)),
  ];
  const names = ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"];
  hub.repositories.set("models/tiny/reviews", {
    commit,
    files: Object.fromEntries(await Promise.all(names.map(file))),
    large: ["model.safetensors"],
  });
  const input = '{"text":"The film is"}\n';
  const named = await prefopt(["tokenize", "hf://tiny/reviews"], { input, env });
  expect(named.status, named.stderr).toBe(0);
  expect(named.stdout).toBe((await prefopt(["tokenize", reviews], { input, env })).stdout);
  const fetched = () =>
    names.filter((name) => hub.seenOf(`tiny/reviews/resolve/${commit}/${name}`).length > 0);
  expect(fetched()).toEqual(["tokenizer.json", "tokenizer_config.json"]);

  const data = join(folder, "text.jsonl");
  await writeFile(data, '{"prompt":"The film","chosen":" is good.","rejected":" is bad."}\n');
  const look = await prefopt(["data", "inspect", data, "--model", "hf://tiny/reviews"], { env });
  expect(look.status, look.stderr).toBe(0);
  expect(fetched()).toEqual(["config.json", "tokenizer.json", "tokenizer_config.json"]);

  // What is there stays, and the rest comes when it is wanted.
  const scored = await prefopt(["score", "hf://tiny/reviews"], {
    input: '{"prompt":"The film","completion":" is good."}\n',
    env,
  });
  expect(scored.status, scored.stderr).toBe(0);
  expect(fetched()).toEqual(names);
  for (const name of names) expect(hub.seenOf(`tiny/reviews/resolve/${commit}/${name}`)).toHaveLength(1);
});

test("a recipe takes names, keeps the commits, and is resumed with them though the hub has moved on", async () => {
  const recipe = join(folder, "recipe.yaml");
  const content = {
    method: "dpo",
    model: "hf://tiny/llama",
    reference: "hf://tiny/llama",
    data: { train: "hf://datasets/tiny/pairs/train.parquet", eval: "hf://datasets/tiny/pairs/test.jsonl.gz" },
    train: { steps: 2, batchSize: 3 },
  };
  await writeFile(recipe, JSON.stringify(content));
  const out = join(folder, "run");
  const first = await prefopt(["train", recipe, "--out", out], { env });
  expect(first.status, first.stderr).toBe(0);
  const kept = await readFile(join(out, "recipe.yaml"), "utf8");
  expect(kept).toContain(`model: hf://tiny/llama@${commit}`);
  expect(kept).toContain(`reference: hf://tiny/llama@${commit}`);
  expect(kept).toContain(`train: hf://datasets/tiny/pairs@${commit}/train.parquet`);
  expect(kept).toContain(`eval: hf://datasets/tiny/pairs@${commit}/test.jsonl.gz`);

  // The run again as if it had been killed before its end, and the hub at another commit.
  const model = await readFile(join(out, "model/model.safetensors"));
  for (const name of ["model", "result.json"]) await rm(join(out, name), { recursive: true });
  const before = hub.repositories.get("models/tiny/llama");
  hub.repositories.set("models/tiny/llama", { files: { "config.json": "{}" }, commit: "b".repeat(40) });
  const again = await prefopt(["train", recipe, "--out", out, "--resume"], { env });
  expect(again.status, again.stderr).toBe(0);
  expect((await readFile(join(out, "model/model.safetensors"))).equals(model)).toBe(true);
  if (before) hub.repositories.set("models/tiny/llama", before);

  await rm(join(out, "result.json"));
  const other = await prefopt(["train", recipe, "--out", out, "--resume", "--set", "model=hf://tiny/other"], {
    env,
  });
  expect(other.status).toBe(2);
  expect(other.stderr).toContain("the recipe says");
});

test("what is wrong with a name ends in one line", async () => {
  for (const [name, part] of [
    ["hf://gpt2", "is not a name on the hub: it needs an owner and a name"],
    ["hf://tiny/nowhere", "there is no such repository, or it is private"],
    ["hf://tiny/llama/model.safetensors", "is not a model by itself"],
    ["hf://tiny/llama@v9", "there is no revision v9"],
  ]) {
    const { status, stderr } = await prefopt(["score", name], { input: "{}\n", env });
    expect(status).toBe(2);
    expect(stderr.trim().split("\n")).toHaveLength(1);
    expect(stderr).toContain(part);
  }
});

test("the API takes names", async () => {
  const before = { ...process.env };
  Object.assign(process.env, env);
  try {
    const backend = await openBackend();
    const [named, local] = [
      await loadLanguageModel("hf://tiny/llama", backend),
      await loadLanguageModel(llama, backend),
    ];
    expect(
      Buffer.compare(Buffer.from(named.weights.flat.buffer), Buffer.from(local.weights.flat.buffer)),
    ).toBe(0);
  } finally {
    for (const key of Object.keys(env)) delete process.env[key];
    Object.assign(process.env, before);
  }
});
