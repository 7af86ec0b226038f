/** Files of rows: what is written comes back, what others wrote is read alike, and what is wrong has one line that says where. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync, gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { RequestError } from "../errors.ts";
import { readRows, writeRows } from "./rows.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "prefopt-"));
});
afterAll(() => rm(folder, { recursive: true }));
const at = (name: string) => join(folder, name);
const fixture = (name: string) => new URL(`../../test/fixtures/tables/${name}`, import.meta.url).pathname;

async function rowsOf(path: string) {
  const rows = [];
  for await (const row of readRows(path)) rows.push(row);
  return rows;
}
const valuesOf = async (path: string) => (await rowsOf(path)).map((r) => r.value);
async function rowsOfText(name: string, text: string | Uint8Array) {
  await writeFile(at(name), text);
  return rowsOf(at(name));
}
/** The error of reading a text under a name, without the folder. */
async function refusal(name: string, text: string | Uint8Array): Promise<string> {
  const error = await rowsOfText(name, text).catch((e: unknown) => e);
  expect(error).toBeInstanceOf(RequestError);
  return (error as Error).message.replace(at(""), "");
}

const records = Array.from({ length: 300 }, (_, i) => ({
  prompt: `Say "${i}",\n${i % 2 ? "\tplease" : "é 😀 "}`,
  chosen: [
    { role: "user", content: `q${i}` },
    { role: "assistant", content: "a".repeat(i % 40) },
  ],
  ids: Array.from({ length: i % 4 }, (_, k) => k * i),
  score: i / 8,
  count: i - 100,
  good: i % 3 === 0,
  ...(i % 5 === 0 && { weight: 0.5 }),
  about: { year: 1900 + i, ...(i % 2 === 0 && { by: { name: `n${i}` } }) },
}));

describe("there and back", () => {
  test.each(["x.jsonl", "x.ndjson", "x.json", "x.parquet", "x.jsonl.gz", "x.json.gz", "X.JSONL"])(
    "%s",
    async (name) => {
      await writeRows(at(name), records);
      expect(await valuesOf(at(name))).toEqual(records);
    },
  );
  test.each(["x.csv", "x.tsv", "x.csv.gz"])("%s, where every cell is text", async (name) => {
    await writeRows(at(name), records);
    const read = (await valuesOf(at(name))) as Record<string, string>[];
    expect(read.map((r) => r.prompt)).toEqual(records.map((r) => r.prompt));
    expect(read.map((r) => JSON.parse(r.chosen) as unknown)).toEqual(records.map((r) => r.chosen));
    expect(read.map((r) => Number(r.score))).toEqual(records.map((r) => r.score));
    expect(read[1].weight).toBe("");
  });
  test("a table of one column with empty cells", async () => {
    await writeRows(at("one.csv"), [{ a: "" }, { a: "x" }, { a: " y" }]);
    expect(await valuesOf(at("one.csv"))).toEqual([{ a: "" }, { a: "x" }, { a: " y" }]);
  });
  test("streams, once or as often as wanted, give the same files as lists", async () => {
    const stream = async function* () {
      for (const row of records) yield await Promise.resolve(row);
    };
    for (const end of ["jsonl", "csv", "parquet"]) {
      await writeRows(at(`list.${end}`), records);
      await writeRows(at(`once.${end}`), stream());
      await writeRows(at(`again.${end}`), stream);
      const list = await readFile(at(`list.${end}`));
      expect(await readFile(at(`once.${end}`))).toEqual(list);
      expect(await readFile(at(`again.${end}`))).toEqual(list);
    }
    await writeRows(at("packed.jsonl.gz"), stream());
    expect(gunzipSync(await readFile(at("packed.jsonl.gz"))).toString()).toBe(
      await readFile(at("list.jsonl"), "utf8"),
    );
  });
  test("Parquet in several row groups, with bytes and mixed numbers", async () => {
    const many = Array.from({ length: 25_000 }, (_, i) => ({
      i,
      x: i % 2 ? i : i + 0.5,
      b: Uint8Array.of(i % 256),
    }));
    await writeRows(at("many.parquet"), many);
    const read = await rowsOf(at("many.parquet"));
    expect(read.length).toBe(25_000);
    expect([read[0], read[12_345], read[24_999]]).toEqual(
      [0, 12_345, 24_999].map((i) => ({ line: i + 1, value: many[i] })),
    );
  });
});

