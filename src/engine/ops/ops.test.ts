/** Every operation: its gradient against central differences in float64, and the values that follow from its definition. */
import { describe, expect, test } from "vitest";
import { gradients } from "../gradient.ts";
import { Graph } from "../graph.ts";
import { after, layerBoundary, recomputed, remade } from "../ordering.ts";
import { checkGradients, valuesOf } from "../testing.ts";
import { type Tensor, dim } from "../tensor.ts";
import { attention } from "./attention.ts";
import * as e from "./elementwise.ts";
import { argsort, gatherRows, pick, rearrangeRows, segmentSum, spread } from "./indexing.ts";
import { erf, gelu, geluTanh } from "./gelu.ts";
import { gatedSilu } from "./gated.ts";
import { linear, linearInOut, matmul } from "./matmul.ts";
import { layerNorm, logSoftmax, rmsNorm, softmax } from "./normalization.ts";
import { logSumExp, mean, sum } from "./reduce.ts";
import { rotary } from "./rotary.ts";
import { concat, expand, rename, reshape, slice, transpose } from "./shape.ts";
import { tokenLogProbs } from "./token-log-probs.ts";
import { type BlockSizes, type VocabularyQuantity, vocabularyScores } from "./vocabulary-scores.ts";

const [n, m, k, one] = [dim("n", 3), dim("m", 4), dim("k", 5), dim("one", 1)];
const matrix = { shape: [n, m] };
type Ops = Record<string, Tensor>;

