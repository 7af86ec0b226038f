/**
 * In which ways completions may stand with their prompt, and which of them the batches of a run keep to: prompts that are shared in one way
 * need other programs than those shared in the other.
 */
import { random } from "../engine/random.ts";
import type { Rope } from "../nn/rotary.ts";
import { type PackShape, layerCost } from "./pack-shape.ts";
import type { Placement } from "./segments.ts";

/** One at least. */
export type Placements = readonly [Placement, ...Placement[]];

/** Every way. */
export const allPlacements: Placements = ["split", "joined", "apart"];

/** The ways to share a prompt, each with that of not sharing it, which takes the programs of prompts in one row. */
const ofRuns: readonly [Placements, Placements] = [
  ["split", "apart"],
  ["joined", "apart"],
];

/** Those that rotary positions allow: where frequencies depend on the length of a row, a prompt stands with each completion. */
export const placementsFor = (rope: Rope, wanted = allPlacements): Placements =>
  rope.dependsOnLength ? ["apart"] : wanted;

/** Batches, at most, from which it is decided. */
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
  // Any of them, as those at even distances may all be of one kind: the first piece of each batch.
  const considered = random(0, "placements")
    .shuffle([...batches])
    .slice(0, mostConsidered);
  const [split, joined] = ofRuns.map((placements) =>
    considered.reduce((cost, batch) => cost + layerCost(shapeOf(batch, placements), hidden), 0),
  );
  return ofRuns[joined < split ? 1 : 0];
}
