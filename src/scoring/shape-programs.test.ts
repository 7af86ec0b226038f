/** Batches of all sizes run in one compiled program, or where sizes are fixed in one each, with the same scores. */
import { expect, test } from "vitest";
import type { Backend, CompileOptions } from "../engine/backends/backend.ts";
import { openBackend } from "../engine/backends/open.ts";
import { random } from "../engine/random.ts";
import { newLanguageModel } from "../models/language-model.ts";
import { type PackShape, likeShapes } from "./pack-shape.ts";
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

/** The back end, counting what it compiles. */
async function counting(fixed: boolean) {
  const backend = await openBackend();
  const counted = { programs: 0 };
  const own: Backend = {
    ...backend,
    // Only whether it is there counts here: nothing is asked of it.
    ...(fixed && { resident: {} as NonNullable<Backend["resident"]> }),
    compile: (model: Uint8Array, options?: CompileOptions) => {
      counted.programs++;
      return backend.compile(model, options);
    },
  };
  return { own, counted };
}

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
    programs.push(counted.programs);
  }
  expect(programs).toEqual([1, batches.length]);
  const [free, fixed] = found.map((f) => f.flat().flatMap((x) => [...x]));
  expect(free).toHaveLength(fixed.length);
  free.forEach((x, i) => expect(x).toBeCloseTo(fixed[i], 5));
});

test("shapes like another have other sizes throughout, in about the same proportions", () => {
  const shape = {
    ...{ prompts: 40, others: 90, copies: 2, rows: 4, queries: 40, keys: 48 },
    ...{ scored: [40, 40], units: [2, 2], records: 2 },
  };
  const flat = ({ scored, units, ...rest }: PackShape) => [...Object.values(rest), ...scored, ...units];
  for (const [i, like] of likeShapes(shape).entries()) {
    expect(new Set(flat(like)).size).toBe(flat(shape).length);
    flat(like).forEach((n, k) => {
      expect(n).not.toBe(flat(shape)[k]);
      if (flat(shape)[k] > 30) expect(Math.sign(n - flat(shape)[k])).toBe(i === 0 ? 1 : -1);
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
  expect(counted.programs).toBe(2);
});