describe("elementwise", () => {
  const smooth = {
    exp: e.exp,
    tanh: e.tanh,
    sigmoid: e.sigmoid,
    silu: e.silu,
    expm1: e.expm1,
    softplus: e.softplus,
    logSigmoid: e.logSigmoid,
    neg: e.neg,
    square: e.square,
    gelu,
    geluTanh,
    softcap: (x: Tensor) => e.softcap(x, 1.5),
  };
  test.each(Object.entries(smooth))("%s", (_, op) => checkGradients(({ x }: Ops) => op(x), { x: matrix }));
  const onPositive = { log: e.log, sqrt: e.sqrt, reciprocal: e.reciprocal, abs: e.abs };
  test.each(Object.entries(onPositive))("%s of positive numbers", (_, op) =>
    checkGradients(({ x }: Ops) => op(x), {
      x: { ...matrix, values: Array.from({ length: 12 }, (_, i) => 0.3 + i / 5) },
    }),
  );
  const binary = { add: e.add, sub: e.sub, mul: e.mul, div: e.div, maximum: e.maximum, minimum: e.minimum };
  test.each(Object.entries(binary))("%s, also when either operand stretches", async (_, op) => {
    const away = { shape: [m], values: [2, -3, 1.5, -2.5] };
    await checkGradients(({ a, b }: Ops) => op(a, b), {
      a: matrix,
      b: { ...matrix, values: Array.from({ length: 12 }, (_, i) => (i % 2 ? 2.5 : -2) + i / 7) },
    });
    await checkGradients(({ a, b }: Ops) => op(a, b), { a: matrix, b: away });
    await checkGradients(({ a, b }: Ops) => op(a, b), {
      a: { shape: [n, one], values: [0.4, -0.7, 1.1] },
      b: away,
    });
    await checkGradients(({ a }: Ops) => op(a, 2.25), { a: matrix });
  });
  test("where", () =>
    checkGradients(({ a, b }: Ops) => e.where(e.greater(a, b), e.mul(a, a), b), { a: matrix, b: matrix }));
  test("a value used twice gets both gradients", () =>
    checkGradients(({ x }: Ops) => e.mul(e.exp(x), e.add(x, x)), { x: matrix }));

  const points = [-800, -40, -1, -1e-9, 0, 1e-9, 1, 40, 800];
  test.each(["float32", "float64"] as const)(
    "softplus and its kin are exact and finite from -800 to 800 in %s",
    async (float) => {
      const x = { shape: [dim("points", points.length)], values: points };
      const relative = float === "float32" ? 3e-6 : 1e-14;
      const softplus = await valuesOf(({ x }: Ops) => e.softplus(x), { x }, float);
      points.forEach((p, i) => {
        const given = float === "float32" ? Math.fround(p) : p;
        const exact = Math.max(given, 0) + Math.log1p(Math.exp(-Math.abs(given)));
        expect(Math.abs(softplus[i] - exact)).toBeLessThanOrEqual(
          relative * exact + (float === "float32" ? 1e-37 : 1e-300),
        );
      });
      const slope = await valuesOf(({ x }: Ops) => gradients(sum(e.softplus(x)), [x])[0] ?? x, { x }, float);
      expect(slope[points.indexOf(0)]).toBe(0.5);
      expect(slope.every((s) => s >= 0 && s <= 1)).toBe(true);
    },
  );
  // erf x for x = -7, -2.5, -0.5, 0, 1e-5, 0.3, 1, 3.25, 5.5: Python's math.erf
  const erfs = [
    [-7, -1],
    [-2.5, -0.999593047982555],
    [-0.5, -0.5204998778130465],
    [0, 0],
    [1e-5, 1.1283791670578999e-5],
    [0.3, 0.3286267594591274],
    [1, 0.8427007929497149],
    [3.25, 0.9999956972205364],
    [5.5, 0.9999999999999927],
  ];
  test.each(["float32", "float64"] as const)("erf and both forms of GELU in %s", async (float) => {
    const given = (values: number[]) => ({ x: { shape: [dim("points", values.length)], values } });
    const close = float === "float32" ? 5e-7 : 2e-15;
    const y = await valuesOf(({ x }: Ops) => erf(x), given(erfs.map(([x]) => x)), float);
    erfs.forEach(([, value], i) => expect(Math.abs(y[i] - value)).toBeLessThanOrEqual(close));
    // x Φ(x) with Φ from the same list, and the tanh form from its definition
    const exact = await valuesOf(({ x }: Ops) => gelu(x), given(erfs.map(([x]) => x * Math.SQRT2)), float);
    erfs.forEach(([x, value], i) =>
      expect(Math.abs(exact[i] - (x * Math.SQRT2 * (1 + value)) / 2)).toBeLessThanOrEqual(10 * close),
    );
    const xs = [-20, -3, -0.7, 0, 1e-3, 0.4, 2.2, 20];
    const form = (x: number) => (x / 2) * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
    (await valuesOf(({ x }: Ops) => geluTanh(x), given(xs), float)).forEach((v, i) =>
      expect(Math.abs(v - form(xs[i]))).toBeLessThanOrEqual(10 * close),
    );
  });
  test.each(["float32", "float64"] as const)("the slopes of both forms of GELU in %s", async (float) => {
    const xs = [-9, -3, -0.7, 0, 0.4, 2.2, 9];
    for (const op of [gelu, geluTanh]) {
      const slope = await valuesOf(
        ({ x }: Ops) => gradients(sum(op(x)), [x])[0] ?? x,
        { x: { shape: [dim("points", xs.length)], values: xs } },
        float,
      );
      expect(slope[3]).toBe(0.5);
      expect([slope[0], slope[6]].map((s) => Math.abs(Math.round(s) - s) < 1e-6)).toEqual([true, true]);
      // f(x) - f(-x) = x for both forms, so the slopes at x and -x add up to 1
      expect(slope[0] + slope[6]).toBeCloseTo(1, 6);
    }
  });
  test("a soft cap of 50 takes 60 to 41.6827304, one of 30 takes 10 to 9.6453821, none changes nothing", async () => {
    const x = { shape: [n], values: [60, 10, -60] };
    for (const float of ["float32", "float64"] as const) {
      const at = async (c: number) => valuesOf(({ x }: Ops) => e.softcap(x, c), { x }, float);
      expect((await at(50))[0]).toBeCloseTo(41.6827304, 5);
      expect((await at(30))[1]).toBeCloseTo(9.6453821, 5);
    }
    const uncapped = new Graph().input("x", "float", [n]);
    expect(e.softcap(uncapped, undefined)).toBe(uncapped);
  });
  test("at a tie neither operand of max has a slope", async () => {
    const slope = await valuesOf(({ x }: Ops) => gradients(sum(e.maximum(x, 0)), [x])[0] ?? x, {
      x: { shape: [n], values: [-1, 0, 2] },
    });
    expect(slope).toEqual([0, 0, 1]);
  });
  test("stopGradient lets nothing through", () => {
    const x = new Graph().input("x", "float", [n]);
    expect(gradients(sum(e.stopGradient(e.exp(x))), [x])).toEqual([undefined]);
  });
});

