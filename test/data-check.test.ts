/** `prefopt data check` as it is called: a recipe with its held-out data, the page, JSON, --strict, --ches. */
import { mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
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
  expect(call.stderr.trim().split("\n").at(-1)).toBe(`prefopt: ${data}: 2 of 11 checks found errors`);
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

describe("--ches", () => {
  const pairs = "assets/preferences/test.jsonl";
  const args = ["data", "check", pairs, "--model", "assets/reviews"];

  test("scores, and the rows whose answers are least alike, unchanged", async () => {
    const [out, page] = [join(folder, "kept.jsonl"), join(folder, "ches.html")];
    const keep = ["--ches", "--keep", "0.05", "--out", out];
    const call = await prefopt([...args, ...keep, "--html", page, "--json"]);
    expect(call.status, call.stderr).toBe(0);
    const numbers = byId(call.stdout).get("displacement")?.numbers ?? {};
    expect(numbers["pairs scored"]).toBe(913);
    expect(numbers["lnChes 25 %"]).toBeLessThan(numbers["lnChes median"]);
    const { kept } = JSON.parse(call.stdout) as { kept: object };
    expect(kept).toEqual({
      out,
      measure: "lnChes",
      rows: 45, // ⌊0.05 · 913⌋
      of: 913,
      leftOut: { "more alike by lnChes": 868 },
    });
    const lines = (text: string) => text.trim().split("\n");
    const all = lines(await readFile(join(root, pairs), "utf8"));
    const written = lines(await readFile(out, "utf8"));
    expect(written).toHaveLength(45);
    const places = written.map((line) => all.indexOf(line));
    expect(places).toEqual([...places].sort((a, b) => a - b));
    expect(places[0]).toBeGreaterThanOrEqual(0);
    expect(await readFile(page, "utf8")).toContain("Likelihood displacement (CHES)");
    const again = await prefopt([...args, ...keep]);
    expect(again.status).toBe(2);
    expect(again.stderr).toContain(`${out}: the file is there already`);
  });

  test("an interrupt leaves nothing behind", async () => {
    const out = join(folder, "none.jsonl");
    let stopped = false;
    const call = await prefopt([...args, "--keep", "0.5", "--out", out], {
      watch: (child, text) => {
        if (stopped || !text.includes("reading the data")) return;
        stopped = true;
        child.kill("SIGINT");
      },
    });
    expect([call.status, stopped]).toEqual([130, true]);
    expect(call.stderr).toContain("interrupted; nothing was written");
    expect((await readdir(folder)).filter((name) => name.startsWith("none"))).toEqual([]);
  });

  test.each([
    [["--out", "x.jsonl"], "--out needs --keep"],
    [["--keep", "0.5"], "--keep needs --out"],
    [["--keep", "5", "--out", "x.jsonl"], "--keep 5: it is the share of the rows that is kept"],
    [["--measure", "ln-chess"], "Did you mean lnChes?"],
    [["--keep", "0.5", "--out", "x.csv"], "Name a file of the same kind"],
  ])("%j is refused", async (options, says) => {
    const call = await prefopt([...args, ...options]);
    expect([call.status, call.stdout]).toEqual([2, ""]);
    expect(call.stderr).toContain(says);
  });

  test("it needs a model", async () => {
    const call = await prefopt(["data", "check", pairs, "--ches"]);
    expect([call.status, call.stderr.includes("Name the model that will be trained")]).toEqual([2, true]);
  });
});
