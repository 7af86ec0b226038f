/** Exports of every format and type: compared with their source, put in place whole, never over what is there unasked. */
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openBackend } from "../engine/backends/open.ts";
import { RequestError, WorkError } from "../errors.ts";
import { packagePath } from "../formats/files.ts";
import { architectures } from "../models/architectures.ts";
import { type LanguageModel, loadLanguageModel, newLanguageModel } from "../models/language-model.ts";
import { adapterSchema } from "../models/adapter/config.ts";
import { adaptedModel } from "../training/adapted-model.ts";
import { checkTarget, exportModel } from "./export-model.ts";
import { gguf } from "./gguf.ts";
import { scorerOf } from "./language-model-scorer.ts";
import { exportFormats } from "./table.ts";
import { compare, probeRows, tolerances } from "./verify.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "prefopt-export-"));
});
afterAll(() => rm(folder, { recursive: true }));

const load = async (name: string) =>
  loadLanguageModel(packagePath(`test/fixtures/models/${name}`), await openBackend());
const place = async (name: string) => join(await mkdtemp(join(folder, "at-")), name);
const nameFor = (to: string) => (to === "gguf" ? "model.gguf" : "model");

const whole = Object.values(exportFormats).filter((format) => !format.keepsAdapter);
const all = whole.flatMap(({ id, dtypes }) => dtypes.map((dtype) => [id, dtype] as const));

describe.each(Object.keys(architectures))("%s", (name) => {
  test.each(all)("to %s in %s", async (to, dtype) => {
    const model = await load(name);
    const out = await place(nameFor(to));
    const { difference, ...result } = await exportModel(model, { to, dtype, out });
    expect(result).toMatchObject({ path: out, format: to, dtype });
    expect(difference.tokens).toBeGreaterThan(40);
    expect(difference.max).toBeLessThan(dtype === "F32" ? 2e-5 : tolerances[dtype].max);
    // Half precision is not float32: what was compared is what was written.
    if (dtype !== "F32") expect(difference.max).toBeGreaterThan(0);
    expect(await readdir(join(out, ".."))).toEqual([nameFor(to)]);
  });
});

describe("a model with an adapter", () => {
  /** The fixture with an adapter that changes much. */
  async function adapted(name: string): Promise<LanguageModel> {
    const model = await adaptedModel(await load(name), adapterSchema.parse({ rank: 4, dora: true }), 1);
    model.adapter?.weights.flat.forEach((_, i, flat) => (flat[i] += 0.05 * Math.sin(i)));
    return { ...model, adapter: model.adapter && { ...model.adapter, fresh: false } };
  }
  test.each(["llama", "gpt2"].flatMap((name) => Object.keys(exportFormats).map((to) => [name, to] as const)))(
    "%s to %s: merged where the format knows no adapters",
    async (name, to) => {
      const model = await adapted(name);
      const out = await place(nameFor(to));
      const { difference } = await exportModel(model, { to, out, consume: to === "safetensors" });
      expect(difference.max).toBeLessThan(to === "adapter" ? 1e-9 : 3e-5);
      const files = to === "gguf" ? [] : await readdir(out);
      expect(files.includes("adapter_config.json")).toBe(to === "adapter");
    },
  );
  test("a model without one has none to export", async () => {
    const model = await load("llama");
    const out = await place("model");
    await expect(exportModel(model, { to: "adapter", out })).rejects.toThrow(/has no adapter.*safetensors/);
  });
});

test("a model with a tokenizer is compared on texts too, of different lengths", async () => {
  const model = await loadLanguageModel(packagePath("assets/reviews"), await openBackend());
  const rows = await probeRows(model);
  expect(rows.length).toBeGreaterThan(5);
  expect(new Set(rows.map((ids) => ids.length)).size).toBeGreaterThan(3);
  for (const ids of rows) expect(ids.length).toBeLessThanOrEqual(48);
});

test("a consumed model is freed, another one not", async () => {
  const model = await load("llama");
  const freed: ArrayBuffer[] = [];
  const watched: LanguageModel = {
    ...model,
    backend: { ...model.backend, free: (memory) => void freed.push(memory) },
  };
  await exportModel(watched, { to: "safetensors", out: await place("model") });
  expect(freed).not.toContain(model.weights.flat.buffer);
  await exportModel(watched, { to: "safetensors", out: await place("model"), consume: true });
  expect(freed).toContain(model.weights.flat.buffer);
});

