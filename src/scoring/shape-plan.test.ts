/** Shapes of a run: few, large enough, and the same whenever they are planned. */
import { describe, expect, test } from "vitest";
import { random } from "../engine/random.ts";
import { type LayoutOptions, layoutOf } from "./layout.ts";
import { type PackShape, layerCost } from "./pack-shape.ts";
import { planShapes, grownShapes } from "./shape-plan.ts";

const model = { hidden: 576, layers: 30, vocabulary: 49152 };
const roles = [
  { name: "chosen", many: false },
  { name: "rejected", many: false },
];
const rng = random(4, "plan");
const ids = (n: number) => new Array<number>(n).fill(1);
const pair = () => ({
  trees: [
    {
      prompt: ids(20 + rng.integer(40)),
      branches: [
        [{ role: "chosen", ids: ids(5 + rng.integer(60)) }],
        [{ role: "rejected", ids: ids(5 + rng.integer(60)) }],
      ],
    },
  ],
});
const batches = Array.from({ length: 200 }, () => Array.from({ length: 8 }, pair));
const layouts = batches.map(
  (b) => (options: LayoutOptions) => layoutOf(b, roles, { hidden: 576, ...options }),
);
const natural = layouts.map((layout) => layout({ rounding: "fine" }).shape);
const merged = planShapes(natural, model);
const plan = grownShapes(merged, layouts);
const planned = layouts.map((layout) => layout({ shapes: plan }).shape);
const cost = (shapes: readonly PackShape[]) => shapes.reduce((sum, s) => sum + layerCost(s, 576), 0);
const distinct = (shapes: readonly PackShape[]) => new Set(shapes.map((s) => JSON.stringify(s))).size;

describe("a plan", () => {
  test("has few shapes, into which all batches fit, with little padding", () => {
    expect(distinct(natural)).toBeGreaterThan(60);
    expect(plan.length).toBeLessThanOrEqual(10);
    expect(distinct(planned)).toBeLessThanOrEqual(plan.length);
    expect(cost(planned) / cost(natural)).toBeLessThan(1.15);
  });
  test("of the same uses is the same", () => {
    expect(planShapes(natural, model)).toEqual(merged);
    expect(grownShapes(merged, layouts)).toEqual(plan);
  });
  test("of a short run merges more, of a long one less", () => {
    const few = planShapes(natural.slice(0, 20), model).length;
    expect(few).toBeLessThanOrEqual(plan.length);
    expect(planShapes(natural.slice(0, 20), model, 0.001).length).toBeGreaterThan(few);
  });
  test("shapes of other record counts are never merged", () => {
    const [a] = natural;
    const b = { ...a, records: a.records + 1 };
    expect(planShapes([a, b], model)).toHaveLength(2);
  });
});

test("a batch that no shape holds gets one of its own", () => {
  const long = [{ trees: [{ prompt: ids(300), branches: [[{ role: "chosen", ids: ids(30) }]] }] }];
  const own = layoutOf(long, roles, { hidden: 576 });
  expect(layoutOf(long, roles, { hidden: 576, shapes: plan }).shape).toEqual(own.shape);
});

test("a batch that is smaller than a planned shape takes it, even where one of its own would cost less", () => {
  const pairs = (n: number) =>
    Array.from({ length: n }, () => ({
      trees: [
        {
          prompt: ids(100),
          branches: [[{ role: "chosen", ids: ids(200) }], [{ role: "rejected", ids: ids(200) }]],
        },
      ],
    }));
  const { shape } = layoutOf(pairs(4), roles, { hidden: 576, rounding: "fine" });
  const { from, segments } = layoutOf(pairs(3), roles, { hidden: 576, slots: 4, shapes: [shape] });
  expect(from).toBe(shape);
  expect(segments).toHaveLength(3);
});

test("with three quarters of prompt completions attend in one row, with half of it each in its own", () => {
  const pairs = (prompt: number, completion: number) =>
    Array.from({ length: 4 }, () => ({
      trees: [
        { prompt: ids(prompt), branches: roles.map(({ name }) => [{ role: name, ids: ids(completion) }]) },
      ],
    }));
  const laid = (prompt: number, completion: number) =>
    layoutOf(pairs(prompt, completion), roles, { hidden: 512, rounding: "none" });
  expect(laid(192, 64).shape).toMatchObject({ prompts: 0, others: 1280, rows: 4, queries: 320, keys: 320 });
  expect(laid(128, 128).shape).toMatchObject({
    prompts: 512,
    others: 1024,
    rows: 12,
    queries: 128,
    keys: 256,
  });
});

test("long completions of a short prompt stand apart, a long prompt is shared", () => {
  const tree = (prompt: number, completion: number) => [
    {
      trees: [
        {
          prompt: ids(prompt),
          branches: [
            [{ role: "chosen", ids: ids(completion) }],
            [{ role: "rejected", ids: ids(completion) }],
          ],
        },
      ],
    },
  ];
  expect(layoutOf(tree(4, 1000), roles, { hidden: 64 }).placement).toBe("apart");
  expect(layoutOf(tree(500, 100), roles, { hidden: 64 }).placement).not.toBe("apart");
  // The wider the model, the less its attention counts.
  expect(layoutOf(tree(100, 380), roles, { hidden: 64 }).placement).toBe("apart");
  expect(layoutOf(tree(100, 380), roles, { hidden: 4096 }).placement).not.toBe("apart");
});
