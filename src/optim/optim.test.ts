/** Optimizer, clipping, schedules: the arithmetic of torch, in place, over chunk borders. */
import { describe, expect, test } from "vitest";
import { openBackend } from "../engine/backends/open.ts";
import { dim } from "../engine/tensor.ts";
import { random } from "../engine/random.ts";
import { ParameterArray, layoutOf } from "../nn/parameters.ts";
import { accumulator } from "./accumulate.ts";
import { adamW } from "./adamw.ts";
import { chunkElements } from "./chunked.ts";
import { clipFactor, gradientNorm } from "./gradient-norm.ts";
import { schedule } from "./schedule.ts";

const backend = await openBackend();
const spec = (name: string, sizes: number[]) => ({
  name,
  shape: sizes.map((s, i) => dim(`d${i}`, s)),
  initial: { normal: 1 },
});
/** One matrix larger than a chunk, between two vectors. */
const layout = layoutOf([spec("bias", [7]), spec("matrix", [513, 600]), spec("norm", [5])]);
const arrays = () =>
  [ParameterArray.allocate(backend, layout), ParameterArray.allocate(backend, layout)] as const;

test("matrices come first, whatever the order of the specification", () => {
  expect(layout.matrixElements).toBe(513 * 600);
  expect(layout.matrixElements).toBeGreaterThan(chunkElements);
  expect(layout.parameters.map((p) => p.offset)).toEqual([513 * 600, 0, 513 * 600 + 7]);
});

test("AdamW equals its definition over several steps; decay touches matrices only", async () => {
  const [weights, gradients] = arrays();
  weights.initialize(1);
  const options = { betas: [0.9, 0.95] as const, epsilon: 1e-8, weightDecay: 0.1 };
  const optimizer = await adamW(backend, weights, gradients, options);
  const expected = {
    p: Float64Array.from(weights.flat),
    m: new Float64Array(layout.elements),
    v: new Float64Array(layout.elements),
  };
  const rng = random(2, "gradients");
  for (let t = 1; t <= 4; t++) {
    for (let i = 0; i < layout.elements; i++) gradients.flat[i] = rng.uniform() - 0.5;
    const [rate, scale] = [1e-2 / t, 0.5];
    await optimizer.update(t, rate, scale);
    for (let i = 0; i < layout.elements; i++) {
      const g = gradients.flat[i] * scale;
      if (i < layout.matrixElements) expected.p[i] *= 1 - rate * options.weightDecay;
      expected.m[i] = 0.9 * expected.m[i] + 0.1 * g;
      expected.v[i] = 0.95 * expected.v[i] + 0.05 * g * g;
      expected.p[i] -=
        (rate * expected.m[i]) / (1 - 0.9 ** t) / (Math.sqrt(expected.v[i] / (1 - 0.95 ** t)) + 1e-8);
    }
  }
  let worst = 0;
  weights.flat.forEach((p, i) => (worst = Math.max(worst, Math.abs(p - expected.p[i]))));
  expect(worst).toBeLessThan(2e-6);
});

test("the norm is that of all gradients, and clipping brings it to the limit", async () => {
  const [, gradients] = arrays();
  const rng = random(3, "norm");
  for (let i = 0; i < layout.elements; i++) gradients.flat[i] = rng.normal();
  const exact = Math.sqrt(gradients.flat.reduce((s, g) => s + g * g, 0));
  const norm = await (await gradientNorm(backend, gradients)).measure();
  expect(Math.abs(norm / exact - 1)).toBeLessThan(1e-6);
  expect(clipFactor(norm, 1) * norm).toBeCloseTo(1, 6);
  expect([clipFactor(0.5, 1), clipFactor(norm, 0)]).toEqual([1, 1]);
});

test("accumulation adds one array to another", async () => {
  const [a, b] = arrays();
  a.flat.fill(1);
  b.flat.fill(2);
  await (await accumulator(backend, a, b)).run();
  expect(a.flat.every((v) => v === 3)).toBe(true);
});

describe("schedules", () => {
  const rates = (name: string, warmup: number, steps = 10) => {
    const rate = schedule(name, { learningRate: 1, steps, warmup });
    return Array.from({ length: steps }, (_, i) => Number(rate(i + 1).toFixed(6)));
  };
  test("a share warms up that share of the steps, linearly from 0, as in transformers", () => {
    expect(rates("constant", 0.4).slice(0, 5)).toEqual([0, 0.25, 0.5, 0.75, 1]);
    expect(rates("constant", 3).slice(0, 4)).toEqual([0, 0.333333, 0.666667, 1]);
    expect(rates("constant", 0)).toEqual(new Array<number>(10).fill(1));
  });
  test("cosine and linear fall to 0 after the last step", () => {
    expect(rates("cosine", 0)).toEqual(
      Array.from({ length: 10 }, (_, i) => Number((0.5 * (1 + Math.cos((Math.PI * i) / 10))).toFixed(6))),
    );
    expect(rates("linear", 0)[9]).toBeCloseTo(0.1, 6);
  });
  test("an unknown one is told its nearest name", () => {
    expect(() => schedule("linnear", { learningRate: 1, steps: 1, warmup: 0 })).toThrow(
      "Did you mean linear?",
    );
  });
});
