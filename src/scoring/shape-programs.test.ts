/** Batches of all sizes run in one compiled program, or where sizes are fixed in one each, with the same scores. */
import { expect, test } from "vitest";
import type { Scorable } from "../data/token-row.ts";
import { gradients } from "../engine/gradient.ts";
import { Graph } from "../engine/graph.ts";
import { sum } from "../engine/ops/reduce.ts";
import { random } from "../engine/random.ts";
import { countingBackend } from "../engine/testing.ts";
import type { Tensor } from "../engine/tensor.ts";
import { declareModel } from "../models/declare.ts";
import { type LanguageModel, newLanguageModel } from "../models/language-model.ts";
import { type PackShape, likeShapes } from "./pack-shape.ts";
import { pack } from "./packing.ts";
import { ShapePrograms } from "./shape-programs.ts";
import { scoreText } from "./text-graph.ts";
import { TextScorer, type Tree } from "./text-scorer.ts";

const config = {
  ...{ model_type: "llama", vocab_size: 50, hidden_size: 16, num_hidden_layers: 2, num_attention_heads: 2 },
  ...{ num_key_value_heads: 1, intermediate_size: 24, max_position_embeddings: 512 },
};
const rng = random(11, "shapes");
const ids = (n: number) => Array.from({ length: n }, () => rng.integer(50));
const trees = (count: number): Tree[] =>
  Array.from({ length: count }, () => ({
    prompt: ids(2 + rng.integer(30)),
    completions: [ids(2 + rng.integer(20)), ids(2 + rng.integer(20))],
  }));

/** A back end that counts what it compiles; `fixed`: sizes are free on the CPU alone. */
const counting = (fixed: boolean) => countingBackend(fixed ? { device: "cuda" } : {});

test("sizes of all kinds need one program, and score as in programs of their own", async () => {
  const batches = [2, 3, 5, 9, 17].map(trees);
  const found: Float32Array[][][] = [];
  const programs: number[] = [];
  for (const fixed of [false, true]) {
    const { own, counted } = await counting(fixed);
    const scorer = new TextScorer(newLanguageModel(config, 7, own));
    const scores = [];
    for (const batch of batches) scores.push((await scorer.score(batch)).flat());
    await scorer.release();
    found.push(scores);
    programs.push(counted.compiled);
  }
  expect(programs).toEqual([1, batches.length]);
  const [free, fixed] = found.map((f) => f.flat().flatMap((x) => [...x]));
  expect(free).toHaveLength(fixed.length);
  free.forEach((x, i) => expect(x).toBeCloseTo(fixed[i], 5));
});

test("shapes like another have other sizes throughout, in about the same proportions", () => {
  const shape = {
    ...{ prompts: 400, others: 900, copies: 2, rows: 4, queries: 400, keys: 480 },
    ...{ scored: [400, 400], units: [2, 2], records: 2 },
  };
  const flat = ({ scored, units, ...rest }: PackShape) => [...Object.values(rest), ...scored, ...units];
  for (const like of likeShapes(shape)) {
    expect(new Set(flat(like)).size).toBe(flat(shape).length);
    flat(like).forEach((n, k) => {
      expect(n).not.toBe(flat(shape)[k]);
      if (flat(shape)[k] > 30) expect(Math.abs(Math.log(n / flat(shape)[k]))).toBeLessThan(0.3);
    });
  }
  for (const like of likeShapes({ ...shape, prompts: 0, copies: 0, rows: 1 }))
    expect(like).toMatchObject({ prompts: 0, copies: 0, rows: 1 });
});

test("batches on both sides of a size at which other operations are cheaper get two programs", async () => {
  // The last layer computes all tokens where nearly all predict one.
  const { own, counted } = await counting(false);
  const scorer = new TextScorer(newLanguageModel(config, 7, own));
  const batch = (prompt: number) => [{ prompt: ids(prompt), completions: [ids(100)] }];
  for (const prompt of [2, 3, 5, 9, 10, 11, 12, 13, 14, 20, 40]) await scorer.score(batch(prompt));
  await scorer.release();
  expect(counted.compiled).toBe(2);
});

/** Gets the program of all gradients of records whose completions are scored. */
async function gradientsOf(model: LanguageModel, programs: ShapePrograms, records: readonly Scorable[]) {
  const roles = [{ name: "completion", many: false }];
  const { rope, hiddenSize } = model.architecture;
  const { shape } = pack(records, roles, rope, { hidden: hiddenSize, rounding: "none" });
  const build = (at: PackShape) => {
    const graph = new Graph();
    const { weights, trained } = declareModel(graph, model);
    const [{ logps }] = scoreText(graph, model.architecture, weights, at, roles).roles;
    const found = gradients(sum(logps), trained).flatMap((g, i) => (g ? [[`gradient/${i}`, g]] : []));
    return { graph, outputs: Object.fromEntries(found) as Record<string, Tensor> };
  };
  await programs.get("gradients", shape, { build, arrays: () => ({ fixed: {} }) });
}

test("gradients of batches of all sizes need one program", async () => {
  const { own, counted } = await counting(false);
  const model = newLanguageModel(config, 7, own);
  const programs = new ShapePrograms(own);
  for (const length of [20, 30, 31, 33, 62, 63, 64, 65, 100, 127, 128, 200, 255, 256, 300, 470]) {
    const records = [0, 1].map(() => ({
      trees: [{ prompt: ids(30), branches: [[{ role: "completion", ids: ids(Math.ceil(length / 2)) }]] }],
    }));
    await gradientsOf(model, programs, records);
  }
  await programs.release();
  expect(counted.compiled).toBe(1);
});

test("large vocabularies, whose logits are made in blocks, need a program an octave of scored tokens", async () => {
  const { own, counted } = await counting(false);
  const model = newLanguageModel({ ...config, vocab_size: 50_000 }, 7, own);
  const programs = new ShapePrograms(own);
  for (const length of [350, 400, 450, 500, 600, 700, 900, 1100]) {
    const records = [
      { trees: [{ prompt: ids(600), branches: [[{ role: "completion", ids: ids(length) }]] }] },
    ];
    await gradientsOf(model, programs, records);
  }
  await programs.release();
  // 2^22 to 2^23 elements a block: 336 to 671 tokens in four, up to 1342 in eight.
  expect(counted.compiled).toBe(2);
});
