/** Files on disk: byte-exact where the format is, whole or not at all, and refused with a reason when they are broken. */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { RequestError, WorkError } from "../errors.ts";
import { random } from "../engine/random.ts";
import { publishFolder, readJson, removeLeftovers, writeFileAtomic } from "./files.ts";
import { bf16ToNumber, f16ToNumber, numberToBf16, numberToF16 } from "./half.ts";
import { appendJsonl, readJsonl, truncateJsonl } from "./jsonl.ts";
import { lockFolder } from "./lock.ts";
import { openSafetensors, writeSafetensors } from "./safetensors.ts";
import { openWeights, writeWeights } from "./weights.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "prefopt-"));
});
afterAll(() => rm(folder, { recursive: true }));
const at = (name: string) => join(folder, name);
const fixture = new URL("../../test/fixtures/models/llama/model.safetensors", import.meta.url).pathname;

describe("half precision", () => {
  test("worked numbers", () => {
    expect(f16ToNumber(0x3555)).toBeCloseTo(0.333251953, 9);
    expect(bf16ToNumber(0x3fc0)).toBe(1.5);
    expect(numberToBf16(Math.PI)).toBe(0x4049);
    expect(bf16ToNumber(0x4049)).toBe(3.140625);
    expect([65504, 65519.99, 65520, 2 ** -24, 2 ** -25, 1.5 * 2 ** -24, -0].map(numberToF16)).toEqual([
      0x7bff, 0x7bff, 0x7c00, 1, 0, 2, 0x8000,
    ]);
  });
  test("every value of both types survives the way there and back", () => {
    for (let bits = 0; bits < 1 << 16; bits++) {
      const [h, b] = [f16ToNumber(bits), bf16ToNumber(bits)];
      if (Number.isNaN(h)) expect(f16ToNumber(numberToF16(h))).toBeNaN();
      else if (numberToF16(h) !== bits) throw new Error(`f16 ${bits.toString(16)}`);
      if (Number.isNaN(b)) expect(bf16ToNumber(numberToBf16(b))).toBeNaN();
      else if (numberToBf16(b) !== bits) throw new Error(`bf16 ${bits.toString(16)}`);
    }
  });
  test("rounding is to the nearest, ties to even", () => {
    const rng = random(1, "half");
    for (let i = 0; i < 20000; i++) {
      const x = Math.fround((rng.uniform() - 0.5) * 10 ** (rng.integer(9) - 4));
      const bits = numberToF16(x);
      const error = Math.abs(f16ToNumber(bits) - x);
      for (const other of [bits - 1, bits + 1]) {
        const distance = Math.abs(f16ToNumber(other & 0xffff) - x);
        if (distance < error || (distance === error && distance > 0 && bits % 2 === 1))
          throw new Error(`${x} → ${bits.toString(16)}`);
      }
    }
  });
});

