/** GGUF files: every tensor and metadata type against expected values, files written to the byte, broken ones refused. */
import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { random } from "../engine/random.ts";
import { RequestError, WorkError } from "../errors.ts";
import { type GgufMetadata, type GgufValue, metadataReader, shortest, string, u32 } from "./gguf-metadata.ts";
import { type TensorType, tensorTypes } from "./gguf-types.ts";
import { type GgufTensorData, writeGguf } from "./gguf-write.ts";
import { openGguf } from "./gguf.ts";
import { numberToF16 } from "./half.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "prefopt-gguf-"));
});
afterAll(() => rm(folder, { recursive: true }));
const at = (name: string) => join(folder, name);
const fixtures = new URL("../../test/fixtures/models/gguf/", import.meta.url).pathname;

interface Golden {
  blocks: {
    metadata: Record<string, unknown>;
    tensors: Record<
      string,
      { type: string; shape: number[]; first: number[]; last: number[]; sum: number; indexSum: number }
    >;
  };
}
const { blocks } = JSON.parse(await readFile(`${fixtures}golden.json`, "utf8")) as Golden;

describe("the file with one tensor of every type", () => {
  test("has the expected metadata, of every type", async () => {
    const { metadata } = await openGguf(`${fixtures}blocks.gguf`);
    const plain = (v: GgufValue) => {
      if (v.type !== "array") return typeof v.value === "bigint" ? String(v.value) : v.value;
      return [...(v.value as Iterable<unknown>)].map((x) => (v.of === "bool" ? x === 1 : x));
    };
    const read = Object.fromEntries([...metadata].map(([key, value]) => [key, plain(value)]));
    // The library that made the file leaves empty strings out; that they are read is tested below.
    const { "test.empty": empty, ...written } = blocks.metadata;
    expect(empty).toBe("");
    expect(read).toEqual(written);
    expect([...metadata.values()].map((v) => v.type)).toEqual(
      expect.arrayContaining(["u8", "i8", "u16", "i16", "u32", "i32", "f32", "u64", "i64", "f64", "bool"]),
    );
  });
  test("covers every type that is read", () => {
    const types = Object.values(blocks.tensors).map((t) => t.type);
    expect(types.sort()).toEqual(Object.keys(tensorTypes).sort());
  });
  test.each(Object.entries(blocks.tensors))("%s has the expected values", async (name, expected) => {
    const file = await openGguf(`${fixtures}blocks.gguf`);
    expect(file.alignment).toBe(64);
    const { type, shape } = file.tensors.get(name) ?? {};
    expect({ type, shape }).toEqual({ type: expected.type, shape: expected.shape });
    const values = await file.readFloat32(name);
    const close = (found: number, wanted: number) =>
      expect(Math.abs(found - wanted)).toBeLessThanOrEqual(1e-7 * Math.max(1, Math.abs(wanted)));
    expected.first.forEach((wanted, i) => close(values[i], wanted));
    expected.last.forEach((wanted, i) => close(values[values.length - expected.last.length + i], wanted));
    close(
      values.reduce((sum, y) => sum + y, 0),
      expected.sum,
    );
    close(
      values.reduce((sum, y, k) => sum + (k + 1) * y, 0),
      expected.indexSum,
    );
  });
});

describe("dequantisation, worked by hand", () => {
  // Payload byte k, counted after leading binary16 fields, is (37k + 11) mod 256.
  const [half, minusOne, quarter, sixteenth] = [0x3800, 0xbc00, 0x3400, 0x2c00];
  test.each([
    ["Q4_0", [half], [], [1.5, -4, -1, -4, -3.5, -2.5], -15.5, -303.5],
    ["Q4_1", [half, minusOne], [], [4.5, -1, 2, -1, -0.5, 0.5], 80.5, 1280.5],
    ["Q5_0", [half], [], [7.5, 2, -3, 4.5, 5, -2], -21.5, -168.5],
    ["Q5_1", [half, minusOne], [], [14.5, 9, 4, 11.5, 12, 5], 202.5, 3527.5],
    ["Q8_0", [quarter], [], [2.75, 12, 13.5, 22.75, 24.25, -30.5], 4, -972],
    ["Q4_K", [quarter, sixteenth], [], [17.3125, 31.0625, 202.125, 3.0625, 66.875, 8.375], 11612, 1351043],
    ["Q5_K", [quarter, sixteenth], [], [61.3125, 31.0625, 115.125, 3.0625, 39.875, 53.375], 23568, 2741879],
    ["Q6_K", [], [quarter], [-357.75, 424, 375, -87.75, -10, -15], 1153, 196105],
    ["Q2_K", [], [quarter, sixteenth], [8.25, 0, 10.5, 2.0625, 1.3125, 1.3125], 619.75, 75243],
    ["Q3_K", [], [quarter], [20.25, -27, 18, 0.5, -7, 10.5], 239.5, 44286.25],
  ] as const)("%s", (name, leading, trailing, sample, sum, indexSum) => {
    const type: TensorType = tensorTypes[name];
    const bytes = new Uint8Array(type.bytes);
    const halves = (values: readonly number[]) => values.flatMap((h) => [h & 255, h >> 8]);
    const [head, tail] = [halves(leading), halves(trailing)];
    bytes.set(head);
    for (let k = 0; k < type.bytes - head.length - tail.length; k++)
      bytes[head.length + k] = (37 * k + 11) % 256;
    bytes.set(tail, type.bytes - tail.length);
    const y = new Float32Array(type.elements);
    type.decode(bytes, y);
    const n = type.elements;
    expect([0, 1, n / 2 - 1, n / 2, n - 2, n - 1].map((i) => y[i])).toEqual(sample);
    expect(y.reduce((a, b) => a + b, 0)).toBe(sum);
    expect(y.reduce((a, b, i) => a + (i + 1) * b, 0)).toBe(indexSum);
  });
});

