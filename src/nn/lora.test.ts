/** Adapted linear layers against the worked numbers of the specification, and their gradients in float64. */
import { describe, expect, it } from "vitest";
import { openBackend } from "../engine/backends/open.ts";
import { Graph } from "../engine/graph.ts";
import { evaluate } from "../engine/program.ts";
import { checkGradients } from "../engine/testing.ts";
import { type Tensor, dim } from "../engine/tensor.ts";
import { adaptedLinear } from "./lora.ts";

const [tokens, input, output, rank] = [dim("tokens", 4), dim("in", 3), dim("out", 2), dim("rank", 1)];
const a = [1, 2, -1];
const b = [0.5, -0.25];
const w = [1, 0, 2, 0, 3, 4];

/** The layer's matrix, [in, out] flat: what it makes of the unit vectors, less what it makes of 0. */
async function matrixOf(inOut: boolean, magnitude?: readonly number[]): Promise<number[]> {
  const backend = await openBackend();
  const graph = new Graph("float64");
  const x = graph.input("x", "float", [tokens, input]);
  const weight = graph.input("w", "float", inOut ? [input, output] : [output, input]);
  const bias = graph.input("bias", "float", [output]);
  const lora = {
    down: graph.input("a", "float", [rank, input]),
    up: graph.input("b", "float", [output, rank]),
    scale: 4,
    magnitude: magnitude && graph.input("m", "float", [output]),
  };
  const y = adaptedLinear(x, { weight, bias, inOut }, lora);
  const stored = inOut ? [0, 1, 2].flatMap((i) => [w[i], w[3 + i]]) : w;
  const results = await evaluate(
    backend,
    graph,
    { y },
    {
      x: Float64Array.from([0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1]),
      w: Float64Array.from(stored),
      bias: Float64Array.from([0.25, -0.5]),
      a: Float64Array.from(a),
      b: Float64Array.from(b),
      ...(magnitude && { m: Float64Array.from(magnitude) }),
    },
  );
  const flat = Array.from(results.y as Float64Array);
  return [0, 1].flatMap((o) => [1, 2, 3].map((t) => flat[t * 2 + o] - flat[o]));
}

const close = (actual: readonly number[], expected: readonly number[]) =>
  actual.forEach((v, i) => expect(v).toBeCloseTo(expected[i], 6));

describe.each([
  ["[out, in]", false],
  ["[in, out]", true],
] as const)("a layer stored %s", (_, inOut) => {
  it("is W + s B A (worked number 6)", async () => {
    close(await matrixOf(inOut), [1 + 2, 0 + 4, 2 - 2, 0 - 1, 3 - 2, 4 + 1]);
  });
  it("with magnitudes is W + s B A with rows of their lengths (worked number 6)", async () => {
    const expected = [1.3416408, 1.7888544, 0, -0.9622504, 0.9622504, 4.8112522];
    close(await matrixOf(inOut, [Math.sqrt(5), 5]), expected);
  });
  it.each([false, true])("has the gradients of central differences, biases too (%s)", async (biased) => {
    const build = ({ x, weight, bias, down, up }: Record<string, Tensor>) =>
      adaptedLinear(x, { weight, bias: biased ? bias : undefined, inOut }, { down, up, scale: 0.5 });
    await checkGradients(build, {
      x: { shape: [tokens, input] },
      weight: { shape: inOut ? [input, output] : [output, input] },
      down: { shape: [rank, input] },
      up: { shape: [output, rank] },
      ...(biased && { bias: { shape: [output] } }),
    });
  });
});

it("magnitudes have the gradient of a product; the lengths that divide them have none", async () => {
  // With the lengths held still the layer is linear in x and m: only these are moved.
  const build = ({ x, m }: Record<string, Tensor>) => {
    const lora = {
      down: constant(x, a, [rank, input]),
      up: constant(x, b, [output, rank]),
      scale: 4,
      magnitude: m,
    };
    return adaptedLinear(x, { weight: constant(x, w, [output, input]), inOut: false }, lora);
  };
  await checkGradients(build, { x: { shape: [tokens, input] }, m: { shape: [output] } });
});

function constant({ graph }: Tensor, values: readonly number[], shape: Tensor["shape"]): Tensor {
  const flat = graph.floats(values, dim("n", values.length));
  return graph.node("Reshape", [flat, graph.integers(shape.map((d) => d.size))], { shape });
}
