import { describe, expect, test } from "vitest";
import fixture from "./fixtures/ches.json" with { type: "json" };
import { ascending, distributionOf, filterByChes, quantileWindow, rankCorrelation } from "./selection.ts";
import {
  type Predictions,
  coefficientsOf,
  editDistance,
  predictingStates,
  similarities,
} from "./similarity.ts";
import { descend, gradientFlow, unembeddingMetrics } from "./single-token.ts";

interface Side {
  hidden: number[][];
  tokens?: number[];
  targets?: number[];
  probs?: number[][];
}

interface Case {
  name: string;
  procedure: string;
  input: Record<string, unknown>;
  expect: Record<string, unknown>;
}

const states = (side: Side, promptLength: number) => ({
  states: predictingStates(side.hidden, promptLength),
  tokens: side.tokens,
});

const predictions = ({ targets, probs }: Side): Predictions | undefined =>
  targets && probs && { targets, distributions: probs };

const coefficients = (chosen?: Predictions, rejected?: Predictions) =>
  chosen && rejected
    ? { rejected: coefficientsOf(chosen, rejected), chosen: coefficientsOf(chosen, chosen) }
    : undefined;

const procedures: Record<string, (input: never) => Record<string, unknown>> = {
  scores: (input: { promptLength: number; chosen: Side; rejected: Side }) => ({
    ...similarities(
      states(input.chosen, input.promptLength),
      states(input.rejected, input.promptLength),
      coefficients(predictions(input.chosen), predictions(input.rejected)),
    ),
  }),
  theorem: (input: Parameters<typeof gradientFlow>[0]) => ({ ...gradientFlow(input) }),
  simulate: (input: Parameters<typeof descend>[0] & Parameters<typeof descend>[1]) => ({
    ...descend(input, input),
  }),
  window: (input: { count: number; windowSize: number; quantiles: number[] }) => ({
    windows: input.quantiles.map((q) => quantileWindow(input.count, input.windowSize, q)),
  }),
  filter: (input: { scores: number[]; keepFraction: number }) => ({
    kept: filterByChes(input.scores, input.keepFraction),
  }),
};

/** Numbers to 1e-9 relative, 1e-12 absolute near zero; the rest exactly. */
function close(found: unknown, wanted: unknown, where: string): void {
  if (typeof wanted === "number") {
    const error = Math.abs((found as number) - wanted);
    expect(error, where).toBeLessThanOrEqual(Math.max(1e-12, 1e-9 * Math.abs(wanted)));
  } else if (wanted !== null && typeof wanted === "object")
    for (const [key, value] of Object.entries(wanted))
      close((found as Record<string, unknown>)[key], value, `${where}.${key}`);
  else expect(found, where).toEqual(wanted);
}

test.each(fixture.cases as Case[])("$procedure: $name", ({ procedure, input, expect: wanted }) => {
  close(procedures[procedure](input as never), wanted, procedure);
});

const wave = (rows: number, width: number, phase: number) =>
  Array.from({ length: rows }, (_, i) =>
    Array.from({ length: width }, (_, j) => Math.sin(phase + 3 * i + 5 * j)),
  );

describe("CHES", () => {
  const [w, l] = [wave(4, 3, 0), wave(6, 3, 1)];
  const of = (a: number[][], b: number[][]) => similarities({ states: a }, { states: b });

  test("of an answer with itself is 0", () => {
    expect(of(w, w).ches).toBeCloseTo(0, 12);
  });

  test("is at most ‖S_w‖ (‖S_l‖ - ‖S_w‖) (Cauchy and Schwarz)", () => {
    const norm = (rows: number[][]) =>
      Math.hypot(...rows[0].map((_, j) => rows.reduce((t, r) => t + r[j], 0)));
    expect(of(w, l).ches).toBeLessThanOrEqual(norm(w) * (norm(l) - norm(w)) + 1e-12);
  });

  test("does not change when all states are rotated, and goes with the square of their scale", () => {
    const [c, s] = [Math.cos(0.7), Math.sin(0.7)];
    const rotate = (rows: number[][]) => rows.map(([x, y, z]) => [c * x - s * y, s * x + c * y, z]);
    const scale = (rows: number[][]) => rows.map((r) => r.map((x) => 3 * x));
    for (const measure of ["ches", "lnChes"] as const) {
      expect(of(rotate(w), rotate(l))[measure]).toBeCloseTo(Number(of(w, l)[measure]), 12);
      expect(of(scale(w), scale(l))[measure]).toBeCloseTo(9 * Number(of(w, l)[measure]), 10);
    }
  });

  test("by length is CHES / n² for two answers of n tokens", () => {
    const same = of(w, l.slice(0, 4));
    expect(same.lnChes).toBeCloseTo(Number(same.ches) / 16, 14);
  });

  test("with the true coefficients is the inner product of gradients by the unembedding", () => {
    // π of state h is softmax(W h); ∇_W log π(y) has rows (1{z = y} - π_z) h, here added token by token.
    const W = wave(5, 3, 2);
    const answer = (rows: number[][], targets: number[]) => {
      const distributions = rows.map((h) => {
        const e = W.map((row) => Math.exp(row.reduce((t, x, i) => t + x * h[i], 0)));
        return e.map((x) => x / e.reduce((a, b) => a + b, 0));
      });
      const gradient = W.flatMap((_, z) =>
        [0, 1, 2].map((i) =>
          rows.reduce((t, h, k) => t + (Number(targets[k] === z) - distributions[k][z]) * h[i], 0),
        ),
      );
      return { states: rows, targets, distributions, gradient };
    };
    const [a, b] = [answer(w, [0, 3, 3, 1]), answer(l, [2, 0, 4, 1, 1, 3])];
    const inner = (x: number[], y: number[]) => x.reduce((t, v, i) => t + v * y[i], 0);
    const wanted = inner(a.gradient, b.gradient) - inner(a.gradient, a.gradient);
    expect(similarities(a, b, coefficients(a, b)).chesExact).toBeCloseTo(wanted, 12);
  });
});

