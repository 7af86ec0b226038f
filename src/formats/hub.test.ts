/** The hub: names, what is fetched of a repository, broken connections, refusals in words, the cache and offline work. */
import { fork } from "node:child_process";
import { mkdir, mkdtemp, readFile, readdir, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build } from "esbuild";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { FakeHub } from "../../test/fake-hub.ts";
import { RequestError, WorkError } from "../errors.ts";
import { fetchData, fetchModel } from "./hub.ts";
import { type HubOptions, progressText } from "./hub-cache.ts";
import { isPinOf, parseHubName, showHubName } from "./hub-name.ts";

const commit = "1".repeat(40);
const variables = [
  "PREFOPT_CACHE",
  "PREFOPT_OFFLINE",
  "HF_ENDPOINT",
  "HF_HOME",
  "HF_TOKEN",
  "HF_TOKEN_PATH",
  "HUGGING_FACE_HUB_TOKEN",
  "HF_HUB_OFFLINE",
];
const before = Object.fromEntries(variables.map((key) => [key, process.env[key]]));

let hub: FakeHub;
let folder: string;
beforeEach(async () => {
  hub = await FakeHub.start();
  folder = await mkdtemp(join(tmpdir(), "prefopt-"));
  for (const key of variables) delete process.env[key];
  process.env.PREFOPT_CACHE = join(folder, "cache");
  process.env.HF_HOME = join(folder, "hf");
  process.env.HF_ENDPOINT = hub.url;
});
afterEach(async () => {
  await hub.stop();
  for (const [key, value] of Object.entries(before)) {
    if (value === undefined) delete process.env[key];
    else process.env[key] = value;
  }
  await rm(folder, { recursive: true, force: true });
});

const quick: HubOptions = { pause: 1, patience: 300 };
const model = (name: string, options: HubOptions = {}) => fetchModel(name, { ...quick, ...options });
const data = (name: string) => fetchData(name, quick);
/** The message of a refusal, with the hub's address replaced. */
async function refused(work: Promise<unknown>, kind: typeof RequestError | typeof WorkError = RequestError) {
  const error = await work.then(
    () => undefined,
    (e: unknown) => e,
  );
  expect(error).toBeInstanceOf(kind);
  return (error as Error).message.replaceAll(hub.url, "HUB");
}

const weights = Buffer.from(Array.from({ length: 300_000 }, (_, i) => (i * 7919) >> 5));
const expectWeights = async (place: string) =>
  expect((await readFile(join(place, "model.safetensors"))).equals(weights)).toBe(true);
const tiny = {
  files: {
    "README.md": "about",
    "config.json": '{"model_type":"llama"}',
    "generation_config.json": "{}",
    "tokenizer.json": "{}",
    "tokenizer_config.json": "{}",
    "chat_template.jinja": "é",
    "model.safetensors": weights,
    "pytorch_model.bin": "old",
    "onnx/model.onnx": "x",
  },
  large: ["model.safetensors", "pytorch_model.bin"],
};

describe("names", () => {
  test.each([
    ["hf://a/b", { kind: "model", repo: "a/b", revision: "main" }],
    ["hf://models/a/b", { kind: "model", repo: "a/b", revision: "main" }],
    ["hf://datasets/a/b.c@v1", { kind: "dataset", repo: "a/b.c", revision: "v1" }],
    ["hf://a/b@x%2Fy/q/w.gguf", { kind: "model", repo: "a/b", revision: "x/y", path: "q/w.gguf" }],
    ["hf://a/b@refs/pr/3/x", { kind: "model", repo: "a/b", revision: "refs/pr/3", path: "x" }],
    [
      "hf://datasets/a/b@refs/convert/parquet",
      { kind: "dataset", repo: "a/b", revision: "refs/convert/parquet" },
    ],
    [
      "hf://datasets/a/b/train/*.jsonl",
      { kind: "dataset", repo: "a/b", revision: "main", path: "train/*.jsonl" },
    ],
    ["hf://a/b/", { kind: "model", repo: "a/b", revision: "main" }],
  ])("%s", (text, parts) => {
    expect(parseHubName(text)).toEqual(parts);
    expect(parseHubName(showHubName(parseHubName(text)))).toEqual(parts);
  });
  test.each([
    ["hf://", "it needs an owner and a name"],
    ["hf://gpt2", "it needs an owner and a name"],
    ["hf://spaces/a/b", "spaces are neither models nor data"],
    ["hf://a/b c", "has characters that names there do not have"],
    ["hf://a/..", "has characters that names there do not have"],
    ["hf://a/b@", '"" is not a revision'],
    ["hf://a/b@%zz", "is not encoded rightly"],
    ["hf://a@v1/b", "the revision stands behind the name"],
    ["hf://a/b/../../x", "is not a path inside of a repository"],
    ["hf://a/b/c:/x\\y", "is not a path inside of a repository"],
  ])("refuses %s", (text, why) => {
    expect(() => parseHubName(text)).toThrow(why);
    expect(() => parseHubName(text)).toThrow("Write hf://owner/name");
  });
  test("a pin is a name at a commit", () => {
    expect(isPinOf(`hf://a/b@${commit}`, "hf://a/b")).toBe(true);
    expect(isPinOf(`hf://a/b@${commit}/x`, "hf://a/b@v1/x")).toBe(true);
    expect(isPinOf(`hf://a/b@${commit}`, "hf://a/c")).toBe(false);
    expect(isPinOf(`hf://a/b@${commit}`, `hf://a/b@${"2".repeat(40)}`)).toBe(false);
    expect(isPinOf("hf://a/b", "hf://a/b")).toBe(false);
    expect(isPinOf("/x/b", "hf://a/b")).toBe(false);
  });
});

