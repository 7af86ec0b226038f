/** `prefopt data inspect` as it is called: data with a model, a recipe, pages and JSON. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { loadTokenizer } from "../src/text/tokenizer.ts";
import { prefopt, root } from "./command.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "prefopt-"));
});
afterAll(() => rm(folder, { recursive: true }));
const model = join(root, "assets/reviews");

test("data of another format with a model", async () => {
  const data = join(folder, "openai.jsonl");
  const turn = (role: string, content: string) => ({ role, content });
  await writeFile(
    data,
    JSON.stringify({
      input: { messages: [turn("user", "Rate it.")] },
      preferred_output: [turn("assistant", "A delight.")],
      non_preferred_output: [turn("assistant", "A mess.")],
    }),
  );
  const call = await prefopt(["data", "inspect", data, "--model", model, "--json"]);
  expect(call.status, call.stderr).toBe(0);
  const { format, rows } = JSON.parse(call.stdout) as {
    format: { name: string };
    rows: {
      trees: {
        prompt: { id: number }[];
        branches: { role: string; tokens: { id: number; mask: string }[] }[][];
      }[];
    }[];
  };
  expect(format.name).toBe("openai");
  const tokenizer = await loadTokenizer(model);
  const [{ prompt, branches }] = rows[0].trees;
  expect(tokenizer.decode(prompt.map((t) => t.id))).toContain("Rate it.");
  expect(branches.map(([p]) => [p.role, tokenizer.decode(p.tokens.map((t) => t.id))])).toEqual([
    ["chosen", "A delight.<|im_end|>"],
    ["rejected", "A mess.<|im_end|>"],
  ]);
  const text = await prefopt(["data", "inspect", data, "--model", model]);
  expect(text.stdout).toContain("OpenAI preference fine-tuning (has input.messages");
  expect(text.stdout).toMatch(/chosen +│A│ delight│\.│\[<\|im_end\|>\]│/);
});

test("a recipe's data as its run reads them, with its limits, and a page", async () => {
  const page = join(folder, "page.html");
  const args = [
    "data",
    "inspect",
    "recipes/sentiment-dpo.yaml",
    "--records",
    "2..3",
    "--set",
    "data.maxLength=12",
    "--set",
    "data.truncation=keep-end",
    "--ids",
    "--html",
    page,
  ];
  const call = await prefopt(args);
  expect(call.status, call.stderr).toBe(0);
  expect(call.stdout).toContain("most tokens  12, keep-end beyond");
  expect(call.stdout).toMatch(/train\.jsonl:2 {2}pair · .* truncated/);
  expect(call.stdout).toMatch(/~[^~│]+~\(\d+\)/);
  expect(call.stdout).not.toContain("train.jsonl:4");
  expect(await readFile(page, "utf8")).toContain("<h1>What is trained on</h1>");
});

test.each([
  [
    ["data", "inspect", "recipes/sentiment-dpo.yaml", "--records", "0"],
    "--records 0: it must be a number from 1",
  ],
  [
    ["data", "inspect", "assets/records/pairs.jsonl", "--model", "assets/reviews", "--records", "99"],
    "there is no record 99: it has 64",
  ],
  [["data", "inspect", "assets/records/pairs.jsonl", "--model", "nowhere"], "nowhere"],
  [["data", "inspect", "assets/records/pairs.jsonl"], "Name the model with --model"],
  [["data", "inspect", "nowhere.jsonl", "--model", "assets/reviews"], "nowhere.jsonl: cannot be read"],
])("%s", async (args, message) => {
  const { status, stderr } = await prefopt(args);
  expect(status).toBe(2);
  expect(stderr.trim().split("\n")).toHaveLength(1);
  expect(stderr).toContain(message);
});
