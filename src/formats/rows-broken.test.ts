/**
 * Broken data files: 500 Parquet files and 500 tables and JSON files, cut, flipped, with huge lengths, wrong types, deep
 * nesting and NaN. Each is read or refused with a RequestError, in little time and with little memory.
 */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Rng, random } from "../engine/random.ts";
import { RequestError } from "../errors.ts";
import { readRows, writeRows } from "./rows.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "prefopt-"));
});
afterAll(() => rm(folder, { recursive: true }));
const fixture = (name: string) => new URL(`../../test/fixtures/tables/${name}`, import.meta.url).pathname;

/** What one file may cost: the files have some 15 kB. */
const most = { seconds: 5, bytes: 200e6 };

interface Watched {
  read: number;
  refused: number;
}

/** Reads a broken file to its end or to its error, and watches time and memory. */
async function watch(path: string, about: string, counts: Watched): Promise<void> {
  const before = process.memoryUsage();
  const began = performance.now();
  try {
    for await (const row of readRows(path)) JSON.stringify(row.value);
    counts.read++;
  } catch (error) {
    expect(error, about).toBeInstanceOf(RequestError);
    expect((error as RequestError).message, about).toContain(path);
    counts.refused++;
  }
  expect((performance.now() - began) / 1000, about).toBeLessThan(most.seconds);
  const after = process.memoryUsage();
  const grown = after.heapUsed + after.arrayBuffers - before.heapUsed - before.arrayBuffers;
  expect(grown, about).toBeLessThan(most.bytes);
}

/** Variable-length integers that claim far more than there is, and some that never end. */
const claims = [
  [0xff, 0xff, 0xff, 0xff, 0x0f],
  [0xff, 0xff, 0xff, 0xff, 0x7f],
  [0xfe, 0xff, 0xff, 0xff, 0x0f],
  [0x80, 0x80, 0x80, 0x80, 0x08],
  [0xff, 0xff, 0x7f],
  [0xff, 0xff, 0xff, 0x3f],
  [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
];

type Change = (bytes: Buffer, rng: Rng) => Buffer;

/** A place in the pages or in the footer, alike often. */
function place(bytes: Buffer, rng: Rng): number {
  const footer = Math.min(bytes.readUInt32LE(bytes.length - 8), bytes.length - 12);
  const start = bytes.length - 8 - footer;
  return rng.integer(2) ? 4 + rng.integer(start - 4) : start + rng.integer(footer + 8);
}

const parquetChanges: Readonly<Record<string, Change>> = {
  "other bytes": (b, rng) => {
    for (let k = 0; k <= rng.integer(8); k++) b[place(b, rng)] = rng.integer(256);
    return b;
  },
  "one bit": (b, rng) => {
    b[place(b, rng)] ^= 1 << rng.integer(8);
    return b;
  },
  "a huge length": (b, rng) => {
    const at = place(b, rng);
    for (const [i, byte] of claims[rng.integer(claims.length)].entries())
      if (at + i < b.length) b[at + i] = byte;
    return b;
  },
  "a part filled": (b, rng) => {
    const at = place(b, rng);
    return b.fill(rng.integer(2) ? 255 : rng.integer(256), at, at + 1 + rng.integer(200));
  },
  "a part removed": (b, rng) => {
    const at = place(b, rng);
    return Buffer.concat([b.subarray(0, at), b.subarray(at + 1 + rng.integer(50))]);
  },
  "cut short": (b, rng) => b.subarray(0, rng.integer(b.length)),
  "a footer of another length": (b, rng) => {
    b.writeUInt32LE(rng.integer(rng.integer(2) ? 2 ** 31 : b.length), b.length - 8);
    return b;
  },
};

test("500 broken Parquet files", async () => {
  const names = ["pages-v1", "pages-v2", "encodings", "snappy", "gzip", "brotli", "zstd", "lz4"];
  const whole = await Promise.all(names.map((name) => readFile(fixture(`${name}.parquet`))));
  const counts = { read: 0, refused: 0 };
  const path = join(folder, "broken.parquet");
  const changes = Object.entries(parquetChanges);
  for (let seed = 0; seed < 500; seed++) {
    const rng = random(seed, "parquet");
    const which = rng.integer(names.length);
    const [what, change] = changes[seed % changes.length];
    await writeFile(path, change(Buffer.from(whole[which]), rng));
    await watch(path, `seed ${seed}: ${names[which]}, ${what}`, counts);
  }
  expect(counts.refused).toBeGreaterThan(250);
  expect(counts.read).toBeGreaterThan(0); // bytes that nothing depends on
}, 300_000);

const textChanges: Readonly<Record<string, Change>> = {
  "other bytes": (b, rng) => {
    for (let k = 0; k <= rng.integer(8); k++) b[rng.integer(b.length)] = rng.integer(256);
    return b;
  },
  "signs of the format": (b, rng) => {
    for (let k = 0; k <= rng.integer(3); k++)
      b[rng.integer(b.length)] = '",[]{}:\\\n\t'.charCodeAt(rng.integer(10));
    return b;
  },
  "cut short": (b, rng) => b.subarray(0, rng.integer(b.length)),
  "deep nesting": (b, rng) => {
    const sign = ["[", '{"a":', '"'][rng.integer(3)];
    return inserted(b, rng, sign.repeat(1 + rng.integer(200_000)));
  },
  NaN: (b, rng) => inserted(b, rng, ["NaN", "-Infinity", "1e999", "0x10", "undefined"][rng.integer(5)]),
  "huge numbers": (b, rng) => inserted(b, rng, "9".repeat(1 + rng.integer(100_000))),
  "other types": (b, rng) => inserted(b, rng, ["null", "[]", "{}", "true", '""', "0"][rng.integer(6)]),
  "a part twice": (b, rng) => {
    const at = rng.integer(b.length);
    return Buffer.concat([b.subarray(0, at), b.subarray(rng.integer(at + 1))]);
  },
};

function inserted(bytes: Buffer, rng: Rng, text: string): Buffer {
  const at = rng.integer(bytes.length);
  return Buffer.concat([bytes.subarray(0, at), Buffer.from(text), bytes.subarray(at + rng.integer(20))]);
}

test("500 broken tables and JSON files", async () => {
  const ends = [".csv", ".tsv", ".json", ".jsonl", ".csv.gz", ".jsonl.gz"];
  const rows = [];
  for await (const { value } of readRows(fixture("rows.jsonl"))) rows.push(value as Record<string, unknown>);
  const whole = new Map<string, Buffer>();
  for (const end of ends) {
    await writeRows(join(folder, `whole${end}`), rows);
    whole.set(end, await readFile(join(folder, `whole${end}`)));
  }
  const counts = { read: 0, refused: 0 };
  const changes = Object.entries(textChanges);
  for (let seed = 0; seed < 500; seed++) {
    const rng = random(seed, "text");
    const end = ends[rng.integer(ends.length)];
    const [what, change] = changes[seed % changes.length];
    const path = join(folder, `broken${end}`);
    await writeFile(path, change(Buffer.from(whole.get(end) ?? []), rng));
    await watch(path, `seed ${seed}: ${end}, ${what}`, counts);
  }
  expect(counts.refused).toBeGreaterThan(250);
  expect(counts.read).toBeGreaterThan(0);
}, 300_000);
