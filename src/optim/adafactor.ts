/**
 * Adafactor (Shazeer and Stern, arXiv:1804.04235), with the arithmetic of transformers.Adafactor: the second moment of a matrix
 * is kept as one number a row and one a column (Algorithm 4), updates are clipped by their root mean square (Algorithm 5), and
 * steps may be relative to time and to the size of a parameter (Algorithm 6). Defaults are those of transformers' Trainer.
 */
import { type FactoredNumbers, type FactoredOptions, FactoredPrograms } from "./factored-programs.ts";
import { FactoredMatrix } from "./factored-matrix.ts";
import { FactoredVector } from "./factored-vector.ts";
import { type Optimizer, type OptimizerContext, optimizer } from "./optimizer.ts";

export interface AdafactorOptions {
  /** ε₁ of the squared gradient and ε₂ of the scale of a parameter. */
  readonly epsilon: readonly [number, number];
  /** d: an update whose root mean square is above this is scaled down to it. */
  readonly clipThreshold: number;
  /** c of β₂(t) = 1 - t^c. */
  readonly decayRate: number;
  /** β₁ of the first moment of updates; null: there is none. */
  readonly beta1: number | null;
  /** Rates are multiplied by max(ε₂, the parameter's root mean square). */
  readonly scaleParameter: boolean;
  /** The rate is ρ(t) = min(10⁻², 1/√t) instead of the run's. */
  readonly relativeStep: boolean;
  /** With relative steps: ρ(t) = min(10⁻⁶ t, 1/√t). */
  readonly warmupInit: boolean;
}

export const adafactor = optimizer<AdafactorOptions>({
  defaults: {
    epsilon: [1e-30, 1e-3],
    clipThreshold: 1,
    decayRate: -0.8,
    beta1: null,
    scaleParameter: false,
    relativeStep: false,
    warmupInit: false,
  },
  ownRate: ({ relativeStep, warmupInit }) =>
    relativeStep ? (count) => relativeRate(count, warmupInit) : undefined,
  create,
});

/** ρ(t) of Algorithm 6. */
function relativeRate(count: number, warmupInit: boolean): number {
  return Math.min(warmupInit ? 1e-6 * count : 1e-2, 1 / Math.sqrt(count));
}

async function create(context: OptimizerContext, options: AdafactorOptions): Promise<Optimizer> {
  const { backend, weights, gradients, groups } = context;
  const { parameters, elements } = weights.layout;
  const allocate = (n: number) => new Float32Array(backend.allocate(n * 4), 0, n);
  const sizes = { row: 0, column: 0, v: 0 };
  const placed = parameters.map((p) => {
    const at = { ...sizes };
    if (p.shape.length >= 2) {
      const [rows, columns] = p.shape.slice(-2).map((d) => d.size);
      const slabs = p.elements / (rows * columns);
      sizes.row += slabs * rows;
      sizes.column += slabs * columns;
    } else sizes.v += p.elements;
    return { p, at };
  });
  const state: Record<string, Float32Array> = {
    row: allocate(sizes.row),
    column: allocate(sizes.column),
    v: allocate(sizes.v),
    ...(options.beta1 !== null && { m: allocate(elements) }),
  };
  const factored: FactoredOptions = { ...options, epsilon: options.epsilon[0] };
  const programs = new FactoredPrograms(backend, factored);
  const groupOf = new Map(groups.flatMap((g) => g.parameters.map((p) => [p.name, g] as const)));
  const units: {
    readonly unit: FactoredMatrix | FactoredVector;
    readonly rate: number;
    readonly weightDecay: number;
  }[] = [];
  for (const { p, at } of placed) {
    const view = (flat: Float32Array) => flat.subarray(p.offset, p.offset + p.elements);
    const arrays = { p: view(weights.flat), g: view(gradients.flat), ...(state.m && { m: view(state.m) }) };
    const { rate = 1, weightDecay = 0 } = groupOf.get(p.name) ?? {};
    const unit =
      p.shape.length >= 2
        ? await FactoredMatrix.bind(
            programs,
            p.shape.map((d) => d.size),
            { ...arrays, row: state.row, column: state.column },
            at,
          )
        : await FactoredVector.bind(programs, { ...arrays, v: state.v.subarray(at.v, at.v + p.elements) });
    units.push({ unit, rate, weightDecay });
  }
  return {
    state,
    async update(count, learningRate, gradientScale) {
      const beta2 = 1 - count ** options.decayRate;
      for (const { unit, rate, weightDecay } of units) {
        const own: FactoredNumbers = { beta2, gradientScale };
        const measured = await unit.measure(own);
        const scale = options.scaleParameter ? Math.max(options.epsilon[1], measured.parameterRms) : 1;
        const step = learningRate * rate * scale; // α_t = max(ε₂, RMS(X)) ρ_t
        const clip = Math.max(1, measured.updateRms / options.clipThreshold); // Û = U / max(1, RMS(U) / d)
        await unit.apply({ rate: step / clip, kept: 1 - weightDecay * step });
      }
    },
    release() {
      programs.release();
      for (const array of Object.values(state)) backend.free(array.buffer as ArrayBuffer);
    },
  };
}
