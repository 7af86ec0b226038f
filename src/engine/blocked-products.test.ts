/** Products in blocks have the values of the plain ones, and stay in blocks from one to the next. */
import { beforeAll, describe, expect, test } from "vitest";
import type { Backend } from "./backends/backend.ts";
import { openBackend } from "./backends/open.ts";
import { wholeBlocks, withBlockedProducts } from "./blocked-products.ts";
import { gradients } from "./gradient.ts";
import { Graph } from "./graph.ts";
import { peakBytes } from "./memory.ts";
import { blockDomain, needed } from "./onnx.ts";
import { add, mul } from "./ops/elementwise.ts";
import { gatedSilu } from "./ops/gated.ts";
import { linear, linearInOut, productOnto } from "./ops/matmul.ts";
import { softmax } from "./ops/normalization.ts";
import { sum } from "./ops/reduce.ts";
import { recomputed } from "./ordering.ts";
import { ProgramFamily } from "./program-family.ts";
import { type Built, evaluate, writtenFor } from "./program.ts";
import { random } from "./random.ts";
import { type Tensor, dim } from "./tensor.ts";

const [hidden, inner] = [dim("hidden", 256), dim("inner", 320)];
let plain: Backend;
let blocked: Backend;
beforeAll(async () => {
  const backend = await openBackend();
  plain = { ...backend, blocked: false };
  blocked = { ...backend, blocked: true };
});

/** Why the operators cannot be run here; undefined where they can. Blocks of 8 channels do as well as those of 16. */
const missing = process.arch === "x64" ? undefined : `no blocks of 8 or 16 channels on ${process.arch}`;
if (missing) console.warn(`skipped: ${missing}`);

interface Unit {
  readonly graph: Graph;
  readonly x: Tensor;
  readonly weights: readonly Tensor[];
}

function unit(rows: number): Unit {
  const graph = new Graph();
  const x = graph.input("x", "float", [dim("tokens", rows), hidden]);
  const weights = [
    graph.input("gate", "float", [inner, hidden]),
    graph.input("up", "float", [inner, hidden]),
    graph.input("down", "float", [hidden, inner]),
  ];
  return { graph, x, weights };
}

/** As in a layer: beside the unit goes what it is made of, in another scale. */
function gated(x: Tensor, [gate, up, down]: readonly Tensor[]): Tensor {
  const normed = mul(x, 2);
  return add(x, linear(gatedSilu(linear(normed, gate), linear(normed, up)), down));
}

/** Values and gradients of a mean of squares. */
function withGradients(graph: Graph, y: Tensor, of: readonly Tensor[]): Built {
  const loss = mul(sum(mul(y, y)), 1 / y.elements);
  const outputs: Record<string, Tensor> = { y };
  gradients(loss, of).forEach((g, i) => g && (outputs[`d ${of[i].id}`] = g));
  return { graph, outputs };
}

