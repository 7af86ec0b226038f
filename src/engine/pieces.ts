/**
 * Large values in pieces: one tensor for whoever computes with it, and blocks of rows for whoever only takes it down. A program writes the
 * blocks of such an output where they belong, so that the whole is never put together in memory of its own.
 */
import { concat } from "./ops/shape.ts";
import { type Shape, type Tensor, relabel } from "./tensor.ts";

/** Blocks of rows, one after another, as a tensor of the given shape. No gradient. */
export function inPieces(blocks: readonly Tensor[], shape: Shape): Tensor {
  const [{ graph }] = blocks;
  const whole = graph.untaped(() => relabel(concat(blocks, shape[0].name), shape));
  if (blocks.length > 1) graph.pieces.set(whole.id, blocks);
  return whole;
}

/** The blocks that a tensor was made of; undefined where it was made in one. */
export const piecesOf = (x: Tensor): readonly Tensor[] | undefined => x.graph.pieces.get(x.id);

/** What a program writes: all of an output, or a block of it. */
export interface Part {
  readonly output: string;
  readonly name: string;
  readonly tensor: Tensor;
  /** Where it begins in the array of the whole. */
  readonly offset: number;
}

/** Outputs by name, each in one. */
export const inOne = (outputs: Readonly<Record<string, Tensor>>): Part[] =>
  Object.entries(outputs).map(([name, tensor]) => ({ output: name, name, tensor, offset: 0 }));

/** Outputs by name, those in pieces taken apart: each with where its block begins in the array of the whole. */
export function takenApart(outputs: Readonly<Record<string, Tensor>>): Part[] {
  return Object.entries(outputs).flatMap(([output, whole]) => {
    let offset = 0;
    return (piecesOf(whole) ?? [whole]).map((tensor, i, all) => {
      const place = { output, name: all.length > 1 ? `${output}#${i}` : output, tensor, offset };
      offset += tensor.elements;
      return place;
    });
  });
}