describe("written by others", () => {
  test.each(["snappy", "gzip", "brotli", "zstd", "lz4", "pages-v1", "pages-v2", "encodings"])(
    "pyarrow's %s.parquet",
    async (name) => {
      const expected = (await valuesOf(fixture("rows.jsonl"))) as Record<string, unknown>[];
      // In JSON lines an absent field may be null.
      const given = expected.map((row) =>
        Object.fromEntries(Object.entries(row).filter(([, v]) => v !== null)),
      );
      const read = await rowsOf(fixture(`${name}.parquet`));
      expect(read.map((r) => r.value)).toEqual(given);
      expect(read.map((r) => r.line)).toEqual(given.map((_, i) => i + 1));
    },
  );
});

describe("text formats", () => {
  test("tables: byte-order mark, quotes, line breaks in quotes, every line end", async () => {
    const rows = await rowsOfText("t.csv", '\uFEFFa,b\n1,"x\r\n""y"""\r\n\n3,4\r5,6');
    expect(rows).toEqual([
      { line: 2, value: { a: "1", b: 'x\r\n"y"' } },
      { line: 5, value: { a: "3", b: "4" } },
      { line: 6, value: { a: "5", b: "6" } },
    ]);
  });
  test("JSON: a list, or a list under data or rows", async () => {
    const rows = [
      { line: 1, value: { a: "]" } },
      { line: 2, value: [1, '\\"'] },
    ];
    expect(await rowsOfText("l.json", '\uFEFF [ {"a":"]"} ,\n[1,"\\\\\\""] ]\n')).toEqual(rows);
    for (const key of ["data", "rows"]) {
      const text = `{"version": {"a": [1]}, "${key}": [{"a":"]"}, [1,"\\\\\\""]], "n": 3}`;
      expect(await rowsOfText("o.json", text)).toEqual(rows);
    }
  });
  test("JSON lines under the name .json are read as lines", async () => {
    expect(await rowsOfText("lines.json", '{"data":[1]}\n{"a":2}\n')).toEqual([
      { line: 1, value: { data: [1] } },
      { line: 2, value: { a: 2 } },
    ]);
  });
  test("a large list and a large line are read in time proportional to them", async () => {
    const long = JSON.stringify("x".repeat(3e7));
    expect((await rowsOfText("long.jsonl", `${long}\n${long}`)).length).toBe(2);
    expect((await rowsOfText("long.json", `[${long},\n${long}]`)).length).toBe(2);
    expect((await rowsOfText("deep.json", `[${"[1],".repeat(1e6)}1]`)).length).toBe(1e6 + 1);
  }, 60_000);
});