describe("safetensors", () => {
  test("the worked file of 72 bytes", async () => {
    await writeSafetensors(
      at("a.safetensors"),
      [{ name: "a", shape: [2], data: Float32Array.of(1, -2) }],
      {},
    );
    const bytes = await readFile(at("a.safetensors"));
    expect(bytes).toHaveLength(72);
    expect(bytes.subarray(0, 11).toString("hex")).toBe("38000000000000007b2261");
    expect(bytes.subarray(-8).toString("hex")).toBe("0000803f000000c0");
    expect(bytes.subarray(8, 62).toString()).toBe('{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}');
  });
  test("a file that Python wrote is written again to the same values", async () => {
    const from = await openSafetensors(fixture);
    const tensors = await Promise.all(
      [...from.tensors].map(async ([name, { shape }]) => ({
        name,
        shape,
        data: await from.readFloat32(name),
      })),
    );
    await writeSafetensors(at("b.safetensors"), tensors);
    const to = await openSafetensors(at("b.safetensors"));
    expect([...to.tensors.keys()].sort()).toEqual([...from.tensors.keys()].sort());
    for (const { name, data } of tensors) expect(await to.readFloat32(name)).toEqual(data);
  });
  test.each(["F16", "BF16"] as const)("%s is read back rounded", async (dtype) => {
    const data = Float32Array.of(1 / 3, -1e-3, 100, 0);
    await writeSafetensors(at("c.safetensors"), [{ name: "x", shape: [4], data, dtype }]);
    const read = await (await openSafetensors(at("c.safetensors"))).readFloat32("x");
    read.forEach((v, i) =>
      expect(Math.abs(v - data[i])).toBeLessThanOrEqual(
        Math.abs(data[i]) * (dtype === "F16" ? 2 ** -11 : 2 ** -8),
      ),
    );
  });

  const header = (json: string, data = 8) => {
    const text = Buffer.from(json);
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(text.length));
    return Buffer.concat([length, text, Buffer.alloc(data)]);
  };
  const entry = (rest: string) => `{"a":${rest}}`;
  test.each([
    ["a few bytes", Buffer.from("abc"), "it has 3 bytes"],
    [
      "a header longer than the file",
      (() => {
        const b = header("{}");
        b.writeBigUInt64LE(9999n);
        return b;
      })(),
      "its header claims 9999 bytes",
    ],
    [
      "a header beyond the limit",
      (() => {
        const b = header("{}");
        b.writeBigUInt64LE(2n ** 60n);
        return b;
      })(),
      "more than the format's limit",
    ],
    ["no JSON", header("{a:"), "its header is not JSON"],
    ["a list", header("[]"), "not a JSON object"],
    [
      "an unknown type",
      header(entry('{"dtype":"F31","shape":[2],"data_offsets":[0,8]}')),
      'its type "F31" is not known',
    ],
    [
      "a shape that does not fit",
      header(entry('{"dtype":"F32","shape":[3],"data_offsets":[0,8]}')),
      "take 12 bytes, its offsets span 8",
    ],
    [
      "offsets that leave a hole",
      header(entry('{"dtype":"F32","shape":[1],"data_offsets":[4,8]}')),
      "begins at 4 and the tensor before it ends at 0",
    ],
    ["data cut short", header(entry('{"dtype":"F32","shape":[2],"data_offsets":[0,8]}'), 4), "cut short"],
    ["data too long", header(entry('{"dtype":"F32","shape":[2],"data_offsets":[0,8]}'), 12), "too long"],
    [
      "a name twice",
      header(
        '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}',
      ),
      "names it twice",
    ],
    [
      "a name twice, once with an escape",
      header(
        '{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"\\u0061":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}',
      ),
      "names it twice",
    ],
    [
      "metadata that are no strings",
      header('{"__metadata__":{"format":1},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'),
      "not an object of strings",
    ],
    [
      "negative offsets",
      header(entry('{"dtype":"F32","shape":[2],"data_offsets":[-8,0]}')),
      "offsets are not two positions",
    ],
  ])("refuses %s", async (_, bytes, reason) => {
    await writeFile(at("broken.safetensors"), bytes);
    const error = await openSafetensors(at("broken.safetensors")).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(RequestError);
    expect(String(error)).toContain(reason);
    expect(String(error)).toContain("broken.safetensors");
  });
});

describe("weights of a folder", () => {
  test("in shards as in one file", async () => {
    const names = ["a", "b", "c"];
    const tensors = names.map((name, i) => ({ name, shape: [100], data: new Float32Array(100).fill(i) }));
    const sharded = await mkdtemp(at("shards-"));
    await writeWeights(sharded, tensors, { maxShardBytes: 500 });
    expect((await readdir(sharded)).sort()).toEqual([
      "model-00001-of-00003.safetensors",
      "model-00002-of-00003.safetensors",
      "model-00003-of-00003.safetensors",
      "model.safetensors.index.json",
    ]);
    const source = await openWeights(sharded);
    for (const [i, name] of names.entries()) expect((await source.readFloat32(name))[99]).toBe(i);
    await rm(join(sharded, "model-00002-of-00003.safetensors"));
    await expect(openWeights(sharded)).rejects.toThrow("shard model-00002-of-00003.safetensors is missing");
  });
  test("a pickle is refused with the way out", async () => {
    const old = await mkdtemp(at("old-"));
    await writeFile(join(old, "pytorch_model.bin"), "");
    await expect(openWeights(old)).rejects.toThrow("save_pretrained");
  });
});