describe("shapes and sums", () => {
  const x = { shape: [n, m, k] };
  test("reshape and transpose", () =>
    checkGradients(({ x }: Ops) => e.square(transpose(reshape(x, [dim("nm", 12), k]), ["k", "nm"])), { x }));
  test("slice", () => checkGradients(({ x }: Ops) => e.square(slice(x, "m", 1, 3)), { x }));
  test("concat", () =>
    checkGradients(({ a, b }: Ops) => e.square(concat([a, b, a], "m")), {
      a: matrix,
      b: { shape: [n, dim("m", 2)] },
    }));
  test("expand", () =>
    checkGradients(({ a }: Ops) => e.square(expand(a, [dim("r", 2), n, m])), { a: { shape: [n, one] } }));
  test("rename", () => checkGradients(({ a }: Ops) => e.square(rename(a, "m", "other")), { a: matrix }));
  test("sum, mean and logSumExp over named dimensions", async () => {
    await checkGradients(({ x }: Ops) => e.square(sum(x, "m")), { x });
    await checkGradients(({ x }: Ops) => e.square(sum(x)), { x });
    await checkGradients(({ x }: Ops) => e.square(mean(x, "n", "k")), { x });
    await checkGradients(({ x }: Ops) => e.square(logSumExp(x, "k")), { x });
  });
  test("logSumExp of 800 is finite", async () => {
    const [y] = await valuesOf(({ x }: Ops) => logSumExp(x, "n"), {
      x: { shape: [n], values: [800, 799, -800] },
    });
    expect(y).toBeCloseTo(800 + Math.log1p(Math.exp(-1)), 12);
  });
});