describe("quantisation", () => {
  test("Q8_0 rounds half away from zero and divides by the scale before it is stored", () => {
    const data = new Float32Array(32);
    data.set([1.27, -0.635, 0.004]);
    const bytes = tensorTypes.Q8_0.encode(data);
    expect(bytes[0] | (bytes[1] << 8)).toBe(numberToF16(0.01));
    expect([...new Int8Array(bytes.buffer, 2, 4)]).toEqual([127, -64, 0, 0]);
  });
  test("Q4_0 takes its scale from the first element of largest size, with its sign", () => {
    const data = new Float32Array(32);
    data.set([-4, 4, 1, 3.7]); // d = 0.5: q = x / 0.5 + 8, at most 15
    data[16] = -1.3; // -2.6 + 8.5 = 5.9
    const bytes = tensorTypes.Q4_0.encode(data);
    expect(bytes[0] | (bytes[1] << 8)).toBe(0x3800);
    expect([...bytes.subarray(2, 6)].map((b) => b & 15)).toEqual([0, 15, 10, 15]);
    expect(bytes[2] >> 4).toBe(5);
  });
  test.each(["Q8_0", "Q4_0"] as const)(
    "%s: zeros stay zeros; random values come back within a step",
    (type) => {
      const { encode, decode } = tensorTypes[type];
      const out = new Float32Array(320);
      decode(encode(new Float32Array(320)), out);
      expect(out.every((y) => y === 0)).toBe(true);
      const rng = random(1, "quantise");
      const data = Float32Array.from(out, () => rng.normal());
      decode(encode(data), out);
      for (let b = 0; b < 320; b += 32) {
        const largest = Math.max(...data.subarray(b, b + 32).map(Math.abs));
        // Half a step, or a whole one at the far end that four bits cut off; a little for the scale's own rounding.
        const step = type === "Q8_0" ? largest / 127 / 2 : largest / 8;
        for (let i = b; i < b + 32; i++)
          expect(Math.abs(out[i] - data[i])).toBeLessThan(step * 1.001 + largest / 1000);
      }
    },
  );
});

const metadata = (entries: Record<string, GgufValue> = {}): GgufMetadata =>
  new Map(Object.entries({ "general.architecture": string("llama"), ...entries }));
const tensor = (
  name: string,
  shape: number[],
  values: Float32Array,
  type: GgufTensorData["type"] = "F32",
) => ({
  name,
  shape,
  type,
  data: () => values,
});