describe("JSON lines", () => {
  test("byte-order mark, CRLF and blank lines are tolerated and counted", async () => {
    await writeFile(at("x.jsonl"), '\uFEFF{"a":1}\r\n\r\n{"a":"é"}\r\n');
    const lines = [];
    for await (const line of readJsonl(at("x.jsonl"))) lines.push(line);
    expect(lines).toEqual([
      { line: 1, value: { a: 1 } },
      { line: 3, value: { a: "é" } },
    ]);
  });
  test("a broken line 17 is named, and an empty file is an error", async () => {
    await writeFile(at("y.jsonl"), `${'{"a":1}\n'.repeat(16)}{"a":\n{"a":1}\n`);
    const read = async (name: string) => {
      for await (const line of readJsonl(at(name))) void line;
    };
    await expect(read("y.jsonl")).rejects.toThrow(/y\.jsonl:17: is not valid JSON/);
    await writeFile(at("z.jsonl"), "\n");
    await expect(read("z.jsonl")).rejects.toThrow("is empty");
    await expect(read("nowhere.jsonl")).rejects.toThrow("there is no such file");
  });
  test("a log is cut back to a step, a torn line goes", async () => {
    await appendJsonl(at("log.jsonl"), { step: 1 }, { step: 2 }, { step: 3 });
    await writeFile(at("log.jsonl"), '{"step": 4', { flag: "a" });
    expect(await truncateJsonl(at("log.jsonl"), (v) => Number(v.step) <= 2)).toEqual([
      { step: 1 },
      { step: 2 },
    ]);
    expect(await readFile(at("log.jsonl"), "utf8")).toBe('{"step":1}\n{"step":2}\n');
  });
});

describe("whole or not at all", () => {
  test("a failed write leaves the old file and nothing else", async () => {
    const place = await mkdtemp(at("place-"));
    await writeFileAtomic(join(place, "f"), "old");
    const failing = (function* () {
      yield Buffer.from("new");
      throw Object.assign(new Error("no space"), { code: "ENOSPC" });
    })();
    const error = await writeFileAtomic(join(place, "f"), failing).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(WorkError);
    expect(String(error)).toContain("the disk is full");
    expect(await readFile(join(place, "f"), "utf8")).toBe("old");
    expect(await readdir(place)).toEqual(["f"]);
  });
  test("a folder appears filled or not", async () => {
    const place = await mkdtemp(at("publish-"));
    await expect(
      publishFolder(join(place, "out"), () => Promise.reject(new Error("halfway"))),
    ).rejects.toThrow("halfway");
    expect(await readdir(place)).toEqual([]);
    await writeFile(join(place, "out.77.partial"), "left by a killed process");
    await publishFolder(join(place, "out"), (aside) => writeFileAtomic(join(aside, "x.json"), "{}"));
    await removeLeftovers(place);
    expect(await readdir(place)).toEqual(["out"]);
    expect(await readJson(join(place, "out", "x.json"))).toEqual({});
  });
});

describe("locks", () => {
  test("one holder at a time, and released means free", async () => {
    const place = await mkdtemp(at("lock-"));
    const lock = await lockFolder(place);
    await expect(lockFolder(place)).rejects.toThrow(`process ${process.pid} holds its lock`);
    lock.release();
    (await lockFolder(place)).release();
  });
  test("a killed holder's lock is taken over at once", async () => {
    const place = await mkdtemp(at("lock-"));
    const child = spawn(process.execPath, ["-e", "setInterval(() => 0, 1000)"]);
    await new Promise((resolve) => child.once("spawn", resolve));
    await writeFile(join(place, ".lock"), JSON.stringify({ pid: child.pid, started: null }));
    await expect(lockFolder(place)).rejects.toThrow("holds its lock");
    const gone = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGKILL");
    await gone;
    (await lockFolder(place)).release();
  });
  test("a process that has the number of a dead holder is not taken for it", async () => {
    const place = await mkdtemp(at("lock-"));
    await writeFile(join(place, ".lock"), JSON.stringify({ pid: process.pid, started: "1" }));
    if (!existsSync("/proc/self/stat"))
      return console.log("skipped: start times of processes are known on Linux only");
    (await lockFolder(place)).release();
  });
});
