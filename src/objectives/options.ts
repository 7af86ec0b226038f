/** The kinds of options that objectives have, each with its default; ranges are checked before a run starts. */
import { z } from "zod";

/** A number above 0. */
export const positive = (fallback: number) => z.number().positive().default(fallback);

/** A number of at least 0. */
export const nonNegative = (fallback: number) => z.number().min(0).default(fallback);

/** A number in [low, high). */
export const within = (low: number, high: number, fallback: number) =>
  z.number().min(low).lt(high).default(fallback);

/** true or false. */
export const flag = (fallback: boolean) => z.boolean().default(fallback);

/** One of a few names. */
export const oneOf = <const T extends string>(names: readonly [T, ...T[]], fallback: NoInfer<T>) =>
  z.enum(Object.fromEntries(names.map((n) => [n, n])) as { [K in T]: K }).default(fallback as never);