describe("what is refused before anything is done", () => {
  const refusal = async (target: Parameters<typeof checkTarget>[0]) => {
    const error: unknown = await checkTarget(target).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(RequestError);
    return (error as Error).message;
  };
  test("formats, types and names that there are none of", async () => {
    expect(await refusal({ to: "onx", out: "x" })).toBe('there is no format "onx". Did you mean onnx?');
    expect(await refusal({ to: "toString", out: "x" })).toContain("Known: safetensors, onnx, gguf");
    expect(await refusal({ to: "onnx", out: "x", dtype: "Q8_0" })).toContain(
      'no type of onnx "Q8_0". Known: F32',
    );
    expect(await refusal({ to: "gguf", out: "x", dtype: "Q8" })).toContain("Did you mean");
    expect(await refusal({ to: "gguf", out: "x" })).toContain("Call it x.gguf");
    expect((await checkTarget({ to: "gguf", out: "x.gguf", dtype: "q8_0" })).dtype).toBe("Q8_0");
  });
  test("a target that is there, unless it may be replaced", async () => {
    const out = await place("model");
    await mkdir(out);
    await checkTarget({ to: "onnx", out }); // an empty folder is nothing
    await writeFile(join(out, "notes.txt"), "mine");
    expect(await refusal({ to: "onnx", out })).toContain("add --overwrite");
    expect(await refusal({ to: "onnx", out, overwrite: true })).toContain("no model of this form");
    await writeFile(join(out, "config.json"), "{}");
    await checkTarget({ to: "onnx", out, overwrite: true });
    const file = join(out, "x.gguf");
    await writeFile(file, "mine");
    expect(await refusal({ to: "gguf", out: file })).toContain("add --overwrite");
    await checkTarget({ to: "gguf", out: file, overwrite: true });
  });
});

test("an older export is replaced when asked, by one that is whole", async () => {
  const out = await place("model");
  await exportModel(await load("llama"), { to: "onnx", out });
  await exportModel(await load("gpt2"), { to: "safetensors", out, overwrite: true });
  expect(await readdir(out)).toEqual(["config.json", "model.safetensors"]);
  expect((await loadLanguageModel(out, await openBackend())).architecture.modelType).toBe("gpt2");
});

describe("a failure", () => {
  const failing = async (change: Partial<typeof gguf>, model?: LanguageModel) => {
    const out = await place("model.gguf");
    await writeFile(out, "what was there");
    const formats = exportFormats as Record<string, typeof gguf>;
    formats.gguf = { ...gguf, ...change };
    try {
      const error: unknown = await exportModel(model ?? (await load("llama")), {
        to: "gguf",
        out,
        overwrite: true,
      }).catch((e: unknown) => e);
      expect(error).toBeInstanceOf(Error);
      expect(await readdir(join(out, ".."))).toEqual(["model.gguf"]);
      return error as Error;
    } finally {
      formats.gguf = gguf;
    }
  };
  test("to write leaves what was there, and nothing else", async () => {
    const error = await failing({
      write: () => Promise.reject(new WorkError({ code: "x", what: "disk full" })),
    });
    expect(error.message).toBe("disk full");
  });
  test("to score like the source is one, however little is wrong", async () => {
    const error = await failing({
      async write(model, path, options) {
        const weights = model.weights.view("model.norm.weight");
        const before = weights.slice();
        weights.forEach((_, i) => (weights[i] *= 1.01));
        const warnings = await gguf.write(model, path, options);
        weights.set(before);
        return warnings;
      },
    });
    expect(error).toBeInstanceOf(WorkError);
    expect(error.message).toMatch(
      /model\.gguf: the exported model does not score like its source: .* differ by/,
    );
  });
  test("is a model that scores no numbers", async () => {
    const model = newLanguageModel((await load("llama")).architecture.toConfig(), 1, await openBackend());
    model.weights.view("model.norm.weight")[3] = NaN;
    expect((await failing({}, model)).message).toContain("the model's log-probabilities are not finite");
  });
});

test("scores that are no numbers are never equal", () => {
  expect(() => compare([[-1, -2]], [[-1, NaN]], "F32", "x")).toThrow(WorkError);
  expect(() => compare([[-1, -2]], [[-1, -2.1]], "F32", "x")).toThrow(/2e-3|0\.002/);
  expect(compare([[-1, -2]], [[-1, -2.01]], "F16", "x").max).toBeCloseTo(0.01);
});

test("a run that is interrupted keeps nothing", async () => {
  const out = await place("model");
  const abort = new AbortController();
  const onProgress = (doing: string) => doing.startsWith("reading") && abort.abort(new Error("stop"));
  const work = exportModel(await load("llama"), { to: "onnx", out, signal: abort.signal, onProgress });
  await expect(work).rejects.toThrow("stop");
  expect(await readdir(join(out, ".."))).toEqual([]);
});

test("a model in memory is scored like its file", async () => {
  const model = await load("llama");
  const rows = await probeRows(model);
  const [a, b] = [await scorerOf(model).score(rows), await scorerOf(model).score(rows.toReversed())];
  a.forEach((row, i) =>
    row.forEach((v, t) => expect(Math.abs(v - b[b.length - 1 - i][t])).toBeLessThan(1e-5)),
  );
});
