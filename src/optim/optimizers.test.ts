/** Every optimizer against PyTorch's and transformers' own on fixed numbers, and across chunk borders against plain loops in float64. */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { openBackend } from "../engine/backends/open.ts";
import { random } from "../engine/random.ts";
import { dim } from "../engine/tensor.ts";
import { type Layout, ParameterArray, layoutOf } from "../nn/parameters.ts";
import { chunkElements } from "./chunked.ts";
import { type GroupSetting, groupsOf } from "./groups.ts";
import type { OptimizerOptions } from "./optimizer.ts";
import { optimizerNamed, optimizerNames, optimizerOptions } from "./table.ts";
import { type ReferenceState, references } from "./testing.ts";

interface Fixture {
  readonly shapes: Readonly<Record<string, number[]>>;
  readonly rates: readonly number[];
  readonly weights: Readonly<Record<string, number[]>>;
  readonly gradients: readonly Readonly<Record<string, number[]>>[];
  readonly cases: readonly {
    readonly optimizer: string;
    readonly options: OptimizerOptions;
    readonly weightDecay: number;
    readonly after: readonly Readonly<Record<string, number[]>>[];
  }[];
}

const path = new URL("../../test/fixtures/optimizers/optimizers.json", import.meta.url);
const fixture = JSON.parse(readFileSync(path, "utf8")) as Fixture;
const backend = await openBackend();

const layoutFor = (shapes: Readonly<Record<string, readonly number[]>>) =>
  layoutOf(
    Object.entries(shapes).map(([name, sizes]) => ({
      name,
      shape: sizes.map((s, i) => dim(`d${i}`, s)),
      initial: { normal: 0.5 },
    })),
  );

/** Walks through steps with the optimizer and with its reference and hands both to `compare` after each. */
async function walk(
  layout: Layout,
  weights: ParameterArray,
  given: {
    readonly optimizer: string;
    readonly options: OptimizerOptions;
    readonly weightDecay: number;
    readonly groups?: readonly GroupSetting[];
    readonly rates: readonly number[];
    readonly scale: number;
  },
  fill: (step: number, gradients: ParameterArray) => void,
  compare: (step: number, reference: Readonly<Record<string, Float64Array>>) => void,
): Promise<void> {
  const options = optimizerOptions(given.optimizer, given.options);
  const kind = optimizerNamed(given.optimizer);
  const gradients = ParameterArray.allocate(backend, layout);
  const settings = { learningRate: 1, weightDecay: given.weightDecay, groups: given.groups ?? [] };
  const [groups] = groupsOf([{ layout, prefix: "" }], settings);
  const optimizer = await kind.create({ backend, weights, gradients, groups }, options);
  const states = layout.parameters.map((p) => {
    const [rows, columns] = p.shape.slice(-2).map((d) => d.size);
    const state: ReferenceState = {
      p: Float64Array.from(weights.view(p.name)),
      moments: {},
      ...(p.shape.length >= 2 && { matrix: { rows, columns } }),
    };
    return { p, state, group: groups.find((g) => g.parameters.includes(p)) };
  });
  for (const [i, runRate] of given.rates.entries()) {
    fill(i, gradients);
    const count = i + 1;
    const learningRate = kind.ownRate(options)?.(count) ?? runRate;
    await optimizer.update(count, learningRate, given.scale);
    for (const { p, state, group } of states) {
      const g = Float64Array.from(gradients.view(p.name), (x) => x * given.scale);
      const step = { count, rate: runRate * (group?.rate ?? 1), weightDecay: group?.weightDecay ?? 0, g };
      references[given.optimizer](state, step, options as Required<OptimizerOptions>);
    }
    compare(i, Object.fromEntries(states.map(({ p, state }) => [p.name, state.p])));
  }
  optimizer.release();
}

const worst = (a: ArrayLike<number>, b: ArrayLike<number>) => {
  let most = 0;
  for (let i = 0; i < a.length; i++) {
    const difference = Math.abs(a[i] - b[i]);
    most = difference <= most ? most : difference; // NaN too
  }
  return most;
};

