/** Parts of models: worked numbers of the norms, weights in either order, and what a window lets a token see. */
import { describe, expect, test } from "vitest";
import { valuesOf } from "../engine/testing.ts";
import { type Tensor, dim } from "../engine/tensor.ts";
import { activations } from "./activations.ts";
import { linearLayer, rmsNormLayer } from "./layers.ts";
import { layerMasks } from "./masks.ts";

type Inputs = Record<string, Tensor>;
const [one, four] = [dim("tokens", 1), dim("hidden", 4)];

test("an RMS norm multiplies by the weight, in Gemma by one more: the worked numbers of both", async () => {
  const given = {
    x: { shape: [one, four], values: [1, -2, 3, 0.5] },
    "norm.weight": { shape: [four], values: [1, 0.5, 2, 1] },
  };
  const normed = (onePlus: boolean) =>
    valuesOf((t: Inputs) => rmsNormLayer("norm", four, 1e-5, onePlus).apply((name) => t[name], t.x), given);
  const close = (values: number[], expected: number[]) =>
    values.forEach((v, i) => expect(v).toBeCloseTo(expected[i], 7));
  close(await normed(false), [0.5298122, -0.5298122, 3.1788732, 0.2649061]);
  close(await normed(true), [1.0596244, -1.5894366, 4.7683098, 0.5298122]);
});

test("a linear layer reads its weight as [out, in], or as [in, out]", async () => {
  const [three, two] = [dim("in", 3), dim("out", 2)];
  const apply = (inOut: boolean) => {
    const layer = linearLayer("map", three, two, { bias: true, std: 1, inOut });
    expect(layer.parameters.map((p) => [p.name, p.shape.map((d) => d.name)])).toEqual([
      ["map.weight", inOut ? ["in", "out"] : ["out", "in"]],
      ["map.bias", ["out"]],
    ]);
    return valuesOf((t: Inputs) => layer.apply((name) => t[name], t.x), {
      x: { shape: [one, three], values: [1, 10, 100] },
      "map.weight": { shape: layer.parameters[0].shape, values: [1, 2, 3, 4, 5, 6] },
      "map.bias": { shape: [two], values: [1000, 2000] },
    });
  };
  expect(await apply(false)).toEqual([1321, 2654]);
  expect(await apply(true)).toEqual([1531, 2642]);
});

describe("windows", () => {
  // Two rows of four columns: positions 0 1 2 1 (a branch that starts again after position 0) and 0 1 2 3.
  const positions = { shape: [dim("tokens", 8)], integers: [0, 1, 2, 1, 0, 1, 2, 3] };
  const allowed = [
    [[0], [0, 1], [0, 1, 2], [0, 3]],
    [[0], [0, 1], [0, 1, 2], [0, 1, 2, 3]],
  ];
  const shape = [dim("rows", 2), dim("one", 1), dim("time", 4), dim("keys", 4)];
  const full = allowed.flatMap((row) =>
    row.flatMap((sees) => [0, 1, 2, 3].map((j) => (sees.includes(j) ? 0 : -1e9))),
  );
  const seen = async (window: number | undefined) => {
    const build = ({ full, positions }: Inputs) =>
      layerMasks(full, { queries: positions, keys: positions }, [{ scale: 1, window }])(0);
    const mask = await valuesOf(build, { full: { shape, values: full }, positions });
    const line = (r: number, t: number) => mask.slice((r * 4 + t) * 4, (r * 4 + t) * 4 + 4);
    return [0, 1].map((r) => [0, 1, 2, 3].map((t) => line(r, t).flatMap((v, j) => (v === 0 ? [j] : []))));
  };
  test("of 2: the token itself and the position before it, wherever that stands", async () => {
    expect(await seen(2)).toEqual([
      [[0], [0, 1], [1, 2], [0, 3]],
      [[0], [0, 1], [1, 2], [2, 3]],
    ]);
  });
  test("of 1: itself alone; of 4 or none: all that the mask allows", async () => {
    const alone = [[0], [1], [2], [3]];
    expect(await seen(1)).toEqual([alone, alone]);
    expect(await seen(4)).toEqual(allowed);
    expect(await seen(undefined)).toEqual(allowed);
  });
});

test("names that mean the same activation give the same function", () => {
  expect(activations.swish).toBe(activations.silu);
  expect(activations.gelu_pytorch_tanh).toBe(activations.gelu_new);
  expect(activations.gelu).not.toBe(activations.gelu_new);
});
