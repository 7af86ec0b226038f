/**
 * The optimizers once more, in float64 and in plain loops over one parameter, for tests: as their papers and reference
 * implementations write them, without scalars folded together.
 */
import type { OptimizerOptions } from "./optimizer.ts";

/** One parameter and what its optimizer remembers. */
export interface ReferenceState {
  readonly p: Float64Array;
  /** Rows and columns of each slab of a matrix; undefined for vectors. */
  readonly matrix?: { readonly rows: number; readonly columns: number };
  readonly moments: Record<string, Float64Array>;
}

export interface ReferenceStep {
  /** From 1. */
  readonly count: number;
  readonly rate: number;
  readonly weightDecay: number;
  readonly g: Float64Array;
}

type Rule = (state: ReferenceState, step: ReferenceStep, options: Required<OptimizerOptions>) => void;

const moment = ({ moments, p }: ReferenceState, name: string, n = p.length) =>
  (moments[name] ??= new Float64Array(n));
const rms = (x: Float64Array) => Math.sqrt(x.reduce((s, v) => s + v * v, 0) / x.length);

export const references: Readonly<Record<string, Rule>> = {
  adamw(state, { count, rate, weightDecay, g }, { betas: [beta1, beta2], epsilon }) {
    const { p } = state;
    const [m, v] = [moment(state, "m"), moment(state, "v")];
    for (let i = 0; i < p.length; i++) {
      p[i] *= 1 - rate * weightDecay;
      m[i] = beta1 * m[i] + (1 - beta1) * g[i];
      v[i] = beta2 * v[i] + (1 - beta2) * g[i] ** 2;
      const [mHat, vHat] = [m[i] / (1 - beta1 ** count), v[i] / (1 - beta2 ** count)];
      p[i] -= (rate * mHat) / (Math.sqrt(vHat) + Number(epsilon));
    }
  },
  sgd(state, { rate, weightDecay, g }, { momentum, nesterov }) {
    const { p } = state;
    const b = moment(state, "b");
    for (let i = 0; i < p.length; i++) {
      const gradient = g[i] + weightDecay * p[i];
      b[i] = momentum * b[i] + gradient;
      p[i] -= rate * (nesterov ? gradient + momentum * b[i] : b[i]);
    }
  },
  rmsprop(state, { rate, weightDecay, g }, { alpha, epsilon, momentum, centered }) {
    const { p } = state;
    const [v, m, b] = ["v", "m", "b"].map((name) => moment(state, name));
    for (let i = 0; i < p.length; i++) {
      const gradient = g[i] + weightDecay * p[i];
      v[i] = alpha * v[i] + (1 - alpha) * gradient ** 2;
      m[i] = alpha * m[i] + (1 - alpha) * gradient;
      const variance = centered ? v[i] - m[i] ** 2 : v[i];
      b[i] = momentum * b[i] + gradient / (Math.sqrt(variance) + Number(epsilon));
      p[i] -= rate * b[i];
    }
  },
  lion(state, { rate, weightDecay, g }, { betas: [beta1, beta2] }) {
    const { p } = state;
    const m = moment(state, "m");
    for (let i = 0; i < p.length; i++) {
      p[i] *= 1 - rate * weightDecay;
      p[i] -= rate * Math.sign(beta1 * m[i] + (1 - beta1) * g[i]);
      m[i] = beta2 * m[i] + (1 - beta2) * g[i];
    }
  },
  adafactor(state, step, options) {
    const { p, matrix } = state;
    const { count, weightDecay, g } = step;
    const [epsilon1, epsilon2] = options.epsilon as readonly [number, number];
    const beta2 = 1 - count ** options.decayRate;
    const relative = Math.min(options.warmupInit ? 1e-6 * count : 1e-2, 1 / Math.sqrt(count));
    const rate =
      (options.relativeStep ? relative : step.rate) *
      (options.scaleParameter ? Math.max(epsilon2, rms(p)) : 1);
    const squares = g.map((x) => x * x + epsilon1);
    const root = matrix ? factoredRoot(state, squares, beta2, matrix) : wholeRoot(state, squares, beta2);
    const u = g.map((x, i) => x / root[i]);
    const clip = Math.max(1, rms(u) / options.clipThreshold);
    const m = moment(state, "m");
    for (let i = 0; i < p.length; i++) {
      const update = (u[i] / clip) * rate;
      m[i] = options.beta1 === null ? update : options.beta1 * m[i] + (1 - options.beta1) * update;
      p[i] -= weightDecay * rate * p[i] + m[i];
    }
  },
};

/** √V̂ where the second moment is whole. */
function wholeRoot(state: ReferenceState, squares: Float64Array, beta2: number): Float64Array {
  const v = moment(state, "v");
  squares.forEach((s, i) => (v[i] = beta2 * v[i] + (1 - beta2) * s));
  return v.map(Math.sqrt);
}

/** √V̂ where it is kept by rows and columns. */
function factoredRoot(
  state: ReferenceState,
  squares: Float64Array,
  beta2: number,
  { rows, columns }: { rows: number; columns: number },
): Float64Array {
  const slabs = squares.length / (rows * columns);
  const [row, column] = [moment(state, "row", slabs * rows), moment(state, "column", slabs * columns)];
  const root = new Float64Array(squares.length);
  for (let s = 0; s < slabs; s++) {
    const at = (r: number, c: number) => (s * rows + r) * columns + c;
    const mean = (n: number, value: (i: number) => number) => {
      let total = 0;
      for (let i = 0; i < n; i++) total += value(i);
      return total / n;
    };
    const [r0, c0] = [s * rows, s * columns];
    for (let r = 0; r < rows; r++)
      row[r0 + r] = beta2 * row[r0 + r] + (1 - beta2) * mean(columns, (c) => squares[at(r, c)]);
    for (let c = 0; c < columns; c++)
      column[c0 + c] = beta2 * column[c0 + c] + (1 - beta2) * mean(rows, (r) => squares[at(r, c)]);
    const middle = mean(rows, (r) => row[r0 + r]);
    for (let r = 0; r < rows; r++)
      for (let c = 0; c < columns; c++) root[at(r, c)] = Math.sqrt((row[r0 + r] * column[c0 + c]) / middle);
  }
  return root;
}
