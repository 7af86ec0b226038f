/**
 * Exported graphs run by ONNX Runtime against PyTorch's values: every architecture in every configuration, rows of different lengths
 * padded on the left in one batch, read at once and through the cache.
 */
import { mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openBackend } from "../engine/backends/open.ts";
import { RequestError } from "../errors.ts";
import { packagePath } from "../formats/files.ts";
import { architectures } from "../models/architectures.ts";
import { type LanguageModel, loadLanguageModel } from "../models/language-model.ts";
import { readVariants, variantModel } from "../models/testing.ts";
import { onnx } from "./onnx.ts";
import { decoderGraph } from "./onnx/graph.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "prefopt-onnx-"));
});
afterAll(() => rm(folder, { recursive: true }));

const fixture = (name: string) => packagePath(`test/fixtures/models/${name}`);

interface Row {
  readonly ids: number[];
  readonly logProbs: number[];
}

/** Exports a model and compares what the graph says of rows with given values. */
async function compare(model: LanguageModel, rows: readonly Row[]): Promise<void> {
  const place = await mkdtemp(join(folder, "model-"));
  await onnx.write(model, place, { dtype: "F32" });
  const scorer = await onnx.open(place, model.backend);
  const scores = await scorer.score(rows.map(({ ids }) => ids));
  await scorer.release();
  rows.forEach(({ logProbs }, r) => {
    expect(scores[r]).toHaveLength(logProbs.length);
    logProbs.forEach((logp, t) => expect(Math.abs(scores[r][t] - logp), `row ${r}, ${t}`).toBeLessThan(1e-4));
  });
}

test.each(["llama3", ...Object.keys(architectures)])("%s against PyTorch", async (name) => {
  const { cases } = JSON.parse(await readFile(`${fixture(name)}/golden.json`, "utf8")) as {
    cases: { inputIds: number[][]; attentionMask?: number[][]; logProbs: number[][] }[];
  };
  const rows = cases.flatMap(({ inputIds, attentionMask, logProbs }) =>
    inputIds.map((ids, b) => ({
      ids: ids.filter((_, t) => attentionMask?.[b][t] !== 0),
      logProbs: logProbs[b],
    })),
  );
  expect(new Set(rows.map(({ ids }) => ids.length)).size).toBeGreaterThan(1);
  await compare(await loadLanguageModel(fixture(name), await openBackend()), rows);
});

test("both back ends read the exported files", async () => {
  const model = await loadLanguageModel(fixture("gemma2"), await openBackend());
  const place = await mkdtemp(join(folder, "model-"));
  await onnx.write(model, place, { dtype: "F32" });
  const score = async (id: string) => {
    const scorer = await onnx.open(place, await openBackend({ id }));
    return (
      await scorer.score([
        [5, 4, 3, 2, 1, 6],
        [7, 8, 9],
      ])
    ).flat();
  };
  const [a, b] = [await score("onnxruntime-c"), await score("onnxruntime-binding")];
  a.forEach((v, i) => expect(Math.abs(v - b[i])).toBeLessThan(1e-5));
});

const variants = await readVariants();
test.each(variants)("$name", async (variant) => compare(await variantModel(variant), variant.rows));

describe("llama", async () => {
  interface LlamaVariant {
    name: string;
    weights: string;
    config: Record<string, unknown>;
    rows: Row[];
  }
  const at = fixture("llama_variants");
  const file = JSON.parse(await readFile(join(at, "variants.json"), "utf8")) as { variants: LlamaVariant[] };
  test.each(file.variants)("$name", async ({ config, weights, rows }) => {
    const place = await mkdtemp(join(folder, "llama-"));
    await writeFile(join(place, "config.json"), JSON.stringify(config));
    await writeFile(join(place, "model.safetensors"), await readFile(join(at, weights)));
    const model = await loadLanguageModel(place, await openBackend());
    const { context } = model.architecture;
    if (Number.isFinite(context)) return compare(model, rows);
    // A scaling without end: the graph ends where training did, and says so.
    const end = Number(config.max_position_embeddings);
    const fitting = rows.filter(({ ids }) => ids.length <= end);
    expect(fitting.length).toBeGreaterThan(0);
    expect(fitting.length).toBeLessThan(rows.length);
    await compare(model, fitting);
    await expect(compare(model, rows)).rejects.toThrow(/out of data bounds/);
    expect(decoderGraph(model.architecture).warnings.join()).toContain(`rows end at ${end} tokens`);
  });
});

test("the graph is made of standard operators alone", async () => {
  for (const variant of variants) {
    const { graph } = decoderGraph((await variantModel(variant)).architecture);
    expect(graph.nodes.filter((n) => n.domain !== "").map((n) => n.type)).toEqual([]);
    expect(graph.nodes.map((n) => n.type)).not.toContain("SimplifiedLayerNormalization");
  }
});

test("weights stand once, beside the graph, each at a multiple of 64 bytes", async () => {
  const model = await loadLanguageModel(fixture("gpt2"), await openBackend());
  const place = await mkdtemp(join(folder, "model-"));
  await onnx.write(model, place, { dtype: "F32" });
  expect(await readdir(join(place, "onnx"))).toEqual(["model.onnx", "model.onnx_data"]);
  const data = await readFile(join(place, "onnx", "model.onnx_data"));
  const bytes = model.architecture.parameters.reduce(
    (n, p) => n + 4 * p.shape.reduce((a, d) => a * d.size, 1),
    0,
  );
  expect(data.length).toBeGreaterThanOrEqual(bytes);
  expect(data.length).toBeLessThan(bytes + 64 * model.architecture.parameters.length);
  const config = JSON.parse(await readFile(join(place, "config.json"), "utf8")) as Record<string, unknown>;
  expect(config).toMatchObject({
    model_type: "gpt2",
    eos_token_id: 2,
    "transformers.js_config": { dtype: "fp32", use_external_data_format: { "model.onnx": 1 } },
  });
});

test("a graph that is cut short is an error, not a crash", async () => {
  const model = await loadLanguageModel(fixture("llama"), await openBackend());
  const place = await mkdtemp(join(folder, "model-"));
  await onnx.write(model, place, { dtype: "F32" });
  const path = join(place, "onnx", "model.onnx");
  await writeFile(path, (await readFile(path)).subarray(0, 4000));
  await expect(onnx.open(place, model.backend)).rejects.toThrow(/ONNX Runtime failed/);
  await writeFile(join(place, "config.json"), "[]");
  await expect(onnx.open(place, model.backend)).rejects.toBeInstanceOf(RequestError);
});
