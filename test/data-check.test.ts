/** `prefopt data check` as it is called: a recipe with its held-out data, the page, JSON, --strict. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { prefopt, root } from "./command.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "prefopt-"));
});
afterAll(() => rm(folder, { recursive: true }));

interface Report {
  records: number;
  checks: { id: string; status: string; numbers: Record<string, number> }[];
}
const byId = (stdout: string) => new Map((JSON.parse(stdout) as Report).checks.map((c) => [c.id, c]));

test("a recipe: its data, held-out data, model and limits; a page and JSON", async () => {
  const page = join(folder, "check.html");
  const set = ["--set", "data.maxLength=24"];
  const call = await prefopt([
    "data",
    "check",
    "recipes/sentiment-dpo.yaml",
    ...set,
    "--html",
    page,
    "--json",
  ]);
  expect(call.status, call.stderr).toBe(0);
  const checks = byId(call.stdout);
  expect(checks.get("unusable")?.numbers).toEqual({ records: 5505, usable: 5505 });
  expect(checks.get("leakage")?.numbers).toMatchObject({ held: 913, whole: 0 });
  expect(checks.get("length")?.numbers["choose the longer, accuracy"]).toBeCloseTo(0.5, 1);
  expect(checks.get("tokens")?.status).toBe("error"); // longer than 24, and truncation: error
  expect(await readFile(page, "utf8")).toContain("<h1>Check of");
});

test("a file of another format, told by line; --strict is for machines", async () => {
  const data = join(folder, "votes.jsonl");
  const vote = (winner: string, a: string, b: string) => {
    const turns = (content: string) => [
      { role: "user", content: "q" },
      { role: "assistant", content },
    ];
    return JSON.stringify({ winner, conversation_a: turns(a), conversation_b: turns(b) });
  };
  await writeFile(data, [vote("model_a", "x", "y"), vote("model_b", "same", "same"), "{}"].join("\n"));
  const call = await prefopt(["data", "check", data, "--strict"]);
  expect(call.status).toBe(1);
  expect(call.stderr.trim().split("\n").at(-1)).toBe(`prefopt: ${data}: 2 of 10 checks found errors`);
  expect(call.stdout).toContain(
    "3 records of Chatbot Arena votes (has conversation_a, conversation_b and winner)",
  );
  expect(call.stdout).toContain("✗ 1 of 3 records cannot be used");
  expect(call.stdout).toContain(`${data}:2  same`);
  expect((await prefopt(["data", "check", data])).status).toBe(0);
});

test("a file with itself held out", async () => {
  const pairs = join(root, "assets/records/pairs.jsonl");
  const call = await prefopt(["data", "check", pairs, "--against", pairs, "--json"]);
  expect(byId(call.stdout).get("leakage")).toMatchObject({
    status: "error",
    numbers: { held: 64, whole: 64 },
  });
});