describe("indexing", () => {
  test("gatherRows with repeated rows", () =>
    checkGradients(({ x, i }: Ops) => e.square(gatherRows(x, i)), {
      x: matrix,
      i: { shape: [k], integers: [0, 2, 0, 1, 2] },
    }));
  test("gatherRows adds into a gradient that is there already", () =>
    checkGradients(({ x, h, i }: Ops) => linear(e.add(gatherRows(x, i), h), x), {
      x: { shape: [n, m] },
      h: { shape: [k, m] },
      i: { shape: [k], integers: [0, 2, 0, 1, 2] },
    }));
  test("rearrangeRows: rows that went to several places, to one, and to none", () => {
    // Of four rows the first two went to places 1 and 3, and 0 (the second only there); the third to 4; place 2 is nobody's and has no gradient.
    const heard = { shape: [dim("places", 5), one], values: [1, 2, 0, -3, 0.5] };
    return checkGradients(
      ({ x, index, repeated, rows, heard }: Ops) =>
        e.mul(e.square(rearrangeRows(x, index, { rows, repeated })), heard),
      {
        x: { shape: [dim("rows", 4), m] },
        index: { shape: [dim("places", 5)], integers: [1, 0, 3, 0, 2] },
        repeated: { shape: [dim("copies", 2), dim("first", 2)], integers: [1, 0, 3, 2] },
        rows: { shape: [dim("others", 2)], integers: [4, 2] },
        heard,
      },
    );
  });
  test("pick", () =>
    checkGradients(({ x, i }: Ops) => e.square(pick(x, i)), {
      x: matrix,
      i: { shape: [n], integers: [3, 0, 3] },
    }));
  test("segmentSum drops what goes to the drain", async () => {
    const segments = { shape: [k], integers: [0, 1, 0, 2, 1] };
    const two = dim("records", 2);
    await checkGradients(({ x, s }: Ops) => e.square(e.add(segmentSum(e.exp(x), s, two), e.mul(0, sum(x)))), {
      x: { shape: [k] },
      s: segments,
    });
    const sums = await valuesOf(({ x, s }: Ops) => segmentSum(x, s, two), {
      x: { shape: [k], values: [1, 2, 4, 8, 16] },
      s: segments,
    });
    expect(sums).toEqual([5, 18]);
  });
  test("spread gives every place its segment's value, and 0 to the drain", async () => {
    const given = {
      x: { shape: [dim("records", 2)], values: [3, 5] },
      s: { shape: [k], integers: [0, 1, 0, 2, 1] },
    };
    expect(await valuesOf(({ x, s }: Ops) => spread(x, s), given)).toEqual([3, 5, 3, 0, 5]);
    await checkGradients(({ x, s }: Ops) => e.square(spread(x, s)), given);
  });
  test("argsort is stable, and gathering by it passes gradients back to where values came from", async () => {
    const x = { shape: [k], values: [3, 1, 2, 1, 3] };
    expect(await valuesOf(({ x }: Ops) => e.toFloat(argsort(x)), { x })).toEqual([1, 3, 2, 0, 4]);
    await checkGradients(({ x }: Ops) => e.square(gatherRows(x, argsort(x))), {
      x: { shape: [k], values: [0.3, -1, 2, 0.7, -0.2] },
    });
  });
  test("sums with repeated indices are the same in every run", async () => {
    const rows = dim("rows", 20000);
    const integers = Array.from({ length: rows.size }, (_, i) => (i * 7919) % 3);
    const values = Array.from({ length: rows.size * 4 }, (_, i) => Math.sin(i));
    const build = ({ x, w, i }: Ops) => gradients(sum(e.mul(gatherRows(x, i), w)), [x])[0] ?? x;
    const given = {
      x: { ...matrix, values: new Array<number>(12).fill(0) },
      w: { shape: [rows, m], values },
      i: { shape: [rows], integers },
    };
    const first = await valuesOf(build, given, "float32");
    for (let run = 0; run < 10; run++) expect(await valuesOf(build, given, "float32")).toEqual(first);
    const exact = [0, 0, 0].map((_, r) =>
      values.reduce((a, v, j) => a + (integers[Math.floor(j / 4)] === r && j % 4 === 0 ? v : 0), 0),
    );
    exact.forEach((v, r) => expect(Math.abs(first[r * 4] - v)).toBeLessThan(2e-2));
  });
});

describe("products and norms", () => {
  test.each([
    [false, false],
    [false, true],
    [true, false],
    [true, true],
  ])("matmul, transposed %s and %s", (transposeA, transposeB) =>
    checkGradients(({ a, b }: Ops) => matmul(a, b, { transposeA, transposeB, scale: 0.7 }), {
      a: { shape: transposeA ? [one, m, n] : [one, n, m] },
      b: { shape: transposeB ? [one, k, m] : [one, m, k] },
    }),
  );
  test("linear with bias", () =>
    checkGradients(({ x, w, b }: Ops) => linear(x, w, b), {
      x: matrix,
      w: { shape: [k, m] },
      b: { shape: [k] },
    }));
  test("linear with weights stored [in, out]", () =>
    checkGradients(({ x, w, b }: Ops) => linearInOut(x, w, b), {
      x: matrix,
      w: { shape: [m, k] },
      b: { shape: [k] },
    }));
  test("softmax and logSoftmax", async () => {
    await checkGradients(({ x }: Ops) => softmax(x), { x: matrix });
    await checkGradients(({ x }: Ops) => logSoftmax(x), { x: matrix });
  });
  test("rmsNorm: worked number and gradient", async () => {
    const x = { shape: [one, m], values: [1, -2, 3, 0.5] };
    const w = { shape: [m], values: [1, 0.5, 2, 1] };
    for (const float of ["float32", "float64"] as const) {
      const y = await valuesOf(({ x, w }: Ops) => rmsNorm(x, w, 1e-5), { x, w }, float);
      [0.5298122, -0.5298122, 3.1788732, 0.2649061].forEach((v, i) => expect(y[i]).toBeCloseTo(v, 6));
    }
    await checkGradients(({ x, w }: Ops) => rmsNorm(x, w, 1e-3), { x: matrix, w: { shape: [m] } });
  });
});

