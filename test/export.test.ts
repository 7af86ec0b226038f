/** `prefopt export` as people call it: what it prints, what it refuses, and that what it makes is a MODEL again. */
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { jsonLines, prefopt, root } from "./command.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "prefopt-"));
});
afterAll(() => rm(folder, { recursive: true }));

const reviews = join(root, "assets/reviews");
const input = '{"prompt": "The film is", "completion": " a delight."}\n';

test("a model goes to GGUF and back to a folder, and scores the same", async () => {
  const file = join(folder, "reviews.gguf");
  const there = await prefopt(["export", reviews, "--to", "gguf", "--out", file, "--json"]);
  expect(there.status, there.stderr).toBe(0);
  const [result] = jsonLines(there.stdout);
  expect(result).toMatchObject({ path: file, format: "gguf", dtype: "F32", maxDifference: 0, warnings: [] });
  expect(result.tokens).toBeGreaterThan(100);
  const back = join(folder, "back");
  const again = await prefopt(["export", file, "--to", "safetensors", "--out", back]);
  expect(again.status, again.stderr).toBe(0);
  expect(again.stdout).toMatch(
    /back: safetensors, F32, in \d+ s\. Log-probabilities of \d+ tokens differ from the model's by/,
  );
  const score = async (model: string) => (await prefopt(["score", model], { input })).stdout;
  expect(await score(back)).toBe(await score(reviews));
  expect((await readdir(folder)).sort()).toEqual(["back", "reviews.gguf"]);
});

test("warnings of a format are shown", async () => {
  const model = join(root, "test/fixtures/models/gemma2");
  const { status, stderr } = await prefopt([
    "export",
    model,
    "--to",
    "gguf",
    "--out",
    join(folder, "gemma2.gguf"),
  ]);
  expect(status).toBe(0);
  expect(stderr).toContain("prefopt: warning: llama.cpp knows no other score scale");
});

test.each([
  [["--out", "x"], "required option '--to"],
  [["--to", "onnx"], "required option '--out"],
  [["--to", "ggml", "--out", "x"], 'there is no format "ggml"'],
  [["--to", "gguf", "--out", "x"], "Call it x.gguf"],
  [["--to", "onnx", "--out", "x", "--dtype", "int4"], 'there is no type of onnx "int4"'],
  [["--to", "onnx", "--out", join(root, "assets/reviews")], "add --overwrite"],
])("%j is refused before the model is read", async (args, message) => {
  const { status, stderr } = await prefopt(["export", "no-such-model", ...args]);
  expect(status).toBe(2);
  expect(stderr.trim().split("\n")).toHaveLength(1);
  expect(stderr).toContain(message);
});

test("the help shows formats and types", async () => {
  const { stdout } = await prefopt(["export", "--help"]);
  for (const part of ["safetensors", "onnx", "gguf", "Q8_0", "--overwrite", "Example:"])
    expect(stdout).toContain(part);
});