test("the rate of every token is the derivative of its log-probability along the flow", () => {
  const pair = { W: wave(5, 3, 0), h: [0.4, -0.2, 0.7], chosen: 1, rejected: 3, beta: 0.3 };
  const { p, rate, m, s, lossSlope } = gradientFlow({ ...pair, referenceLogRatio: 0 });
  // A step of simultaneous descent from the same place; `descend` takes the start as reference, so the slope is -β/2.
  const step = 1e-6;
  const after = descend(pair, { learningRate: step, steps: 1, report: [1] }).p[1];
  const start = -pair.beta / 2;
  rate.forEach((r, z) =>
    expect((Math.log(after[z]) - Math.log(p[z])) / step).toBeCloseTo((r * start) / lossSlope, 5),
  );
  expect(rate[1]).toBeCloseTo(-lossSlope * (m + s), 14);
});

test("unembedding metrics by hand", () => {
  const { chosenNorm, rejectedNorm, inner, projection, orthogonal } = unembeddingMetrics([3, 4], [1, 0]);
  expect([chosenNorm, rejectedNorm, inner]).toEqual([5, 1, 3]);
  expect(projection).toBeCloseTo(0.6, 15); // 3/5
  expect(orthogonal).toBeCloseTo(0.8, 15); // √(1 - 0.36)
});

describe("selection", () => {
  test("keeps at least one pair, all with 1, ties by position", () => {
    expect(filterByChes([3, 1, 2], 0.05)).toEqual([1]);
    expect(filterByChes([3, 1, 2], 1)).toEqual([0, 1, 2]);
    expect(filterByChes([5, 5, 5, 5], 0.5)).toEqual([0, 1]);
    expect(ascending([2, 1, 2, 0])).toEqual([3, 1, 0, 2]);
  });

  test.each([0, -1, 1.5, NaN])("refuses keepFraction %s", (fraction) => {
    expect(() => filterByChes([1, 2], fraction)).toThrow(/keepFraction/);
  });

  test("refuses a score that is not finite, naming its pair", () => {
    expect(() => filterByChes([1, NaN])).toThrow(/pair 2/);
  });

  test("a window that is larger than the data is all of it, halves go to the even place", () => {
    expect(quantileWindow(10, 512, 0.5)).toEqual([0, 10]);
    expect(quantileWindow(6, 2, 0.5)).toEqual([1, 3]); // 2.5 → 2
    expect(quantileWindow(8, 2, 0.5)).toEqual([3, 5]); // 3.5 → 4
  });

  test("quantiles are interpolated", () => {
    expect(distributionOf([4, 1, 3, 2])).toEqual({
      mean: 2.5,
      min: 1,
      q25: 1.75,
      median: 2.5,
      q75: 3.25,
      max: 4,
    });
  });

  test("rank correlation: 1 for any rising map, ties share ranks", () => {
    expect(rankCorrelation([1, 2, 3, 4], [1, 4, 9, 100])).toBeCloseTo(1, 14);
    expect(rankCorrelation([1, 2, 3, 4], [4, 3, 2, 1])).toBeCloseTo(-1, 14);
    // Ranks 0.5, 0.5, 2 against 0, 1, 2: covariance 1.5, variances 1.5 and 2 → 1.5/√3
    expect(rankCorrelation([7, 7, 9], [1, 2, 3])).toBeCloseTo(1.5 / Math.sqrt(3), 14);
  });
});

test("edit distance", () => {
  expect(editDistance([1, 2, 3, 4], [1, 3, 4, 5, 6])).toBe(3);
  expect(editDistance([], [1, 2])).toBe(2);
});
