/** Clipping, groups, averages, schedules: in place, over chunk borders. */
import { describe, expect, test } from "vitest";
import { openBackend } from "../engine/backends/open.ts";
import { dim } from "../engine/tensor.ts";
import { random } from "../engine/random.ts";
import { ParameterArray, layoutOf } from "../nn/parameters.ts";
import { decayAt, weightAverage } from "./average.ts";
import { chunkElements } from "./chunked.ts";
import { clipFactor, gradientNorm } from "./gradient-norm.ts";
import { groupsOf } from "./groups.ts";
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

describe("groups of parameters", () => {
  const settings = { learningRate: 2, weightDecay: 0.1 };
  const layouts = [{ layout, prefix: "" }];
  test("the first pattern that fits wins, decay is for matrices, neighbours are one region", () => {
    const groups = [
      { match: "ma*", learningRate: 1 },
      { match: "*r*", learningRate: 4 },
    ];
    const [found] = groupsOf(layouts, { ...settings, groups });
    // In memory: matrix, bias, norm; norm is the second group's, bias nobody's.
    expect(found.map(({ rate, weightDecay, regions }) => ({ rate, weightDecay, regions }))).toEqual([
      { rate: 1, weightDecay: 0, regions: [{ start: 513 * 600, end: 513 * 600 + 7 }] },
      { rate: 0.5, weightDecay: 0.1, regions: [{ start: 0, end: 513 * 600 }] },
      { rate: 2, weightDecay: 0, regions: [{ start: 513 * 600 + 7, end: layout.elements }] },
    ]);
    const [one] = groupsOf(layouts, { ...settings, weightDecay: 0, groups: [] });
    expect(one.map((g) => g.regions)).toEqual([[{ start: 0, end: layout.elements }]]);
  });
  test("a dot is a dot, and names of other arrays carry their prefix", () => {
    const both = [...layouts, { layout, prefix: "slow/" }];
    const [own, slow] = groupsOf(both, { ...settings, groups: [{ match: "slow/*", learningRate: 0 }] });
    expect(own.every((g) => g.rate === 1)).toBe(true);
    expect(slow.every((g) => g.rate === 0)).toBe(true);
    expect(() => groupsOf(layouts, { ...settings, groups: [{ match: "m.trix", learningRate: 1 }] })).toThrow(
      'train.groups[0]: no parameter is matched by "m.trix". Did you mean matrix?',
    );
  });
  test("a pattern that nothing is left to, and a decay of nothing, are errors", () => {
    const groups = [{ match: "*" }, { match: "bias", learningRate: 1 }];
    expect(() => groupsOf(layouts, { ...settings, groups })).toThrow("Put it before them");
    expect(() => groupsOf(layouts, { ...settings, groups: [{ match: "bias", weightDecay: 1 }] })).toThrow(
      "changes nothing",
    );
  });
});

const same = (a: Float32Array, b: Float32Array) => a.every((v, i) => Object.is(v, b[i]));

describe("the moving average of the weights", () => {
  test("its decay warms up as in diffusers: values of EMAModel", () => {
    const values = [1, 2, 101, 1001].map((n) => decayAt(n, 0.9999));
    [0, 0.1818181818, 0.9181818182, 0.9910891089].forEach((v, i) => expect(values[i]).toBeCloseTo(v, 10));
    expect(decayAt(1e6, 0.999)).toBe(0.999);
  });
  test("follows its definition and changes places with the weights bit by bit", async () => {
    const [weights] = arrays();
    weights.initialize(1);
    const average = await weightAverage(backend, weights, 0.15);
    const expected = Float64Array.from(weights.flat);
    for (let n = 1; n <= 3; n++) {
      weights.flat.forEach((p, i) => (weights.flat[i] = p * 0.5 + n));
      await average.update(n);
      const decay = decayAt(n, 0.15);
      weights.flat.forEach((p, i) => (expected[i] -= (1 - decay) * (expected[i] - p)));
    }
    let worst = 0;
    average.flat.forEach((a, i) => (worst = Math.max(worst, Math.abs(a - expected[i]))));
    expect(worst).toBeLessThan(1e-6);
    const [a, p] = [average.flat.slice(), weights.flat.slice()];
    average.swap();
    expect([same(weights.flat, a), same(average.flat, p)]).toEqual([true, true]);
    average.swap();
    expect([same(weights.flat, p), same(average.flat, a)]).toEqual([true, true]);
    average.release();
  });
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