describe("layer norm", () => {
  const x = { shape: [one, m], values: [1, -2, 3, 0.5] };
  const w = { shape: [m], values: [1, 0.5, 2, 1] };
  const b = { shape: [m], values: [0.1, 0.2, -0.3, 0] };
  test.each(["float32", "float64"] as const)("from its definition in %s", async (float) => {
    // mean 0.625, variance 3.171875
    const y = await valuesOf(({ x, w, b }: Ops) => layerNorm(x, w, b, 1e-3), { x, w, b }, float);
    x.values.forEach((v, i) =>
      expect(y[i]).toBeCloseTo(((v - 0.625) / Math.sqrt(3.171875 + 1e-3)) * w.values[i] + b.values[i], 6),
    );
  });
  test("gradient", () =>
    checkGradients(({ x, w, b }: Ops) => layerNorm(x, w, b, 1e-3), {
      x: matrix,
      w: { shape: [m] },
      b: { shape: [m] },
    }));
});

describe("attention", () => {
  const [rows, kv, time, keys, width] = [
    dim("rows", 2),
    dim("kvHeads", 2),
    dim("time", 3),
    dim("keys", 3),
    dim("width", 4),
  ];
  const causal = Array.from({ length: 18 }, (_, i) => (i % 3 > Math.floor(i / 3) % 3 ? -1e9 : 0));
  test.each([
    [1, undefined],
    [2, undefined],
    [1, 1.25],
    [2, 1.25],
  ])("%i query heads a key head, soft cap %s", (group, softcap) =>
    checkGradients(
      ({ q, k, v }: Ops) => {
        const table = q.graph.untaped(() =>
          reshape(
            concat(
              causal.map((c) => reshape(q.graph.scalar(c), [one])),
              "one",
            ),
            [rows, dim("x", 1), time, keys],
          ),
        );
        return attention(q, k, v, table, 0.5, softcap);
      },
      {
        q: { shape: [rows, kv, dim("queries", group * 3), width] },
        k: { shape: [rows, kv, keys, width] },
        v: { shape: [rows, kv, keys, width] },
      },
    ),
  );
});

describe("rotary", () => {
  const [tokens, half] = [dim("tokens", 2), dim("half", 2)];
  // d 4, base 1e4, position 3: worked number 2 of the foundations, one head
  const angles = [3, 3 * 0.01];
  const cos = { shape: [dim("tokens", 1), half], values: angles.map(Math.cos) };
  const sin = { shape: [dim("tokens", 1), half], values: angles.map(Math.sin) };
  test.each(["float32", "float64"] as const)("worked number in %s", async (float) => {
    const y = await valuesOf(
      ({ x, cos, sin, order }: Ops) => rotary(x, cos, sin, order, 1),
      {
        x: { shape: [dim("tokens", 1), dim("width", 4)], values: [1, 2, 3, 4] },
        cos,
        sin,
        order: { shape: [one, dim("tokens", 1)], integers: [0] },
      },
      float,
    );
    [-1.4133525, 1.8791181, -2.8288575, 4.0581911].forEach((v, i) => expect(y[i]).toBeCloseTo(v, 5));
  });
  test.each(["float32", "float64"] as const)(
    "with tables narrower than a head the rest of it stays, in %s",
    async (float) => {
      const given = {
        x: { shape: [dim("tokens", 1), dim("width", 12)], values: [1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 7, 8] },
        cos,
        sin,
        order: { shape: [one, dim("tokens", 1)], integers: [0] },
      };
      const y = await valuesOf(({ x, cos, sin, order }: Ops) => rotary(x, cos, sin, order, 2), given, float);
      const turned = [-1.4133525, 1.8791181, -2.8288575, 4.0581911];
      [...turned, 5, 6, ...turned, 7, 8].forEach((v, i) => expect(y[i]).toBeCloseTo(v, 5));
    },
  );
  test.each([
    ["whole", 8],
    ["partly turned", 12],
  ])("gradient, two heads, %s", (_, width) => {
    const turn = (f: (a: number) => number) => ({
      shape: [tokens, half],
      values: [0.3, 1.2, -0.4, 2.2].map(f),
    });
    return checkGradients(
      ({ x, order }: Ops) => {
        const constant = (values: readonly number[]) =>
          x.graph.untaped(() =>
            reshape(
              concat(
                values.map((v) => reshape(x.graph.scalar(v), [one])),
                "one",
              ),
              [tokens, half],
            ),
          );
        return rotary(x, constant(turn(Math.cos).values), constant(turn(Math.sin).values), order, 2);
      },
      { x: { shape: [tokens, dim("width", width)] }, order: { shape: [one, tokens], integers: [0, 1] } },
    );
  });
});