describe("writing", () => {
  test("the worked file of 160 bytes", async () => {
    await writeGguf(at("worked.gguf"), metadata(), [
      tensor("output_norm.weight", [4], Float32Array.of(1, 2, 3, 4)),
    ]);
    const bytes = await readFile(at("worked.gguf"));
    expect(bytes).toHaveLength(160);
    expect(bytes.subarray(0, 24).toString("hex")).toBe(
      "47475546030000000100000000000000" + "0100000000000000",
    );
    expect(bytes.subarray(64, 69).toString()).toBe("llama"); // keys end at byte 69
    expect(bytes.subarray(119, 128).every((b) => b === 0)).toBe(true); // infos end at 119
    expect([...new Float32Array(bytes.buffer.slice(bytes.byteOffset + 128, bytes.byteOffset + 144))]).toEqual(
      [1, 2, 3, 4],
    );
  });
  test("metadata of every type comes back as it was", async () => {
    const { metadata: given } = await openGguf(`${fixtures}blocks.gguf`);
    const kept = new Map([...given].filter(([key]) => key !== "general.alignment"));
    kept.set("test.empty", string(""));
    await writeGguf(at("metadata.gguf"), kept, []);
    expect((await openGguf(at("metadata.gguf"))).metadata).toEqual(kept);
  });
  test("tensors of every written type, larger than what is encoded at once, padded one after the other", async () => {
    const rng = random(2, "tensors");
    const types = ["F32", "F16", "BF16", "Q8_0", "Q4_0"] as const;
    const values = Float32Array.from({ length: 3 * 2 ** 19 }, () => rng.uniform() - 0.5);
    await writeGguf(at("types.gguf"), metadata(), [
      ...types.map((type) => tensor(type, [1024, 1536], values, type)),
      tensor("odd", [3], Float32Array.of(1, 2, 3)),
      tensor("scalar", [], Float32Array.of(7)),
      tensor("empty", [0, 4], new Float32Array(0)),
    ]);
    const file = await openGguf(at("types.gguf"));
    for (const type of types) {
      const { encode, decode, bytes }: TensorType = tensorTypes[type];
      const expected = new Float32Array(values.length);
      decode(encode?.(values) ?? new Uint8Array(), expected);
      const read = await file.readFloat32(type);
      expect(Buffer.compare(Buffer.from(read.buffer), Buffer.from(expected.buffer))).toBe(0);
      expect(file.tensors.get(type)?.end).toBe(
        (file.tensors.get(type)?.begin ?? 0) + (values.length / tensorTypes[type].elements) * bytes,
      );
    }
    expect([...(await file.readFloat32("odd"))]).toEqual([1, 2, 3]);
    expect([...(await file.readFloat32("scalar"))]).toEqual([7]);
    expect(file.tensors.get("empty")?.elements).toBe(0);
    expect((await stat(at("types.gguf"))).size % 32).toBe(0);
  });
  test.each([
    ["rows that are not whole blocks", tensor("w", [4, 33], new Float32Array(132), "Q8_0"), "rows of 33"],
    ["values that are not finite", tensor("w", [32], new Float32Array(32).fill(NaN), "Q8_0"), "not finite"],
    ["a long name", tensor("w".repeat(64), [1], new Float32Array(1)), "63 bytes"],
  ])("refuses %s and leaves no file", async (_, bad, reason) => {
    const error = await writeGguf(at("refused.gguf"), metadata(), [bad]).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(WorkError);
    expect(String(error)).toContain(reason);
    await expect(stat(at("refused.gguf"))).rejects.toThrow("ENOENT");
  });
});

