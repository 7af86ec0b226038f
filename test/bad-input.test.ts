/** What people get wrong ends in one clear line and the right exit status, never in a stack trace or half a run. */
import { execFileSync } from "node:child_process";
import { cp, mkdir, mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Finished, prefopt, root } from "./command.ts";

let folder: string;
let model: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "prefopt-"));
  process.env.PREFOPT_CACHE = join(folder, "cache");
  model = join(root, "assets/reviews");
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const good = { prompt: "The film is", chosen: " a delight.", rejected: " a mess." };
const lines = (...records: unknown[]) =>
  records.map((r) => `${typeof r === "string" ? r : JSON.stringify(r)}\n`).join("");

let count = 0;
/** A recipe around the given data and changes, and what `prefopt train` makes of it. */
async function train(
  data: string,
  changes: Record<string, unknown> = {},
  recipe: Record<string, unknown> = {},
): Promise<Finished & { out: string }> {
  const place = join(folder, `case-${count++}`);
  await mkdir(place);
  await writeFile(join(place, "pairs.jsonl"), data);
  await writeFile(join(place, "data.jsonl"), data);
  const file = join(place, "recipe.yaml");
  await writeFile(
    file,
    JSON.stringify({
      method: "dpo",
      model,
      data: { train: "pairs.jsonl", ...changes },
      train: { steps: 1 },
      ...recipe,
    }),
  );
  const out = join(place, "run");
  return { ...(await prefopt(["train", file, "--out", out])), out };
}