describe("equal to PyTorch and transformers over five steps", () => {
  test.each(fixture.cases.map((c) => [c.optimizer, JSON.stringify(c.options), c] as const))(
    "%s %s",
    async (_name, _options, { optimizer, options, weightDecay, after }) => {
      const layout = layoutFor(fixture.shapes);
      const weights = ParameterArray.allocate(backend, layout);
      for (const [name, values] of Object.entries(fixture.weights)) weights.view(name).set(values);
      const given = { optimizer, options, weightDecay, rates: fixture.rates, scale: 1 };
      const fill = (i: number, gradients: ParameterArray) => {
        for (const [name, values] of Object.entries(fixture.gradients[i])) gradients.view(name).set(values);
      };
      await walk(layout, weights, given, fill, (i, reference) => {
        const expected = [after[0], undefined, undefined, undefined, after[1]][i];
        if (!expected) return;
        for (const name of Object.keys(fixture.shapes)) {
          expect(worst(reference[name], expected[name]), `loops, ${name}`).toBeLessThan(1e-10);
          expect(worst(weights.view(name), expected[name]), `graph, ${name}`).toBeLessThan(1e-6);
        }
      });
    },
  );
});

describe("equal to plain loops in float64 where chunks meet", () => {
  const layout = layoutFor({
    bias: [7],
    wide: [513, 600],
    kernels: [700, 90, 3, 3],
    norm: [5],
    long: [chunkElements + 3],
  });
  const cases: readonly (readonly [string, OptimizerOptions])[] = [
    ["adamw", { betas: [0.9, 0.95] }],
    ["sgd", { momentum: 0.9, nesterov: true }],
    ["rmsprop", { centered: true, momentum: 0.5, epsilon: 1e-3 }],
    ["adafactor", { scaleParameter: true, beta1: 0.9 }],
    ["lion", {}],
  ];
  test("every optimizer of the table is among them", () => {
    expect(cases.map(([name]) => name).sort()).toEqual([...optimizerNames].sort());
  });
  test.each(cases)("%s, with groups and a gradient that is scaled", async (optimizer, options) => {
    const weights = ParameterArray.allocate(backend, layout);
    weights.initialize(1);
    const rng = random(2, "gradients");
    const groups = [
      { match: "w*e", learningRate: 3, weightDecay: 0.2 },
      { match: "norm", learningRate: 0 },
    ];
    const given = { optimizer, options, weightDecay: 0.1, groups, rates: [0.01, 0.02, 0.005], scale: 0.5 };
    const before = weights.view("norm").slice();
    // Steps of 1/64 are exact in both precisions, so that a sign is the same in both.
    const fill = (_i: number, gradients: ParameterArray) =>
      gradients.flat.forEach((_, i) => (gradients.flat[i] = (rng.integer(64) - 31.5) / 64));
    await walk(layout, weights, given, fill, (_i, reference) => {
      for (const { name } of layout.parameters)
        expect(worst(weights.view(name), reference[name]), name).toBeLessThan(3e-6);
    });
    expect(weights.view("norm")).toEqual(before);
  });
});

describe("options", () => {
  test("those of another optimizer are refused, with what this one takes", () => {
    expect(() => optimizerOptions("sgd", { betas: [0.9, 0.99] })).toThrow(
      "train.betas: optimizer sgd does not take betas. It takes momentum, nesterov and weightDecay",
    );
    expect(() => optimizerOptions("adafactor", { epsilon: 1e-8 })).toThrow("is two numbers");
    expect(() => optimizerOptions("adamw", { epsilon: [1e-8, 1] })).toThrow("is one number");
  });
  test("an unknown optimizer is told its nearest name", () => {
    expect(() => optimizerNamed("adam")).toThrow("Did you mean adamw?");
    expect(() => optimizerNamed("zzzzzz")).toThrow("Known: adamw, sgd, rmsprop, adafactor, lion");
  });
});