describe("models", () => {
  test("of a repository what is needed, once", async () => {
    hub.repositories.set("models/a/b", { ...tiny, revisions: ["v1"] });
    const told: string[] = [];
    const { path, pinned } = await model("hf://a/b@v1", { onProgress: (p) => told.push(progressText(p)) });
    expect(pinned).toBe(`hf://a/b@${commit}`);
    const wanted = Object.keys(tiny.files).filter((f) => !/README|bin|onnx/.test(f));
    expect((await readdir(path)).sort()).toEqual(wanted.sort());
    await expectWeights(path);
    expect(await readFile(join(path, "chat_template.jinja"), "utf8")).toBe("é");
    expect(told[0]).toBe("downloading hf://a/b@v1: 0 % of 0.3 MB");
    expect(told.at(-1)).toBe("downloading hf://a/b@v1: 100 % of 0.3 MB");
    const requests = hub.seen.length;
    expect(await model("hf://a/b@v1")).toEqual({ path, pinned });
    expect(await model(pinned)).toEqual({ path, pinned });
    expect(hub.seen.length).toBe(requests);
  });
  test("shards as the index names them, an adapter, a folder of a repository", async () => {
    const index = JSON.stringify({ weight_map: { x: "model-1.safetensors", y: "model-2.safetensors" } });
    hub.repositories.set("models/a/shards", {
      files: {
        "config.json": "{}",
        "model.safetensors.index.json": index,
        "model-1.safetensors": "1",
        "model-2.safetensors": "2",
        "consolidated.safetensors": "3",
        "ckpt/config.json": "{}",
        "ckpt/model.safetensors": "4",
      },
      large: ["model-1.safetensors"],
    });
    const shards = await model("hf://a/shards");
    expect((await readdir(shards.path)).sort()).toEqual(
      ["config.json", "model-1.safetensors", "model-2.safetensors", "model.safetensors.index.json"].sort(),
    );
    const inner = await model("hf://a/shards/ckpt");
    expect(inner.pinned).toBe(`hf://a/shards@${commit}/ckpt`);
    expect((await readdir(inner.path)).sort()).toEqual(["config.json", "model.safetensors"]);
    hub.repositories.set("models/a/lora", {
      files: { "adapter_config.json": "{}", "adapter_model.safetensors": "x" },
    });
    expect((await readdir((await model("hf://a/lora")).path)).length).toBe(2);
  });
  test("one GGUF file by its name", async () => {
    hub.repositories.set("models/a/gguf", { files: { "x.Q4_K_M.gguf": "GGUF", "x.Q8_0.gguf": "GGUF8" } });
    const { path } = await model("hf://a/gguf/x.Q8_0.gguf");
    expect(await readFile(path, "utf8")).toBe("GGUF8");
    expect(await refused(model("hf://a/gguf"))).toContain(
      "it holds GGUF files. Name one of them: hf://a/gguf/x.Q4_K_M.gguf, hf://a/gguf/x.Q8_0.gguf",
    );
    expect(await refused(model("hf://a/gguf/x.Q4_0.gguf"))).toContain(
      "there is no x.Q4_0.gguf. Did you mean x.Q8_0.gguf?",
    );
  });
  test.each([
    ["only a pickle", { "config.json": "{}", "pytorch_model.bin": "x" }, "an older format that can run code"],
    ["no weights at all", { "config.json": "{}" }, "neither model.safetensors nor GGUF files"],
    [
      "an index of missing shards",
      { "model.safetensors.index.json": '{"weight_map":{"x":"y.safetensors"}}' },
      "y.safetensors, which is not there",
    ],
  ])("refuses %s", async (_, files, why) => {
    hub.repositories.set("models/a/none", { files });
    expect(await refused(model("hf://a/none"))).toContain(why);
  });
});

