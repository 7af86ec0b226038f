/**
 * The shapes of a run, chosen before it begins: every batch could have one of its own, and each costs a compilation and memory; a few that
 * hold them all cost padding. Both are weighed in floating-point operations, without looking at a clock, so that a resumed run plans the same.
 */
import { type PackShape, rowCost } from "./layout.ts";

/** What the sizes of a model make of costs. */
export interface ModelCost {
  readonly hidden: number;
  readonly layers: number;
  readonly vocabulary: number;
}

/** FLOPs that compiling the program of one layer stands for: 1 s for 30 layers at 150 GFLOP/s. */
const compileFlops = 5e9;
/** More shapes are not kept: see `ProgramCache`. */
const most = 10;
/** Merging looks at all pairs; beyond this many the rarest are left to find a place. */
const mostConsidered = 96;

/**
 * Few shapes for these uses. `share` is the part of the run that they are: with 0.1, each stands for ten.
 */
export function planShapes(uses: readonly PackShape[], model: ModelCost, share = 1): PackShape[] {
  const counts = new Map<string, { shape: PackShape; uses: number }>();
  for (const shape of uses) {
    const key = JSON.stringify(shape);
    const known = counts.get(key);
    counts.set(key, { shape, uses: (known?.uses ?? 0) + 1 / share });
  }
  let plan = [...counts.values()].sort((a, b) => b.uses - a.uses).slice(0, mostConsidered);
  const compile = compileFlops * model.layers;
  for (;;) {
    const best = bestMerge(plan, model);
    if (!best || (best.cost > compile && plan.length <= most)) break;
    const [i, j] = best.pair;
    const merged = { shape: best.shape, uses: plan[i].uses + plan[j].uses };
    plan = [...plan.filter((_, k) => k !== i && k !== j), merged];
  }
  return plan.map((p) => p.shape);
}

type Planned = { readonly shape: PackShape; readonly uses: number };

function bestMerge(plan: readonly Planned[], model: ModelCost) {
  let best: { cost: number; pair: [number, number]; shape: PackShape } | undefined;
  const costs = plan.map((p) => shapeFlops(p.shape, model));
  for (let i = 0; i < plan.length; i++) {
    for (let j = i + 1; j < plan.length; j++) {
      const shape = union(plan[i].shape, plan[j].shape);
      if (!shape) continue;
      const own = shapeFlops(shape, model);
      const cost = plan[i].uses * (own - costs[i]) + plan[j].uses * (own - costs[j]);
      if (!best || cost < best.cost) best = { cost, pair: [i, j], shape };
    }
  }
  return best;
}

/** The smallest shape that holds both; undefined where they count records differently. */
function union(a: PackShape, b: PackShape): PackShape | undefined {
  if (a.records !== b.records) return undefined;
  const larger = (x: readonly number[], y: readonly number[]) => x.map((n, k) => Math.max(n, y[k]));
  return {
    rows: Math.max(a.rows, b.rows),
    time: Math.max(a.time, b.time),
    scored: larger(a.scored, b.scored),
    units: larger(a.units, b.units),
    records: a.records,
  };
}

/** Forward and backward of a shape: 24 h² a layer and token, twice that for the backward; the same of the head's h·V. */
export function shapeFlops(shape: PackShape, { hidden, layers, vocabulary }: ModelCost): number {
  const scored = shape.scored.reduce((a, b) => a + b, 0);
  return 3 * (rowCost(shape, hidden) * layers * 24 * hidden ** 2 + scored * 2 * hidden * vocabulary);
}