/** How each case is made, and how many products are to be blocked. */
const cases: Readonly<Record<string, { build: () => Built; products: number }>> = {
  "a gated unit with all gradients": {
    products: 9,
    build: () => {
      const { graph, x, weights } = unit(640);
      return withGradients(graph, gated(x, weights), [x, ...weights]);
    },
  },
  "computed a second time": {
    products: 11, // the last of the second time is needed by nobody
    build: () => {
      const { graph, x, weights } = unit(640);
      const y = recomputed(x, weights, (again) => gated(again, weights));
      return withGradients(graph, y, [x, ...weights]);
    },
  },
  "frozen weights, where values wait for a gradient": {
    products: 6,
    build: () => {
      const { graph, x, weights } = unit(784);
      return withGradients(graph, gated(x, weights), [x]);
    },
  },
  "a value in blocks that is an output, and one that is scaled by a vector": {
    products: 3,
    build: () => {
      const { graph, x, weights } = unit(640);
      const scale = graph.input("scale", "float", [inner]);
      const gate = mul(linear(x, weights[0]), scale);
      const up = linear(x, weights[1]);
      const built = withGradients(graph, linear(gatedSilu(gate, up), weights[2]), weights);
      return { graph, outputs: { ...built.outputs, inside: up } };
    },
  },
  "biases, and weights that lie the other way": {
    products: 4,
    build: () => {
      const { graph, x } = unit(640);
      const w = graph.input("w", "float", [hidden, inner]);
      const v = graph.input("v", "float", [inner, hidden]);
      const bias = graph.input("bias", "float", [inner]);
      const y = linearInOut(mul(linearInOut(x, w, bias), 2), v);
      return withGradients(graph, y, [w, v, bias]);
    },
  },
  "several maps of one value, whose gradients are added up": {
    products: 6,
    build: () => {
      const { graph, x, weights } = unit(640);
      const maps = [...weights.slice(0, 2), graph.input("w", "float", [inner, hidden])];
      const [a, b, c] = maps.map((m) => linear(x, m));
      // Of the maps' results their order is wanted, so that the maps themselves are left as they are.
      const y = mul(softmax(a), mul(softmax(b), softmax(c)));
      return withGradients(graph, y, [x, ...maps]);
    },
  },
  "a product of many numbers, whose rearranging is the smaller part": {
    products: 1,
    build: () => {
      const [n, k, m] = [dim("tokens", 1024), dim("in", 4096), dim("out", 1536)];
      const graph = new Graph();
      return {
        graph,
        outputs: { y: linear(graph.input("x", "float", [n, k]), graph.input("w", "float", [m, k])) },
      };
    },
  },
  "large gradients, added to others and without memory for a transpose": {
    products: 2,
    build: () => {
      const graph = new Graph();
      const [n, k, m] = [dim("tokens", 640), dim("in", 1408), dim("out", 1536)];
      const [dy, x] = [graph.input("dy", "float", [n, m]), graph.input("x", "float", [n, k])];
      const before = graph.input("before", "float", [m, k]);
      const added = productOnto([dy, x], before, before);
      return { graph, outputs: { added, tight: productOnto([dy, x], before, undefined, { tight: true }) } };
    },
  },
};

function arraysOf({ graph }: Built): Record<string, Float32Array> {
  const rng = random(5, "blocks");
  return Object.fromEntries(
    graph.inputs.map((t) => [t.id, Float32Array.from({ length: t.elements }, () => rng.normal() / 8)]),
  );
}

const typesOf = ({ graph, outputs }: Built, type: string) =>
  needed(graph.nodes, Object.values(outputs)).filter((node) => node.type === type);

describe.each(Object.entries(cases))("%s", (_, { build, products }) => {
  test("is blocked where it should be", () => {
    const built = build();
    const all = typesOf(built, "Gemm").length;
    const written = withBlockedProducts(built);
    expect(typesOf(written, "Conv")).toHaveLength(products);
    expect(typesOf(written, "Gemm")).toHaveLength(all - products);
  });

  test.skipIf(missing)("has the same values", async () => {
    const built = build();
    const arrays = arraysOf(built);
    const [a, b] = [
      await evaluate(plain, built.graph, built.outputs, arrays),
      await evaluate(blocked, built.graph, built.outputs, arrays),
    ];
    expect(Object.keys(a).length).toBeGreaterThan(0);
    for (const [name, values] of Object.entries(a)) {
      const numbers = Array.from(values, Number);
      const size = Math.sqrt(numbers.reduce((s, v) => s + v ** 2, 0) / numbers.length);
      expect(size).toBeGreaterThan(0);
      let worst = 0;
      numbers.forEach((v, i) => (worst = Math.max(worst, Math.abs(v - Number(b[name][i])))));
      expect(worst / size, name).toBeLessThan(1e-5);
    }
  });
});

test("a product is begun with what it is added to, over its memory", () => {
  const written = withBlockedProducts(
    cases["several maps of one value, whose gradients are added up"].build(),
  );
  const begun = typesOf(written, "Conv").filter(({ inputs }) => (inputs[3] ?? "") !== "");
  expect(begun).toHaveLength(2);
  const added = typesOf(written, "Add").map((node) => written.graph.values.get(node.outputs[0])?.elements);
  expect(added).not.toContain(640 * hidden.size);
  // x, y and y + xw: the sum takes no place of its own.
  const graph = new Graph();
  const image = [dim("one", 1), hidden, dim("tokens", 640), dim("also one", 1)];
  const x = graph.input("x", "float", image);
  const filters = graph.input("w", "float", [hidden, hidden, image[0], image[3]]);
  const product = (onto?: Tensor) =>
    graph.node(
      "Conv",
      [x, filters, undefined, onto],
      { shape: image },
      { kernel_shape: [1, 1] },
      blockDomain,
    );
  const sum = product(product());
  expect(peakBytes(graph, { y: add(sum, 1) })).toBe(4 * x.elements);
});