describe("token log-probabilities", () => {
  const [scored, hidden, vocabulary] = [dim("scored", 5), dim("hidden", 3), dim("vocabulary", 7)];
  const given = {
    h: { shape: [scored, hidden] },
    w: { shape: [vocabulary, hidden] },
    t: { shape: [scored], integers: [0, 6, 3, 3, 1] },
  };
  const blocks = [undefined, { rows: 2, words: 3 }, { rows: 4, words: 2 }, { rows: 9, words: 9 }];
  test.each(blocks)("blocks of %j", (sizes) =>
    checkGradients(({ h, w, t }: Ops) => tokenLogProbs(h, w, t, undefined, sizes), given),
  );
  test.each(blocks)("with a soft cap, blocks of %j", (sizes) =>
    checkGradients(({ h, w, t }: Ops) => tokenLogProbs(h, w, t, 1.5, sizes), given),
  );
  test("a table that is read from and is the head too: its gradient comes in pieces and has both parts", () =>
    checkGradients(
      ({ w, t, ids }: Ops) =>
        tokenLogProbs(e.tanh(rename(gatherRows(w, ids), "ids", "scored")), w, t, undefined, {
          rows: 2,
          words: 3,
        }),
      { w: given.w, t: given.t, ids: { shape: [dim("ids", 5)], integers: [0, 2, 3, 6, 3] } },
    ));
  test("a soft cap is that of the logits", async () => {
    const [h, w] = [
      { ...given.h, values: [2, -1, 0.5] },
      { ...given.w, values: [1, 0, 0, 2, 1, 0] },
    ];
    const [one, two] = [dim("scored", 1), dim("vocabulary", 2)];
    const [logp] = await valuesOf(({ h, w, t }: Ops) => tokenLogProbs(h, w, t, 2), {
      h: { ...h, shape: [one, hidden] },
      w: { ...w, shape: [two, hidden] },
      t: { shape: [one], integers: [1] },
    });
    // logits 2 and 3 become 2 tanh 1 and 2 tanh 1.5
    const [a, b] = [2 * Math.tanh(1), 2 * Math.tanh(1.5)];
    expect(logp).toBeCloseTo(b - Math.log(Math.exp(a) + Math.exp(b)), 12);
  });
  test("chunks change nothing", async () => {
    const values = {
      h: { ...given.h, values: Array.from({ length: 15 }, (_, i) => Math.sin(i)) },
      w: { ...given.w, values: Array.from({ length: 21 }, (_, i) => Math.cos(i)) },
      t: given.t,
    };
    const whole = await valuesOf(({ h, w, t }: Ops) => tokenLogProbs(h, w, t), values);
    expect(
      await valuesOf(({ h, w, t }: Ops) => tokenLogProbs(h, w, t, undefined, { rows: 2 }), values),
    ).toEqual(whole);
  });
});