describe("data", () => {
  const files = {
    "README.md": "x",
    "dataset_infos.json": "{}",
    "data/train-00000-of-00002.parquet": "1",
    "data/train-00001-of-00002.parquet": "2",
    "data/test-00000-of-00001.parquet": "3",
    "extra/pairs.jsonl": "{}",
  };
  beforeEach(() => hub.repositories.set("datasets/a/d", { files }));
  const names = async (name: string) => (await data(name)).files.map((f) => f.name);
  test("a file, a pattern, a folder of one set", async () => {
    expect(await names("hf://datasets/a/d/extra/pairs.jsonl")).toEqual([
      "hf://datasets/a/d/extra/pairs.jsonl",
    ]);
    const shards = [0, 1].map((i) => `hf://datasets/a/d/data/train-0000${i}-of-00002.parquet`);
    expect(await names("hf://datasets/a/d/data/train-*.parquet")).toEqual(shards);
    expect(await names("hf://datasets/a/d/extra")).toEqual(["hf://datasets/a/d/extra/pairs.jsonl"]);
    const [file] = (await data("hf://datasets/a/d/data/train-*.parquet")).files;
    expect(await readFile(file.path, "utf8")).toBe("1");
  });
  test("a repository of one set is that set", async () => {
    hub.repositories.set("datasets/a/one", { files: { "dataset_infos.json": "{}", "x.csv.gz": "1" } });
    expect(await data("hf://datasets/a/one")).toMatchObject({
      pinned: `hf://datasets/a/one@${commit}`,
      files: [{ name: "hf://datasets/a/one/x.csv.gz" }],
    });
  });
  test("several sets are not mixed, and what is not there is said with what is", async () => {
    expect(await refused(data("hf://datasets/a/d"))).toContain(
      "holds several sets of data: training and test data are not to be mixed. Name one: " +
        "hf://datasets/a/d/data/test-*-of-00001.parquet, hf://datasets/a/d/data/train-*-of-00002.parquet, ",
    );
    expect(await refused(data("hf://datasets/a/d/pairs.jsonl"))).toContain("Did you mean extra/pairs.jsonl?");
    expect(await refused(data("hf://datasets/a/d/data/valid-*.parquet"))).toContain(
      "there is no data/valid-*.parquet",
    );
    hub.repositories.set("datasets/a/images", { files: { "x.png": "1" } });
    expect(await refused(data("hf://datasets/a/images"))).toContain("it has no data files");
    expect(await refused(model("hf://datasets/a/d"))).toContain("is a data set, not a model");
  });
});