describe("refused, with file and line", () => {
  test.each<[string, string, string | Uint8Array, string]>([
    [
      "a ragged row",
      "a.csv",
      "a,b\n1,2\n1,2,3\n",
      "a.csv:3: the row has 3 cells: the header has 2: a, b. Quote",
    ],
    [
      "a quote that is never closed",
      "a.csv",
      'a,b\n1,2\n"3,4\n5,6\n',
      "a.csv:3: is not a valid table: a quote is never",
    ],
    [
      "a quote in the middle",
      "a.csv",
      'a,b\n1,x"y"\n',
      "a.csv:2: is not a valid table: there is a quote inside",
    ],
    ["two columns of one name", "a.csv", "a,a\n1,2\n", 'a.csv:1: two columns are named "a"'],
    ["a column without a name", "a.csv", "a,,c\n1,2,3\n", "a.csv:1: column 2 has no name"],
    ["semicolons", "a.csv", "a;b\n1;2\n", "it seems to be separated by semicolons"],
    ["a header alone", "a.csv", "a,b\n", "a.csv: has a header and no rows"],
    ["an empty table", "a.csv", "", "a.csv: is empty"],
    [
      "bytes that are no UTF-8",
      "a.csv",
      Uint8Array.of(97, 10, 98, 10, 0xff, 10),
      "a.csv:3: is not text in UTF-8",
    ],
    ["the same in JSON lines", "a.jsonl", Uint8Array.of(49, 10, 0xc3, 10), "a.jsonl:2: is not text in UTF-8"],
    ["a line cut in a character", "a.jsonl", Uint8Array.of(34, 0xc3), "a.jsonl:1: is not text in UTF-8"],
    ["NaN", "a.jsonl", '{"a":1}\n{"a":NaN}\n', "a.jsonl:2: is not valid JSON"],
    [
      "deep nesting",
      "a.jsonl",
      "[".repeat(1e6),
      "a.jsonl:1: is not valid JSON: it is nested more than 200 deep",
    ],
    [
      "deep nesting in a list",
      "a.json",
      `[1,${'{"a":'.repeat(1e5)}`,
      "a.json:1: is not valid JSON: the file ends",
    ],
    [
      "a list cut short",
      "a.json",
      '[{"a":1},\n{"a"',
      "a.json:2: is not valid JSON: the file ends in the middle",
    ],
    ["a broken record", "a.json", '[{"a":1},\n{"a":tru}]', "a.json, record 2 (line 2): is not valid JSON"],
    ["a comma too many", "a.json", "[1,]", 'there is "]" where a record should be'],
    ["something behind the list", "a.json", "[1] 2", 'there is "2" where nothing should be'],
    [
      "an object without a list",
      "a.json",
      '{"a":1,"b":[]}',
      "with no list under data or rows; its keys: a, b",
    ],
    ["two lists", "a.json", '{"data":[1],"rows":[2]}', "holds two lists, data and rows"],
    ["an empty list", "a.json", '{"data":[]}', "a.json: is an empty list"],
    [
      "a gzip file cut short",
      "a.jsonl.gz",
      gzipSync("1\n".repeat(1e4)).subarray(0, 40),
      "is not a whole gzip file",
    ],
    ["no gzip file", "a.csv.gz", "a,b\n1,2\n", "a.csv.gz: is not a whole gzip file: incorrect header check"],
    ["no Parquet file", "a.parquet", "a,b\n1,2\n3,4\n", "it does not begin with PAR1"],
    ["a folder of another kind", "a.xlsx", "", "files that end in .xlsx are not data files"],
    ["a misspelt end", "a.jsnl", "", "Did you mean .jsonl?"],
  ])("%s", async (_, name, text, part) => {
    expect(await refusal(name, text)).toContain(part);
  });
  test("a Parquet file cut short, and an integer that numbers cannot hold", async () => {
    const bytes = await readFile(fixture("snappy.parquet"));
    expect(await refusal("cut.parquet", bytes.subarray(0, 9000))).toContain("it does not end with PAR1");
    // 2^60 in a column of one row, the library's way.
    const { parquetWriteBuffer } = await import("hyparquet-writer");
    const columnData = [{ name: "x", data: [2n ** 60n], type: "INT64" as const }];
    expect(await refusal("big.parquet", new Uint8Array(parquetWriteBuffer({ columnData })))).toContain(
      "big.parquet, row 1, column x: integer 1152921504606846976 cannot be kept exactly",
    );
  });
  test("a changed page is found by its checksum", async () => {
    const bytes = await readFile(fixture("pages-v1.parquet"));
    bytes[bytes.indexOf("Film 3 is") + 5] = 57;
    expect(await refusal("changed.parquet", bytes)).toContain(
      "column prompt: is not a Parquet file that can be read: a page whose checksum is wrong",
    );
  });
});

describe("writing refuses what a format cannot hold", () => {
  test.each<[string, string, Record<string, unknown>[], string]>([
    [
      "text and lists in one column",
      "w.parquet",
      [{ a: "x" }, { a: [1] }],
      'w.parquet, row 2: field "a" is a list: it is text in a row before',
    ],
    [
      "text and numbers deep in a column",
      "w.parquet",
      [{ a: [{ b: 1 }] }, { a: [{ b: "x" }] }],
      'field "a[].b" is text',
    ],
    ["a date", "w.parquet", [{ a: new Date(0) }], "it is a Date"],
    [
      "NaN in JSON",
      "w.jsonl",
      [{ a: 1 }, { a: { b: NaN } }],
      'w.jsonl:2: field "b" cannot be written as JSON: it is NaN',
    ],
    ["bytes in a table", "w.csv", [{ a: Uint8Array.of(1) }], "it holds bytes"],
    ["nothing at all", "w.parquet", [], "there is nothing to write"],
  ])("%s, and leaves no file", async (_, name, rows, part) => {
    await rm(at(name), { force: true });
    const error = await writeRows(at(name), rows).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(RequestError);
    expect(String(error)).toContain(part);
    await expect(readFile(at(name))).rejects.toThrow("ENOENT");
  });
});
