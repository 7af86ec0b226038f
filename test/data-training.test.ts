/** Recipes take data of others as they are: the format is said, can be named, and fields that are not used are named. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { prefopt, root } from "./command.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "prefopt-"));
  process.env.PREFOPT_CACHE = join(folder, "cache");
});
afterAll(() => rm(folder, { recursive: true }));

let count = 0;
async function train(rows: readonly object[], data: Record<string, unknown> = {}) {
  const name = `data-${count++}.jsonl`;
  await writeFile(join(folder, name), rows.map((row) => JSON.stringify(row)).join("\n"));
  const recipe = {
    method: "dpo",
    model: join(root, "assets/reviews"),
    data: { train: name, ...data },
    train: { steps: 1, batchSize: 2 },
  };
  const file = join(folder, `${name}.yaml`);
  await writeFile(file, JSON.stringify(recipe));
  const out = join(folder, `run-${name}`);
  return { ...(await prefopt(["train", file, "--out", out])), data: join(folder, name), out };
}
const turn = (role: string, content: string) => ({ role, content });
const openai = (n: number) => ({
  input: { messages: [turn("user", `Rate film ${n}.`)] },
  preferred_output: [turn("assistant", "A delight.")],
  non_preferred_output: [turn("assistant", "A mess.")],
});

test("OpenAI's preference data train, and the run says what it read", async () => {
  const { status, stdout, stderr, data } = await train([openai(1), { ...openai(2), source: "web" }]);
  expect(status, stderr).toBe(0);
  expect(stdout).toContain(
    `${data}: read as OpenAI preference fine-tuning (has input.messages, preferred_output and non_preferred_output)`,
  );
  expect(stdout).toContain(`${data}: fields that are not used: source`);
});

test("the same pairs of every format train to the same bytes", async () => {
  const pairs = [1, 2].map((n) => ({
    question: `Rate film ${n}.`,
    chosen: "A delight.",
    rejected: "A mess.",
  }));
  const runs = [await train([openai(1), openai(2)]), await train(pairs)];
  const models = await Promise.all(runs.map(({ out }) => readFile(join(out, "model/model.safetensors"))));
  expect(models[0].equals(models[1])).toBe(true);
});

test("data.format names the format, and is wrong in one line", async () => {
  const transcript = {
    chosen: "\n\nHuman: Hi\n\nAssistant: Good",
    rejected: "\n\nHuman: Hi\n\nAssistant: Bad",
  };
  const turns = await train([transcript, transcript], { format: "hh-rlhf-turns" });
  expect(turns.status, turns.stderr).toBe(0);
  expect(turns.stdout).toContain("read as HH-RLHF transcripts, as turns (as asked for)");
  const unknown = await train([openai(1)], { format: "opnai" });
  expect(unknown.status).toBe(2);
  expect(unknown.stderr).toBe(
    `prefopt: ${unknown.data}: there is no data format "opnai". Did you mean openai?.\n`.replace("?.", "?"),
  );
  const other = await train([openai(1)], { format: "vertex" });
  expect(other.status).toBe(2);
  expect(other.stderr).toMatch(
    /:1: field "completions" cannot be used: it is missing; the row looks like OpenAI preference fine-tuning/,
  );
});

test("lists are no pairs, and the error says what they would do for", async () => {
  const list = {
    instruction: "q",
    completions: [
      { response: "a", overall_score: 2 },
      { response: "b", overall_score: 1 },
    ],
  };
  const { status, stderr } = await train([list]);
  expect(status).toBe(2);
  expect(stderr.trim().split("\n")).toHaveLength(1);
  expect(stderr).toContain("it would do as a record of prompt and completions");
});

test("a misspelt field is warned of once, in a run, in a check and where rows are looked at", async () => {
  const data = join(folder, "misspelt.jsonl");
  const record = { prompt: "The film is", chosen: " good.", rejected: " bad.", wieght: 2, source: "me" };
  await writeFile(data, `${JSON.stringify(record)}\n${JSON.stringify({ ...record, prompt: "It is" })}\n`);
  const warning = `field "wieght" of 2 rows is not used. Did you mean weight?`;
  const recipe = join(folder, "misspelt.yaml");
  const model = join(root, "assets/reviews");
  const train = { steps: 1, batchSize: 2 };
  await writeFile(recipe, JSON.stringify({ method: "dpo", model, data: { train: data }, train }));
  const run = await prefopt(["train", recipe, "--out", join(folder, "misspelt")]);
  expect(run.status, run.stderr).toBe(0);
  const said = run.stdout + run.stderr;
  expect(said.split(warning)).toHaveLength(2);
  expect(said).toContain("fields that are not used: source (2 rows)");
  const check = await prefopt(["data", "check", recipe]);
  expect(check.stdout).toContain(`! field "wieght" of 2 of 2 rows is not used`);
  expect(check.stdout).toContain(`· field "source" of 2 of 2 rows is not used`);
  expect((await prefopt(["data", "inspect", recipe])).stderr).toContain(warning);
});