describe("broken connections", () => {
  beforeEach(() => hub.repositories.set("models/a/b", tiny));
  const place = () =>
    join(folder, "cache/hub", new URL(hub.url).host.replace(":", "_"), "models/a/b/files", commit);

  test("a download that is cut goes on where it was cut", async () => {
    hub.faults.set("model.safetensors", [
      { cutAfter: 100_000 },
      { cutAfter: 50_000 },
      { stallAfter: 20_000 },
    ]);
    const { path } = await model("hf://a/b");
    await expectWeights(path);
    const ranges = hub.seen.filter((s) => s.url.startsWith("store")).map((s) => s.range);
    expect(ranges).toEqual([undefined, "bytes=100000-", "bytes=150000-", "bytes=170000-"]);
  });
  test("a later process goes on too, and a partial file of other bytes is replaced", async () => {
    await mkdir(place(), { recursive: true });
    await writeFile(join(place(), "model.safetensors.partial"), weights.subarray(0, 200_000));
    const { path } = await model("hf://a/b");
    await expectWeights(path);
    await rm(join(path, "model.safetensors"));
    await writeFile(join(place(), "model.safetensors.partial"), Buffer.alloc(200_000));
    await model("hf://a/b");
    await expectWeights(path);
    const ranges = hub.seen.filter((s) => s.url.startsWith("store")).map((s) => s.range);
    expect(ranges).toEqual(["bytes=200000-", "bytes=200000-", undefined]);
    expect(await readdir(path)).not.toContain("model.safetensors.partial");
  });
  test("a server without ranges starts over, one that sends too much is asked again", async () => {
    hub.faults.set("model.safetensors", [{ cutAfter: 100_000 }, { ignoreRange: true }]);
    hub.faults.set("config.json", [{ tooMany: true }]);
    const { path } = await model("hf://a/b");
    await expectWeights(path);
    expect(await readFile(join(path, "config.json"), "utf8")).toBe(tiny.files["config.json"]);
  });
  test("wrong bytes are fetched once more, then refused; the name never appears", async () => {
    hub.faults.set("model.safetensors", [{ corrupt: true }]);
    const { path } = await model("hf://a/b");
    await expectWeights(path);
    await rm(join(path, "model.safetensors"));
    for (const file of ["model.safetensors", "config.json"]) {
      await rm(join(path, file), { force: true });
      hub.faults.set(file, [{ corrupt: true }, { corrupt: true }]);
      expect(await refused(model("hf://a/b"), WorkError)).toContain(
        `${file} comes with other bytes than HUB says`,
      );
      expect(await readdir(path)).not.toContain(file);
      expect(await readdir(path)).not.toContain(`${file}.partial`);
      hub.faults.clear();
      await model("hf://a/b");
    }
  });
  test("a damaged file in the cache is fetched again", async () => {
    const { path } = await model("hf://a/b");
    await writeFile(join(path, "model.safetensors"), weights.subarray(0, 1000));
    await model("hf://a/b");
    await expectWeights(path);
  });
  test("429 and 5xx are waited out, as long as the hub says", async () => {
    hub.faults.set("/revision/main", [{ status: 503 }, { status: 429, headers: { "Retry-After": "0.3" } }]);
    hub.faults.set("config.json", [{ status: 500 }, { status: 502 }]);
    const began = performance.now();
    await model("hf://a/b");
    expect(performance.now() - began).toBeGreaterThan(290);
    expect(hub.seenOf("/revision/main").map((s) => s.status)).toEqual([503, 429, 200]);
  });
  test("a hub that keeps failing, and one that is not there", async () => {
    hub.faults.set("/revision/main", new Array(5).fill({ status: 503 }));
    expect(await refused(model("hf://a/b"), WorkError)).toContain(
      "hf://a/b: HUB answers with status 503. Try again later.",
    );
    hub.faults.set("model.safetensors", new Array(20).fill({ cutAfter: 0 }));
    expect(await refused(model("hf://a/b"), WorkError)).toContain("HUB cannot be reached");
    process.env.HF_ENDPOINT = "http://127.0.0.1:9";
    expect(await refused(model("hf://a/b"), WorkError)).toContain("http://127.0.0.1:9 cannot be reached");
    process.env.HF_ENDPOINT = "huggingface";
    expect(await refused(model("hf://a/b"))).toContain('HF_ENDPOINT is "huggingface": it is not an address');
  });
  test("an answer that is no hub's", async () => {
    hub.repositories.set("models/a/odd", { ...tiny, commit: "../../x" });
    expect(await refused(model("hf://a/odd"), WorkError)).toContain(
      "gives an answer that cannot be used: it names no commit",
    );
    hub.repositories.set("models/a/evil", { files: { "../evil.json": "{}" } });
    expect(await refused(model("hf://a/evil"), WorkError)).toContain('it lists a file "../evil.json"');
  });
});