test("between the products of a gated unit nothing is rearranged", () => {
  const { graph, outputs } = withBlockedProducts(cases["a gated unit with all gradients"].build());
  const elements = (id: string) => graph.values.get(id)?.elements;
  const moved = ["ReorderInput", "ReorderOutput"].flatMap((type) => typesOf({ graph, outputs }, type));
  expect(moved.map((node) => elements(node.outputs[0]))).not.toContain(640 * inner.size);
  // x and dy by columns and by rows, three weights each way; y, the sum of dx, and three gradients.
  expect(moved.map((node) => node.type).sort()).toEqual([
    ...Array.from({ length: 10 }, () => "ReorderInput"),
    ...Array.from({ length: 5 }, () => "ReorderOutput"),
  ]);
});

test("weights are rearranged only once the other operand is there, and not held while it is made", () => {
  const written = withBlockedProducts(cases["a gated unit with all gradients"].build());
  const constants = new Set(written.graph.constants.map((c) => c.id));
  const ofWeights = typesOf(written, "Unsqueeze").filter(({ inputs: [x] }) =>
    ["gate", "up", "down"].includes(x),
  );
  expect(ofWeights).toHaveLength(6);
  for (const { inputs } of ofWeights) expect(constants.has(inputs[1])).toBe(false);
});

test("a number beside an image is one too: without axes it would be added 16 times as slowly", () => {
  const { graph, outputs } = withBlockedProducts(cases["computed a second time"].build());
  const constants = new Map(graph.constants.map((c) => [c.id, c.sizes.length]));
  const rankOf = (id: string) =>
    graph.values.get(id)?.rank ?? constants.get(id) ?? graph.inputs.find((t) => t.id === id)?.rank;
  const beside = needed(graph.nodes, Object.values(outputs)).filter(
    ({ type, inputs }) => ["Add", "Mul", "Sub"].includes(type) && inputs.some((id) => rankOf(id) === 4),
  );
  const sizes = beside.flatMap(({ inputs }) => inputs.map((id) => graph.values.get(id)?.elements));
  expect(sizes).toContain(1); // what waits for a gradient
  for (const { inputs } of beside) expect(inputs.map(rankOf)).toEqual([4, 4]);
});

test("programs that give dead buffers back at once have no products in blocks", () => {
  const built = cases["computed a second time"].build();
  expect(typesOf(writtenFor(blocked, built), "Conv")).toHaveLength(11);
  expect(typesOf(writtenFor(blocked, built, { frugal: true }), "Conv")).toHaveLength(0);
});

test("a vocabulary's gradient is left as it is where its scores are so many that memory counts", () => {
  const graph = new Graph();
  const [n, m] = [dim("tokens", 2048), dim("vocabulary", 9216)];
  const [dz, x] = [graph.input("dz", "float", [n, m]), graph.input("x", "float", [n, hidden])];
  const head = graph.input("head", "float", [m, hidden]);
  const built = { graph, outputs: { head: productOnto([dz, x], head, undefined, { tight: true }) } };
  expect(withBlockedProducts(built)).toEqual(built);
});

test("rows that make no whole blocks, and few rows, are left as they are", () => {
  for (const rows of [100, 639, 776, 1025]) {
    const { graph, x, weights } = unit(rows);
    const built = withGradients(graph, gated(x, weights), weights);
    expect(withBlockedProducts(built)).toEqual(built);
  }
  expect([0, 5, 639, 640, 641, 1025].map(wholeBlocks)).toEqual([0, 5, 639, 640, 656, 1040]);
});

test.skipIf(missing)("one program runs at all sizes", async () => {
  const build = (rows: number) => () => {
    const { graph, x, weights } = unit(rows);
    return withGradients(graph, gated(x, weights), [x, ...weights]);
  };
  const family = new ProgramFamily(blocked);
  for (const rows of [784, 640, 1040]) {
    const built = build(rows)();
    const arrays = arraysOf(built);
    const others = () => [build(16 * 61)];
    const program = await family.program(String(rows), { build: build(rows), others });
    const bound = program.bind(arrays);
    await bound.run();
    const wanted = await evaluate(plain, built.graph, built.outputs, arrays);
    let worst = 0;
    for (const [name, values] of Object.entries(wanted))
      values.forEach(
        (v, i) => (worst = Math.max(worst, Math.abs(Number(v) - Number(bound.outputs[name][i])))),
      );
    expect(worst).toBeLessThan(1e-5);
    bound.release();
  }
  expect(family.size).toBe(1);
  family.release();
});