describe("scores over the vocabulary", () => {
  const [rows, width, other, vocabulary] = [dim("rows", 5), dim("h", 3), dim("g", 2), dim("v", 7)];
  const given = {
    h: { shape: [rows, width] },
    w: { shape: [vocabulary, width] },
    g: { shape: [rows, other], values: Array.from({ length: 10 }, (_, i) => Math.sin(3 * i)) },
    u: { shape: [vocabulary, other], values: Array.from({ length: 14 }, (_, i) => Math.cos(2 * i)) },
    t: { shape: [rows], integers: [6, 0, 2, 6, 6] },
  };
  const scores = (wanted: VocabularyQuantity[], sizes?: BlockSizes, cap?: number) => (i: Ops) =>
    concat(
      wanted.map((q) => {
        const found = vocabularyScores(
          {
            hidden: i.h,
            head: i.w,
            targets: i.t,
            referenceHidden: e.stopGradient(i.g),
            referenceHead: e.stopGradient(i.u),
            softcap: cap,
            referenceSoftcap: cap,
          },
          wanted,
          sizes,
        )[q];
        if (!found) throw new Error(`${q} is missing`);
        return found;
      }),
      "rows",
    );
  const floats = { h: given.h, w: given.w };
  test.each([
    [["logp"], undefined, undefined],
    [["kl"], undefined, undefined],
    [["reverseKl"], { rows: 2, words: 3 }, undefined],
    [["logp", "kl", "reverseKl"], { rows: 2, words: 2 }, undefined],
    [["logp", "kl", "collision"], { rows: 3, words: 4 }, undefined],
    [["logp", "kl", "reverseKl"], { rows: 2, words: 3 }, 1.5],
  ] as const)("%j, blocks of %j, soft cap %s", async (wanted, sizes, cap) => {
    const build = scores([...wanted].filter((q) => q !== "collision") as VocabularyQuantity[], sizes, cap);
    // The reference's side has no gradient: it stays outside of what is checked.
    await checkGradients(
      ({ h, w, t }: Ops) => {
        const fixed = (x: { shape: (typeof rows)[]; values: number[] }, name: string) =>
          h.graph.inputs.find((i) => i.id === name) ?? constant(h, x);
        return build({ h, w, t, g: fixed(given.g, "g"), u: fixed(given.u, "u") });
      },
      { ...floats, t: given.t },
    );
  });
  test("values are those of the definitions", async () => {
    const values = {
      ...given,
      h: { ...given.h, values: Array.from({ length: 15 }, (_, i) => Math.sin(i)) },
      w: { ...given.w, values: Array.from({ length: 21 }, (_, i) => Math.cos(i)) },
    };
    const all: VocabularyQuantity[] = ["logp", "kl", "reverseKl", "collision"];
    const found = await valuesOf(scores(all), values);
    const distribution = (h: number[], w: number[], k: number, row: number) => {
      const z = Array.from({ length: 7 }, (_, v) =>
        Array.from({ length: k }, (_, i) => h[row * k + i] * w[v * k + i]).reduce((a, b) => a + b),
      );
      const total = z.reduce((a, x) => a + Math.exp(x), 0);
      return z.map((x) => Math.exp(x) / total);
    };
    for (let row = 0; row < 5; row++) {
      const p = distribution(values.h.values, values.w.values, 3, row);
      const r = distribution(given.g.values, given.u.values, 2, row);
      const sumOf = (f: (v: number) => number) => p.reduce((s, _, v) => s + f(v), 0);
      [
        Math.log(p[given.t.integers[row]]),
        sumOf((v) => r[v] * Math.log(r[v] / p[v])),
        sumOf((v) => p[v] * Math.log(p[v] / r[v])),
        Math.log(sumOf((v) => p[v] ** 2)),
      ].forEach((expected, q) => expect(found[q * 5 + row]).toBeCloseTo(expected, 10));
    }
    expect(await valuesOf(scores(all, { rows: 2 }), values)).toEqual(found);
  });
});