/** One line on stderr that begins with the program's name, and no trace of the program's insides. */
function expectOneLine({ stderr }: Finished, ...parts: string[]): void {
  expect(stderr.trim().split("\n"), stderr).toHaveLength(1);
  expect(stderr).toMatch(/^prefopt: /);
  expect(stderr).not.toMatch(/\bat .*:\d+:\d+|bug of prefopt|undefined|\[object/);
  for (const part of parts) expect(stderr).toContain(part);
}

describe("data", () => {
  test.each([
    ["an empty file", "", {}, ["pairs.jsonl: is empty", "one JSON object a line"]],
    [
      "a broken line 17",
      lines(...new Array<object>(16).fill(good), '{"prompt": "x", "chosen"', good),
      {},
      ["pairs.jsonl:17: is not valid JSON"],
    ],
    [
      "no chosen",
      lines(good, { prompt: "p", rejected: "b" }),
      {},
      ['pairs.jsonl:2: field "chosen" cannot be used: it is missing'],
    ],
    [
      "chosen equal to rejected",
      lines(good, { ...good, rejected: good.chosen }),
      {},
      ["pairs.jsonl:2", "equals the chosen one", "data.invalid to skip"],
    ],
    [
      "a row longer than the context",
      lines({ ...good, prompt: "The film is ".repeat(200) }),
      {},
      ["pairs.jsonl:1: the row has", "tokens: at most 256 fit", "keep-end"],
    ],
    [
      "a completion that truncation empties",
      lines(good),
      { maxLength: 1, truncation: "keep-end" },
      ["pairs.jsonl:1: a completion is empty after truncation", "Raise data.maxLength"],
    ],
  ])("%s", async (_, data, changes, parts) => {
    const result = await train(data, changes);
    expect(result.status).toBe(2);
    expectOneLine(result, ...parts);
    expect(await readdir(result.out)).not.toContain("model");
  });
});

describe("models", () => {
  const broken = async (name: string, change: (bytes: Buffer) => Buffer, file = "model.safetensors") => {
    const place = join(folder, name);
    await cp(join(root, "test/fixtures/models/llama"), place, { recursive: true });
    await writeFile(join(place, file), change(await readFile(join(place, file))));
    return prefopt(["score", place], { input: '{"promptIds":[1],"completionIds":[2]}\n' });
  };
  test.each([
    [
      "a safetensors file cut short",
      (b: Buffer) => b.subarray(0, b.length - 100),
      ["model.safetensors", "cut short"],
    ],
    [
      "a header that lies about offsets",
      (b: Buffer) =>
        Buffer.from(b.toString("latin1").replace('"data_offsets":[0,', '"data_offsets":[8,'), "latin1"),
      ["model.safetensors: tensor", "its offsets span"],
    ],
    [
      "a header length that lies",
      (b: Buffer) => Buffer.concat([Buffer.from([255, 255, 255, 0, 0, 0, 0, 0]), b.subarray(8)]),
      ["model.safetensors", "its header claims"],
    ],
  ])("%s", async (name, change, parts) => {
    const result = await broken(name, change);
    expect(result.status).toBe(2);
    expectOneLine(result, ...parts);
  });
  test("an unknown architecture", async () => {
    const result = await broken(
      "mamba",
      (b) => Buffer.from(b.toString().replace('"model_type": "llama"', '"model_type": "mamba"')),
      "config.json",
    );
    expect(result.status).toBe(2);
    expectOneLine(result, 'config.json: architecture "mamba" is not supported', "prefopt knows: llama");
  });
  test("no such folder, no such file, and hf:// names", async () => {
    for (const [name, part] of [
      ["nowhere", "no such model folder"],
      ["x.gguf", "x.gguf: cannot be read: there is no such file"],
      ["hf://a/b", "the network must not be used"],
    ]) {
      const result = await prefopt(["score", name], { input: "{}\n", env: { PREFOPT_OFFLINE: "1" } });
      expect(result.status).toBe(2);
      expectOneLine(result, part);
    }
  });
});

describe("recipes", () => {
  test.each([
    [
      "a misspelt key",
      { train: { learningrate: 1 } },
      ['unknown key "train.learningrate"', "Did you mean train.learningRate?"],
    ],
    ["a misspelt option", { options: { betta: 1 } }, ['unknown option "betta"', "Did you mean beta?"]],
    ["a misspelt method", { method: "dpoo" }, ['there is no method "dpoo"', "Did you mean dpo?"]],
    [
      "an acronym that two systems claim",
      { method: "tpo" },
      ['"tpo" names several methods', "triple-po, task-po"],
    ],
    ["a method that is not built yet", { method: "xpo" }, ['method "xpo" is not built yet']],
    ["a device that does not exist", { device: "gpu" }, ['key "device" is not valid', "webgpu"]],
    ["a wrong value", { train: { epochs: 0 } }, ['key "train.epochs" is not valid']],
    ["beta 0", { options: { beta: 0 } }, ['option "beta" is not valid']],
    ["no reference where one is needed", { reference: "none" }, ["reference: none", "Set reference: same"]],
    [
      "a schedule that does not exist",
      { train: { schedule: "cosin", steps: 1 } },
      ['there is no schedule "cosin"', "Did you mean cosine?"],
    ],
    [
      "an unknown reward",
      { evaluate: { reward: "sentimint" }, data: { train: "pairs.jsonl", eval: "pairs.jsonl" } },
      ['there is no reward "sentimint"', "Did you mean sentiment?"],
    ],
    ["evaluation without data for it", { evaluate: {} }, ["data.eval"]],
  ])("%s", async (_, recipe, parts) => {
    const result = await train(lines(good), {}, recipe);
    expect(result.status).toBe(2);
    expectOneLine(result, ...parts);
  });
  const single = { prompt: "A film", completion: " good.", label: true };
  const list = (n: number) => ({
    prompt: "A film",
    completions: [" good.", " fair.", " bad."].slice(0, n),
    scores: [3, 2, 1].slice(0, n),
  });
  const winRates = { chosenWinRate: 0.9, rejectedWinRate: 0.1 };
  /** An objective, its options, records, the batch size, and what is said. */
  const unfit: [string, Record<string, unknown>, object[], number, string[]][] = [
    ["lipo", {}, [list(2), list(1)], 2, ["data.jsonl:2", "it has 1 completion", "alone is no ranking"]],
    ["plackett-luce", {}, [list(1)], 2, ["data.jsonl:1", "it has 1 completion"]],
    ["aot", {}, [good, good], 1, ["train.batchSize: objective aot needs at least two records in a batch"]],
    ["aot-unpaired", {}, [good, good], 1, ["objective aot-unpaired needs at least two", "Raise"]],
    ["kto", {}, [single, single], 1, ["train.batchSize: objective kto needs at least two records"]],
    ["kto", {}, [single, single, single], 2, ["3 records in batches of 2 leave one alone"]],
    ["kto", {}, [single], 4, ["there is one record", "Give more records"]],
    ["ipo", { beta: -0.1 }, [good], 1, ['option "beta" is not valid', "to be >0"]],
    ["kto", { beta: 0 }, [single], 2, ['option "beta" is not valid']],
    ["simpo", { beta: 0 }, [good], 1, ['option "beta" is not valid']],
    ["robust", { labelSmoothing: 0.5 }, [good], 1, ['option "labelSmoothing"', "less than 0.5"]],
    ["dpo", { labelSmoothing: -0.1 }, [good], 1, ['option "labelSmoothing" is not valid']],
    ["exo-pair", { labelSmoothing: 0 }, [good], 1, ['option "labelSmoothing" is not valid']],
    ["dpo", {}, [single], 1, ['data.jsonl:1: field "chosen"', "would do for: sft, kto", "bco"]],
    ["t-reg", {}, [good], 1, ['data.jsonl:1: field "tokenRewardsChosen" is missing', "would do for: dpo,"]],
    ["sppo", {}, [{ ...good, ...winRates }, good], 1, ['data.jsonl:2: field "chosenWinRate" is missing']],
    ["triple-po", {}, [good], 1, ['data.jsonl:1: field "gold"', "would do for: dpo,", "simpo"]],
    ["kto", {}, [{ ...single, label: undefined }], 2, ['field "label"', "would do for: sft"]],
    ["lipo", {}, [{ ...list(2), scores: undefined }], 1, ['data.jsonl:1: field "scores" is missing']],
    ["npo", {}, [good], 1, ['data.jsonl:1: field "forget"', "would do for: dpo,"]],
    ["rationale-po", {}, [good], 1, ['data.jsonl:1: field "rationale"', "would do for: dpo,"]],
    ["xpo", {}, [good], 1, ['data.jsonl:1: field "explored" is missing', "would do for: dpo,"]],
  ];
  test.each(unfit)("%s %j on %j in batches of %i", async (id, options, records, batchSize, parts) => {
    const result = await train(
      lines(...records),
      {},
      {
        method: undefined,
        objective: id,
        options,
        data: { train: "data.jsonl" },
        train: { steps: 1, batchSize },
      },
    );
    expect(result.status).toBe(2);
    expectOneLine(result, ...parts);
    expect(await readdir(result.out).catch(() => [])).not.toContain("model");
  });

  test("a recipe that is not there, and one that is not YAML", async () => {
    expectOneLine(
      await prefopt(["train", "nowhere.yaml"]),
      "nowhere.yaml: cannot be read: there is no such file",
    );
    await writeFile(join(folder, "broken.yaml"), "a: [1,");
    expectOneLine(await prefopt(["train", join(folder, "broken.yaml")]), "broken.yaml: is not valid YAML");
  });
});

describe("the command line", () => {
  test.each([
    [["trian"], "Did you mean train?"],
    [["train"], "recipe"],
    [["train", "x.yaml", "--outt", "y"], "--outt"],
    [["train", "recipes/sentiment-dpo.yaml", "--set", "train.steps"], "it has no value"],
    [["train", "recipes/sentiment-dpo.yaml", "--resume"], "--resume needs --out"],
    [["generate", "assets/reviews", "--prompt", "x", "--topP", "2"], "--topP is out of range"],
    [["generate", "assets/reviews", "--prompt", "x", "--maxTokens", "none"], "--maxTokens none"],
    [["loss", "dpo", "--options", "{"], "not valid JSON"],
    [["bench", "stepp"], "Did you mean step?"],
  ])("%j", async (args, part) => {
    const result = await prefopt(args, { input: "{}" });
    expect(result.status).toBe(2);
    expectOneLine(result, part);
  });
});

test("a disk that is full at checkpoint time", async () => {
  const disk = join(folder, "disk");
  await mkdir(disk);
  try {
    // Room for logs and samples, not for the 57 MB of a checkpoint.
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=8m", "tmpfs", disk], { stdio: "ignore" });
  } catch {
    console.log("skipped: a small disk can be mounted by root on Linux only");
    return;
  }
  try {
    const recipe = join(folder, "full.yaml");
    await writeFile(join(folder, "full.jsonl"), lines(good));
    await writeFile(
      recipe,
      JSON.stringify({
        method: "dpo",
        model,
        data: { train: "full.jsonl" },
        train: { steps: 3, batchSize: 1 },
        run: { checkpointEvery: 1 },
      }),
    );
    const result = await prefopt(["train", recipe, "--out", join(disk, "run")]);
    expect(result.status).toBe(1);
    expectOneLine(result, "the disk is full", "Free some space");
    const left = await readdir(join(disk, "run"));
    expect(left).not.toContain("model");
    expect(left).not.toContain("result.json");
    expect(await readdir(join(disk, "run", "checkpoints"))).toEqual([]);
  } finally {
    execFileSync("umount", [disk]);
  }
});
