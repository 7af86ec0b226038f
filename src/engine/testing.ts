/**
 * For tests: gradient checks, which build a function of named inputs in float64, run it on the real back end, and compare every element of
 * every gradient with a central difference; and a back end that counts its programs.
 */
import { expect } from "vitest";
import type { Backend, CompileOptions } from "./backends/backend.ts";
import { openBackend } from "./backends/open.ts";
import { gradients } from "./gradient.ts";
import { Graph } from "./graph.ts";
import { mul } from "./ops/elementwise.ts";
import { sum } from "./ops/reduce.ts";
import { compile, evaluate } from "./program.ts";
import { random } from "./random.ts";
import type { Shape, Tensor } from "./tensor.ts";

export type Inputs = Readonly<
  Record<string, { shape: Shape; values?: readonly number[]; integers?: readonly number[] }>
>;

/** Step of the central difference; the relative error allowed is that of the specification, 1e-6. */
const epsilon = 1e-5;
const tolerance = 1e-6;

/** The output of `build` and, for the sum of its elements weighted by fixed random numbers, the gradient of each float input. */
export async function checkGradients(
  build: (inputs: Record<string, Tensor>) => Tensor,
  given: Inputs,
  seed = 1,
): Promise<void> {
  const backend = await openBackend();
  const graph = new Graph("float64");
  const tensors = declare(graph, given);
  const y = build(tensors);
  const weights = graph.input("output weights", "float", y.shape);
  const loss = sum(mul(y, weights));
  const floats = Object.keys(given).filter((name) => !given[name].integers);
  const found = gradients(
    loss,
    floats.map((name) => tensors[name]),
  );
  const rng = random(seed, "gradient check");
  const arrays: Record<string, Float64Array | BigInt64Array> = Object.fromEntries(
    Object.entries(given).map(([name, { shape, values, integers }]) => {
      const n = shape.reduce((a, d) => a * d.size, 1);
      return [
        name,
        integers
          ? BigInt64Array.from(integers, BigInt)
          : Float64Array.from(values ?? Array.from({ length: n }, () => rng.normal())),
      ];
    }),
  );
  const outputs = Object.fromEntries(
    floats.flatMap((name, i) => (found[i] ? [[`d/${name}`, found[i]]] : [])),
  );
  expect(Object.keys(outputs), "every input has a gradient").toEqual(floats.map((name) => `d/${name}`));
  const outputWeights = Float64Array.from({ length: y.elements }, () => rng.normal());
  const results = await evaluate(backend, graph, outputs, { ...arrays, "output weights": outputWeights });

  const forward = await compile(backend, graph, { loss }, { optimize: false });
  const value = async (name: string, i: number, delta: number) => {
    const moved = { ...arrays, [name]: arrays[name].slice() };
    (moved[name] as Float64Array)[i] += delta;
    const bound = forward.bind({ ...moved, "output weights": outputWeights });
    await bound.run();
    return Number(bound.outputs.loss[0]);
  };
  for (const name of floats) {
    const gradient = results[`d/${name}`] as Float64Array;
    const scale = Math.max(1e-3, ...gradient.map(Math.abs));
    for (let i = 0; i < gradient.length; i++) {
      const difference = ((await value(name, i, epsilon)) - (await value(name, i, -epsilon))) / (2 * epsilon);
      expect(
        Math.abs(gradient[i] - difference) / scale,
        `${name}[${i}]: ${gradient[i]} against ${difference}`,
      ).toBeLessThan(tolerance);
    }
  }
  forward.release();
}

/** The values of an expression in either precision. */
export async function valuesOf(
  build: (inputs: Record<string, Tensor>) => Tensor,
  given: Inputs,
  float: "float32" | "float64" = "float64",
): Promise<number[]> {
  const graph = new Graph(float);
  const y = build(declare(graph, given));
  const arrays = Object.fromEntries(
    Object.entries(given).map(([name, { values = [], integers }]) => [
      name,
      integers
        ? BigInt64Array.from(integers, BigInt)
        : float === "float32"
          ? Float32Array.from(values)
          : Float64Array.from(values),
    ]),
  );
  const { "the result": out } = await evaluate(await openBackend(), graph, { "the result": y }, arrays);
  return Array.from(out as Float64Array, Number);
}

function declare(graph: Graph, given: Inputs): Record<string, Tensor> {
  return Object.fromEntries(
    Object.entries(given).map(([name, { shape, integers }]) => [
      name,
      graph.input(name, integers ? "int64" : "float", shape),
    ]),
  );
}

/** The back end, changed as is asked for, with the number of programs that were compiled and of those that were not released. */
export async function countingBackend(changes: Partial<Backend> = {}) {
  const backend = await openBackend();
  const counted = { compiled: 0, held: 0 };
  const own: Backend = {
    ...backend,
    ...changes,
    async compile(model: Uint8Array, options?: CompileOptions) {
      const session = await backend.compile(model, options);
      counted.compiled++;
      counted.held++;
      return {
        ...session,
        release: () => {
          counted.held--;
          session.release();
        },
      };
    },
  };
  return { own, counted };
}