describe("broken files", () => {
  /** Little-endian bytes: [bytes, value] pairs, strings with their length before them. */
  const bytes = (...parts: (readonly [size: number, value: number | bigint] | string)[]): Buffer =>
    Buffer.concat(
      parts.map((part) => {
        if (typeof part === "string")
          return Buffer.concat([bytes([8, Buffer.byteLength(part)]), Buffer.from(part)]);
        const out = Buffer.alloc(part[0]);
        for (let i = 0, v = BigInt(part[1]); i < part[0]; i++, v >>= 8n) out[i] = Number(v & 255n);
        return out;
      }),
    );
  const u4 = (v: number) => [4, v] as const;
  const u8 = (v: number | bigint) => [8, v] as const;
  const start = (tensors: number | bigint, keys: number | bigint, version = 3) =>
    bytes(u4(0x46554747), u4(version), u8(tensors), u8(keys));
  const info = (name: string, sizes: number[], type = 0, offset = 0) =>
    bytes(name, u4(sizes.length), ...sizes.map(u8), u4(type), u8(offset));
  const withData = (head: Buffer, data: number) =>
    Buffer.concat([head, Buffer.alloc((32 - (head.length % 32)) % 32), Buffer.alloc(data)]);
  const one = (type: number, ...value: Buffer[]) =>
    Buffer.concat([start(0, 1), bytes("k", u4(type)), ...value]);

  test.each([
    ["another kind of file", Buffer.from("PK\x03\x04 and more"), 'does not begin with "GGUF"'],
    ["an empty file", Buffer.alloc(0), "ends after 0 bytes"],
    ["version 1", start(0, 0, 1), "version 1"],
    ["version 4", start(0, 0, 4), "version 4"],
    ["a big-endian file", start(0, 0, 0x03000000), "big-endian"],
    ["more tensors than bytes", start(2n ** 60n, 0), "tensors and has only 8 bytes left"],
    ["more keys than bytes", start(0, 2n ** 63n), "metadata keys and has only"],
    ["a long key", Buffer.concat([start(0, 1), bytes(u8(1e9)), Buffer.alloc(20)]), "claims 1000000000 bytes"],
    [
      "a key twice",
      Buffer.concat([start(0, 2), bytes("k", u4(4), u4(1), "k", u4(4), u4(1))]),
      "stands there twice",
    ],
    ["an unknown value type", one(13, bytes(u8(0))), "its type 13 is not known"],
    ["a list of lists", one(9, bytes(u4(9), u8(1))), "list of lists"],
    ["a list of unknown things", one(9, bytes(u4(99), u8(1), u8(0))), "element type 99"],
    ["a long list of numbers", one(9, bytes(u4(10), u8(2 ** 40))), "claims 1099511627776"],
    ["a long list of strings", one(9, bytes(u4(8), u8(2 ** 40))), "claims 1099511627776"],
    ["a bool that is 7", one(7, bytes([1, 7])), "neither true nor false"],
    ["a string that is not UTF-8", one(8, bytes(u8(1), [1, 255])), "not UTF-8"],
    ["a value cut short", one(4, bytes([2, 7])), "cut short"],
    [
      "an alignment of 24",
      Buffer.concat([start(0, 1), bytes("general.alignment", u4(4), u4(24))]),
      "not a power of two",
    ],
    ["a long tensor name", Buffer.concat([start(1, 0), info("w".repeat(64), [1])]), "the format allows 63"],
    ["five dimensions", Buffer.concat([start(1, 0), info("w", [1, 1, 1, 1, 1])]), "5 dimensions"],
    ["an unknown tensor type", Buffer.concat([start(1, 0), info("w", [1], 99)]), "its type 99 is not known"],
    ["a type that is not read", Buffer.concat([start(1, 0), info("w", [256], 16)]), "IQ2_XXS is not read"],
    [
      "rows that are not whole blocks",
      Buffer.concat([start(1, 0), info("w", [33, 2], 8)]),
      "rows of 33 elements",
    ],
    ["sizes that overflow", Buffer.concat([start(1, 0), info("w", [2 ** 40, 2 ** 40])]), "too large"],
    ["a tensor larger than the file", Buffer.concat([start(1, 0), info("w", [2 ** 30])]), "cut short"],
    [
      "a tensor twice",
      withData(Buffer.concat([start(2, 0), info("w", [8]), info("w", [8], 0, 32)]), 64),
      "stands there twice",
    ],
    [
      "tensors that overlap",
      withData(Buffer.concat([start(2, 0), info("v", [8]), info("w", [8], 0, 0)]), 64),
      "begins at 0 and should begin at 32",
    ],
    ["data cut short", withData(Buffer.concat([start(1, 0), info("w", [8])]), 31), "cut short"],
  ])("refuses %s", async (_, content, reason) => {
    await writeFile(at("broken.gguf"), content);
    const error = await openGguf(at("broken.gguf")).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(RequestError);
    expect(String(error)).toContain(reason);
    expect(String(error)).toContain("broken.gguf");
  });
  test("version 2 is read like version 3", async () => {
    const good = await readFile(`${fixtures}llama3.gguf`);
    good.writeUInt32LE(2, 4);
    await writeFile(at("v2.gguf"), good);
    expect((await openGguf(at("v2.gguf"))).tensors.size).toBeGreaterThan(10);
  });
});

describe("metadata values", () => {
  test("f32 numbers become the decimals they were written from", () => {
    for (const x of [1e-5, 1e-6, 0.01, 10000, 1e6, 5e5, 0.1, 1.190238, 3.4e38, 1e-45])
      expect(shortest(Math.fround(x))).toBe(x);
  });
  test("of the wrong type, and missing ones, are errors that name file and key", () => {
    const read = metadataReader(metadata({ n: u32(0), s: string("x") }), "some.gguf");
    expect(() => read.number("s")).toThrow('some.gguf: metadata key "s" cannot be used: it is a string');
    expect(() => read.text("n")).toThrow("it is a u32, not a string");
    expect(() => read.number("missing")).toThrow("it is missing");
    expect(() => read.count("n")).toThrow("0 is not a positive integer");
    expect(() => read.texts("s")).toThrow("not a list of strings");
    expect(() => read.flag("n", true)).toThrow("not true or false");
    expect([read.number("missing", 3), read.flag("missing", true)]).toEqual([3, true]);
  });
});