/** A constant matrix of a graph, row by row. */
function constant(like: Tensor, { shape, values }: { shape: Tensor["shape"]; values: number[] }): Tensor {
  const rows = values.map((v) => reshape(like.graph.scalar(v), [dim("all", 1)]));
  return reshape(concat(rows, "all"), shape);
}

describe("ordering", () => {
  test("after leaves values as they are, whatever it waits for", async () => {
    const given = { x: { shape: [n], values: [1.5, -2, 0] }, d: { shape: [n], values: [NaN, Infinity, 0] } };
    expect(await valuesOf(({ x, d }: Ops) => after(x, d), given)).toEqual([1.5, -2, 0]);
    expect(await valuesOf(({ x, d }: Ops) => after(x, e.div(1, slice(d, "n", 2, 3))), given)).toEqual([
      1.5, -2, 0,
    ]);
  });
  test("gatedSilu, alone, before a weight, and within a layer that is computed again", async () => {
    const given = { gate: matrix, up: matrix, w: { shape: [k, m] } };
    await checkGradients(({ gate, up }: Ops) => e.square(gatedSilu(gate, up)), { gate: matrix, up: matrix });
    const layer = ({ gate, up, w }: Ops) => e.square(linear(gatedSilu(gate, up), w));
    await checkGradients(layer, given);
    await checkGradients(
      ({ gate, up, w }: Ops) => recomputed(gate, [up, w], (g) => layer({ gate: g, up, w })),
      given,
    );
    const values = (shift: number) => Array.from({ length: 12 }, (_, i) => Math.sin(i + shift) * 2);
    const two = { gate: { ...matrix, values: values(0) }, up: { ...matrix, values: values(5) } };
    const apart = await valuesOf(({ gate, up }: Ops) => e.mul(e.silu(gate), up), two);
    expect(await valuesOf(({ gate, up }: Ops) => gatedSilu(gate, up), two)).toEqual(apart);
  });
  test("remade changes no gradient, whether its result is wanted again or not", async () => {
    const norm = (f: Tensor, x: Tensor) => rmsNorm(x, f, 1e-5);
    const layer = ({ x, f, w }: Ops) => e.exp(linear(remade([f, x], norm), w));
    await checkGradients(layer, { x: matrix, f: { shape: [m] }, w: { shape: [k, m] } });
    await checkGradients(({ x, f }: Ops) => e.square(remade([f, x], norm)), { x: matrix, f: { shape: [m] } });
  });
  test("recomputed and layerBoundary change no gradient", () =>
    checkGradients(
      ({ x, w }: Ops) => {
        const first = layerBoundary(e.tanh(linear(x, w)), () => [w]);
        return recomputed(rename(first, "k", "m2"), [w], (h) =>
          e.tanh(linear(rename(h, "m2", "m"), rename(w, "k", "out"))),
        );
      },
      { x: { shape: [n, m] }, w: { shape: [dim("k", 4), m] } },
    ));
});

describe("errors", () => {
  const graph = new Graph();
  const a = graph.input("a", "float", [n, m]);
  test("name operation, names and sizes", () => {
    expect(() => e.add(a, graph.input("b", "float", [n, k]))).toThrow(
      "Add: shapes do not fit: [n 3, m 4] and [n 3, k 5] differ in dimension 1",
    );
    expect(() => e.add(a, graph.input("c", "float", [dim("hidden", 4)]))).toThrow("[hidden 4]");
    expect(() => matmul(a, a)).toThrow("matmul: shapes do not fit: [n 3, m 4] times [n 3, m 4]");
    expect(() => linear(a, a.graph.input("w", "float", [k, k]))).toThrow("weight [k 5, k 5]");
    expect(() => reshape(a, [k])).toThrow("[n 3, m 4] has 12 elements, [k 5] 5");
    expect(() => slice(a, "q", 0, 1)).toThrow('no dimension "q"');
    expect(() => gradients(a, [a])).toThrow("scalar");
  });
});
