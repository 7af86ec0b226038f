/** Rows that are chosen by place go over as they are, whole or not at all. */
import { mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { afterAll, beforeAll, expect, test } from "vitest";
import { copyRows } from "./copy-rows.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "prefopt-"));
});
afterAll(() => rm(folder, { recursive: true }));

const place = (name: string) => join(folder, name);

test("lines of JSON go over to the letter: spaces, numbers, blank lines counted", async () => {
  const path = place("a.jsonl");
  await writeFile(path, '{"n": 1.0, "id": 12345678901234567890}\n\n{ "n":2 }\r\n{"n":3}');
  const from = [{ path, lines: new Set([1, 3]) }];
  expect(await copyRows(from, place("b.jsonl"))).toBe(2);
  const wanted = '{"n": 1.0, "id": 12345678901234567890}\n{ "n":2 }\n';
  expect(await readFile(place("b.jsonl"), "utf8")).toBe(wanted);
  await copyRows(from, place("b.jsonl.gz"));
  expect(gunzipSync(await readFile(place("b.jsonl.gz"))).toString()).toBe(wanted);
});

test("other kinds go over by their values; text cells only into tables", async () => {
  const path = place("a.json");
  await writeFile(path, '[{"n":1},{"n":2},{"n":3}]');
  await copyRows([{ path, lines: new Set([2]) }], place("c.jsonl"));
  expect(await readFile(place("c.jsonl"), "utf8")).toBe('{"n":2}\n');
  const table = place("a.csv");
  await writeFile(table, "n,text\n1,a\n2,b\n");
  await copyRows([{ path: table, lines: new Set([3]) }], place("c.csv"));
  expect((await readFile(place("c.csv"), "utf8")).trim().split(/\r?\n/)).toEqual(["n,text", "2,b"]);
  const into = copyRows([{ path: table, lines: new Set([3]) }], place("d.jsonl"));
  await expect(into).rejects.toThrow("Name a file of the same kind");
});

test("nothing is overwritten unasked, and nothing is left over when it is stopped", async () => {
  const path = place("a.jsonl");
  const from = [{ path, lines: new Set([1]) }];
  await writeFile(place("kept.jsonl"), "mine");
  await expect(copyRows(from, place("kept.jsonl"))).rejects.toThrow("the file is there already");
  const signal = AbortSignal.abort(new Error("stop"));
  await expect(copyRows(from, place("kept.jsonl"), { force: true, signal })).rejects.toThrow("stop");
  expect(await readFile(place("kept.jsonl"), "utf8")).toBe("mine");
  expect((await readdir(folder)).filter((name) => name.endsWith(".partial"))).toEqual([]);
  await copyRows(from, place("kept.jsonl"), { force: true });
  expect(await readFile(place("kept.jsonl"), "utf8")).toContain('"n": 1.0');
});
