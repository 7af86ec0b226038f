/** `prefopt data convert` as it is called: rows on stdout or in a file, what happened in words or JSON, one line where it went wrong. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { jsonLines, prefopt, root } from "./command.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "prefopt-"));
});
afterAll(() => rm(folder, { recursive: true }));
const pairs = join(root, "assets/records/pairs.jsonl");

test("a file of pairs for OpenAI, and back as lines on stdout", async () => {
  const out = join(folder, "openai.jsonl");
  const made = await prefopt(["data", "convert", pairs, "--to", "openai", "--out", out, "--json"]);
  expect(made.status, made.stderr).toBe(0);
  expect(JSON.parse(made.stdout)).toMatchObject({
    from: { name: "prefopt", reason: "has prompt, chosen and rejected" },
    to: "openai",
    read: 64,
    written: 64,
    lost: [],
    leftOut: [],
    skipped: [],
    changed: [{ what: "plain text was written as turns of a user and an assistant", count: 64 }],
    out,
  });
  const back = await prefopt(["data", "convert", out, "--to", "axolotl-intel"]);
  expect(back.status).toBe(0);
  expect(back.stderr).toContain(
    "read 64 rows of OpenAI preference fine-tuning (has input.messages, preferred_output",
  );
  const rows = jsonLines(back.stdout);
  expect(rows).toHaveLength(64);
  const [first] = jsonLines(await readFile(pairs, "utf8"));
  expect(rows[0]).toEqual({ question: first.prompt, chosen: first.chosen, rejected: first.rejected });
});

test("what is left out is listed", async () => {
  const path = join(folder, "soft.jsonl");
  await writeFile(
    path,
    '{"prompt": "p", "chosen": "a", "rejected": "b", "chosenProb": 0.6, "source": "web"}\n',
  );
  const out = join(folder, "soft-out.jsonl");
  const strict = await prefopt(["data", "convert", path, "--to", "sagemaker", "--out", out]);
  expect(strict.status).toBe(2);
  expect(strict.stderr).toBe(
    `prefopt: ${path}:1: field "chosenProb" has no place in SageMaker AI preference data. Give --lossy to leave such fields out; they are counted and listed.\n`,
  );
  const lossy = await prefopt(["data", "convert", path, "--to", "sagemaker", "--out", out, "--lossy"]);
  expect(lossy.status).toBe(0);
  expect(lossy.stdout).toContain(`left out field chosenProb: 1, first at ${path}:1`);
  expect(lossy.stdout).toContain(`left out field source: 1, first at ${path}:1`);
});

test.each([
  [["data"], "prefopt data needs to be told what"],
  [["data", "convertt"], "Did you mean data convert?"],
  [["data", "convert", pairs], "required option '--to <format>' not specified"],
  [["data", "convert", pairs, "--to", "opnai"], "Did you mean openai?"],
  [["data", "convert", pairs, "--to", "trl", "--json"], "--json needs --out"],
  [
    ["data", "convert", "nowhere.jsonl", "--to", "trl"],
    "nowhere.jsonl: cannot be read: there is no such file",
  ],
  [
    ["data", "convert", pairs, "--to", "trl", "--out", "x.xlsx"],
    "x.xlsx: files that end in .xlsx are not data files",
  ],
  [["data", "convert", pairs, "--to", "trl", "--limits", "off"], "--limits off: it must be error or warn"],
])("%s", async (args, message) => {
  const { status, stderr } = await prefopt(args, { cwd: folder });
  expect(status).toBe(2);
  expect(stderr.trim().split("\n")).toHaveLength(1);
  expect(stderr).toContain(message);
});
