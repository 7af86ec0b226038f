/**
 * The shapes of a run on a device that fixes them, chosen before it begins: every batch could have one of its own, and each costs a
 * compilation and memory; a few that hold them all cost padding. Both are weighed in floating-point operations, without looking at a
 * clock, so that a resumed run plans the same.
 */
import type { Layout, LayoutOptions } from "./layout.ts";
import { type PackShape, layerCost, union } from "./pack-shape.ts";

/** What the sizes of a model make of costs. */
export interface ModelCost {
  readonly hidden: number;
  readonly layers: number;
  readonly vocabulary: number;
}

/** FLOPs that building and compiling the program of one layer stands for: 0.4 s for 8 layers at 200 GFLOP/s. */
const compileFlops = 1e10;
/** More shapes are not kept: see `ProgramCache`. */
const most = 10;
/** Merging looks at all pairs; more shapes than this are first put together by about their size. */
const mostConsidered = 96;

/**
 * Few shapes for these uses. `share` is the part of the run that they are: with 0.1, each stands for ten.
 */
export function planShapes(uses: readonly PackShape[], model: ModelCost, share = 1): PackShape[] {
  let plan = alike(uses).map(({ shape, uses: n }) => ({ shape, uses: n / share }));
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

/**
 * These shapes, grown until every batch fits into one: the larger of two shapes holds the tokens that either held, but rows of attention
 * fill up in ways of their own. `layouts` lay each batch out.
 */
export function grownShapes(
  shapes: readonly PackShape[],
  layouts: readonly ((options: LayoutOptions) => Layout)[],
): PackShape[] {
  const grown = [...shapes];
  // First fit may need more rows in a larger shape: what has grown is looked at again.
  for (let changed = true, pass = 0; changed && pass < 4; pass++) {
    changed = false;
    for (const layout of layouts) {
      if (layout({ shapes: grown }).from) continue;
      const { shape, from } = layout({ shapes: grown, grow: true });
      const before = from ? grown.indexOf(from) : -1;
      if (before < 0) continue;
      grown[before] = shape;
      changed = true;
    }
  }
  return grown;
}

type Planned = { readonly shape: PackShape; readonly uses: number };

/** Shapes with how often each is used: so many at most, those of about one size put together. */
function alike(uses: readonly PackShape[]): Planned[] {
  for (let steps = 64; ; steps /= 2) {
    const groups = new Map<string, Planned>();
    for (const shape of uses) {
      const key = JSON.stringify(shape, (name, v: unknown) =>
        typeof v === "number" && name !== "records" ? coarse(v, steps) : v,
      );
      const known = groups.get(key);
      groups.set(key, {
        shape: (known && union(known.shape, shape)) ?? shape,
        uses: (known?.uses ?? 0) + 1,
      });
    }
    if (groups.size <= mostConsidered || steps < 1)
      return [...groups.values()].sort((a, b) => b.uses - a.uses);
  }
}

/** A number's place among so many steps an octave. */
const coarse = (n: number, steps: number) => (n === 0 ? 0 : 1 + Math.floor(Math.log2(n) * steps));

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

/** Forward and backward of a shape: 24 h² a layer and token, twice that for the backward; the same of the head's h·V. */
export function shapeFlops(shape: PackShape, { hidden, layers, vocabulary }: ModelCost): number {
  const scored = shape.scored.reduce((a, b) => a + b, 0);
  return 3 * (layerCost(shape, hidden) * layers * 24 * hidden ** 2 + scored * 2 * hidden * vocabulary);
}
