/**
 * Damaged files: 500 mutations of every binary format that is read. Each ends in a RequestError or in a file that can be
 * read; nothing hangs, and no list or buffer is made for a length that the file only claims.
 */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { type Rng, random } from "../engine/random.ts";
import { RequestError } from "../errors.ts";
import { tensorTypes } from "./gguf-types.ts";
import { openGguf } from "./gguf.ts";
import { openSafetensors } from "./safetensors.ts";
import { byteDamages, little } from "./testing.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "prefopt-fuzz-"));
});
afterAll(() => rm(folder, { recursive: true }));
afterEach(() => vi.unstubAllGlobals());
const models = new URL("../../test/fixtures/models/", import.meta.url).pathname;

/** Records how many elements arrays are made with, in bytes at least, while a test runs. */
function watchAllocations(): { largest: number } {
  const seen = { largest: 0 };
  for (const name of ["Array", "ArrayBuffer", "Uint8Array", "Float32Array"] as const) {
    const bytes = name === "Float32Array" ? 4 : 1;
    const watched = new Proxy(globalThis[name] as unknown as new (...args: unknown[]) => object, {
      construct(target, args, newTarget) {
        if (typeof args[0] === "number") seen.largest = Math.max(seen.largest, args[0] * bytes);
        return Reflect.construct(target, args, newTarget) as object;
      },
    });
    vi.stubGlobal(name, watched);
  }
  return seen;
}

const oddities = [
  "0",
  "-1",
  "1.5",
  "1e308",
  "9007199254740993",
  "null",
  '"F64"',
  '"a"',
  "[]",
  "{}",
  "[[]]",
  '"__proto__"',
];

/** Damage to the JSON of a safetensors file that leaves it JSON: one to three of its values or names become something else. */
function damagedJson(bytes: Uint8Array, rng: Rng): Uint8Array {
  const length = Number(new DataView(bytes.buffer).getBigUint64(0, true));
  let json = Buffer.from(bytes.subarray(8, 8 + length)).toString();
  for (let k = 0; k <= rng.integer(3); k++) {
    const parts = [...json.matchAll(/\d+|"[^"]*"|\[[^[\]]*\]|\{[^{}]*\}/g)];
    const { index, 0: part } = parts[rng.integer(parts.length)];
    json = json.slice(0, index) + oddities[rng.integer(oddities.length)] + json.slice(index + part.length);
  }
  const text = Buffer.from(json);
  return Buffer.concat([little(BigInt(text.length), 8), text, bytes.subarray(8 + length)]);
}

interface Opened {
  readonly tensors: ReadonlyMap<string, { readonly shape: readonly number[] }>;
  readFloat32(name: string): Promise<Float32Array>;
}

/** Opens and reads all of a file; bytes of the tensors as float32, or the error. */
async function readAll(open: (path: string) => Promise<Opened>, path: string): Promise<number | Error> {
  try {
    const file = await open(path);
    let bytes = 0;
    for (const name of file.tensors.keys()) bytes += (await file.readFloat32(name)).byteLength;
    return bytes;
  } catch (error) {
    return error as Error;
  }
}

/** Reads `count` damaged files and checks how each ends; returns how many were refused. */
async function survive(
  open: (path: string) => Promise<Opened>,
  count: number,
  damaged: (i: number) => Uint8Array,
): Promise<number> {
  const path = join(folder, "damaged");
  let refused = 0;
  for (let i = 0; i < count; i++) {
    const bytes = damaged(i);
    await writeFile(path, bytes);
    const seen = watchAllocations();
    const started = performance.now();
    const result = await readAll(open, path);
    const took = performance.now() - started;
    vi.unstubAllGlobals();
    if (result instanceof Error) {
      refused++;
      if (!(result instanceof RequestError)) throw result;
      expect(result.message.split("\n"), result.message).toHaveLength(1);
      expect(result.message).toContain(path);
    } else {
      expect(result).toBeLessThanOrEqual(bytes.length * expansion);
    }
    // Tables of half-precision values and the window on the header are of fixed size.
    expect(seen.largest).toBeLessThanOrEqual(Math.max(bytes.length * expansion, 1 << 20));
    expect(took).toBeLessThan(2000);
  }
  return refused;
}

/** Most float32 bytes that a byte of a file can stand for: the densest block type. */
const expansion = Math.max(...Object.values(tensorTypes).map((t) => (4 * t.elements) / t.bytes));

describe.each([
  ["gguf/blocks.gguf", openGguf, 2000],
  ["gguf/gpt2.gguf", openGguf, 2100],
  ["llama/model.safetensors", openSafetensors, 2800],
  ["llama_variants/half-bf16.safetensors", openSafetensors, 800],
] as const)("%s", (name, open, header) => {
  test("damaged in 500 ways ends in an error or in numbers, without claiming memory it does not have", async () => {
    const good = new Uint8Array(await readFile(models + name));
    const rng = random(1, "fuzz", name);
    const refused = await survive(open, 500, (i) =>
      byteDamages[i % byteDamages.length](good.slice(), Math.min(header, good.length), rng),
    );
    expect(refused).toBeGreaterThan(200);
  });
});

test("a safetensors file whose JSON says something else, 500 times", async () => {
  const good = new Uint8Array(await readFile(`${models}llama/model.safetensors`));
  const rng = random(1, "fuzz", "json");
  expect(await survive(openSafetensors, 500, () => damagedJson(good.slice(), rng))).toBeGreaterThan(400);
});