describe("who may read", () => {
  beforeEach(() => {
    hub.repositories.set("models/a/gated", { ...tiny, access: "gated" });
    hub.repositories.set("models/a/private", { ...tiny, access: "private" });
    hub.repositories.set("models/a/open", { ...tiny, revisions: ["v1"] });
  });
  test("what is missing is said with what to do", async () => {
    expect(await refused(model("hf://a/gated"))).toBe(
      "hf://a/gated: it is gated: its owner wants its terms to be accepted first. Accept them at HUB/a/gated, " +
        "then set HF_TOKEN to a token that may read it (https://huggingface.co/settings/tokens).",
    );
    expect(await refused(model("hf://a/private"))).toContain("there is no such repository, or it is private");
    expect(await refused(model("hf://a/nowhere"))).toContain(
      "Check the name; where it is private, set HF_TOKEN",
    );
    expect(await refused(model("hf://a/open@v2"))).toContain("hf://a/open@v2: there is no revision v2");
    process.env.HF_TOKEN = "hf_bad";
    expect(await refused(model("hf://a/private"))).toContain(
      "the hub does not accept the token. Check HF_TOKEN",
    );
    hub.faults.set("/revision/main", [{ status: 403 }]);
    expect(await refused(model("hf://a/open"))).toContain("the token may not read it");
    hub.faults.set("/revision/v1", [{ status: 404 }]);
    expect(await refused(model("hf://a/open@v1"))).toContain("there is no such repository or revision");
  });
  test.each(["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "a file"])(
    "a token from %s goes to the hub and no further",
    async (source) => {
      if (source === "a file") {
        await mkdir(join(folder, "hf"));
        await writeFile(join(folder, "hf/token"), "hf_good\n");
      } else process.env[source] = "hf_good";
      await model("hf://a/gated");
      await model("hf://a/private");
      const stored = hub.seen.filter((s) => s.url.startsWith("store"));
      expect(stored.length).toBe(2);
      for (const { token } of stored) expect(token).toBeUndefined();
      const others = hub.seen.filter((s) => !s.url.startsWith("store"));
      for (const { token } of others) expect(token).toBe("Bearer hf_good");
    },
  );
});

describe("offline", () => {
  test.each(["HF_HUB_OFFLINE", "PREFOPT_OFFLINE"])(
    "%s uses the cache and says what is missing",
    async (key) => {
      hub.repositories.set("models/a/b", tiny);
      const online = await model("hf://a/b");
      process.env[key] = "1";
      const requests = hub.seen.length;
      expect(await model("hf://a/b")).toEqual(online);
      expect(await model(online.pinned)).toEqual(online);
      expect(await refused(model("hf://a/b@v1"))).toContain(
        `hf://a/b@v1: it is not here, and the network must not be used: revision v1 was never downloaded here, and ${key} is set`,
      );
      expect(await refused(model(`hf://a/b@${"3".repeat(40)}`))).toContain("was never downloaded here");
      await rm(join(online.path, "model.safetensors"));
      expect(await refused(model("hf://a/b"))).toContain("not in the cache: model.safetensors");
      expect(hub.seen.length).toBe(requests);
    },
  );
});

describe("at the same time", () => {
  test("two calls of one process and three processes download every byte once, and all find it whole", async () => {
    hub.repositories.set("models/a/b", tiny);
    const [one, two] = await Promise.all([model("hf://a/b"), model("hf://a/b")]);
    expect(one).toEqual(two);
    expect(hub.seen.filter((s) => s.url.startsWith("store")).length).toBe(1);
    await rm(join(folder, "cache"), { recursive: true });
    // A slow start, so that all are there before the first has finished.
    hub.faults.set("model.safetensors", [{ stallAfter: 1000 }]);
    const script = join(folder, "child.mjs");
    await build({
      stdin: {
        contents: `import { fetchModel } from "./hub.ts"; console.log((await fetchModel("hf://a/b", { pause: 1, patience: 500 })).path);`,
        resolveDir: import.meta.dirname,
        loader: "ts",
      },
      bundle: true,
      platform: "node",
      format: "esm",
      packages: "external",
      outfile: script,
      logLevel: "error",
    });
    // Packages are found from the folder that the script is in.
    await symlink(new URL("../../node_modules", import.meta.url).pathname, join(folder, "node_modules"));
    const run = () =>
      new Promise<string>((resolve, reject) => {
        const child = fork(script, { silent: true });
        let text = "";
        child.stdout?.on("data", (part: Buffer) => (text += part.toString()));
        child.stderr?.on("data", (part: Buffer) => (text += part.toString()));
        child.on("error", reject);
        child.on("close", () => resolve(text.trim()));
      });
    const before = hub.seen.length;
    const paths = await Promise.all([run(), run(), run()]);
    expect(new Set(paths)).toEqual(new Set([one.path]));
    await expectWeights(one.path);
    const stored = hub.seen.slice(before).filter((s) => s.url.startsWith("store"));
    expect(stored.map((s) => s.range)).toEqual([undefined, "bytes=1000-"]);
    expect((await stat(join(one.path, "config.json"))).size).toBeGreaterThan(0);
  });
});
