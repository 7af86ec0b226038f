/**
 * In which ways completions may stand with their prompt, and which of them the batches of a run keep to: prompts that are shared in one way
 * need other programs than those shared in the other.
 */
import type { Rope } from "../nn/rotary.ts";
import { type PackShape, layerCost } from "./pack-shape.ts";
import type { Placement } from "./segments.ts";

/** One at least. */
export type Placements = readonly [Placement, ...Placement[]];

/** Every way. */
export const allPlacements: Placements = ["split", "joined", "apart"];

/** The ways to share a prompt, each with that of not sharing it, which needs no program of its own. */
const ofRuns: readonly [Placements, Placements] = [
  ["split", "apart"],
  ["joined", "apart"],
];

/** Those that rotary positions allow: where frequencies depend on the length of a row, a prompt stands with each completion. */
export const placementsFor = (rope: Rope): Placements => (rope.dependsOnLength ? ["apart"] : allPlacements);

/** Batches from which it is decided, from all of a run. */
const mostConsidered = 64;

/**
 * The placements of a run: of the two ways to share a prompt the one in which its batches cost less, and apart, where that costs a batch less
 * still. `shapeOf` lays a batch out.
 */
export function placementsOfRun<T>(
  rope: Rope,
  hidden: number,
  batches: readonly T[],
  shapeOf: (batch: T, placements: Placements) => PackShape,
): Placements {
  if (rope.dependsOnLength) return placementsFor(rope);
  const step = Math.ceil(batches.length / mostConsidered);
  const considered = batches.filter((_, i) => i % step === 0);
  const [split, joined] = ofRuns.map((placements) =>
    considered.reduce((cost, batch) => cost + layerCost(shapeOf(batch, placements), hidden), 0),
  );
  return ofRuns[joined < split ? 1 : 0];
}
