/** What tests of objectives share: fixture files, and comparison within their tolerance. */
import { expect } from "vitest";
import { packagePath, readJson } from "../formats/files.ts";
import { openBackend } from "../engine/backends/open.ts";
import { random } from "../engine/random.ts";
import { type Calculation, calculate } from "./calculator.ts";
import { objectiveNamed } from "./table.ts";
import type { ObjectiveFamily } from "./definition.ts";

/** Published and recomputed values of one objective (docs/loss-format.md). */
export interface Fixture {
  readonly objective: string;
  readonly cases: readonly {
    readonly name: string;
    readonly options: Readonly<Record<string, unknown>>;
    readonly input: unknown;
    readonly expect: Readonly<Record<string, unknown>>;
  }[];
}

/** The fixture files of all objectives. */
export const fixturesOf = (families: readonly ObjectiveFamily[]): Promise<Fixture[]> =>
  Promise.all(
    families.map(
      async ({ id }) => (await readJson(packagePath(`src/objectives/fixtures/${id}.json`))) as Fixture,
    ),
  );

/** 1e-6 relative, 1e-9 absolute near zero, at every number of the expectation. */
export function expectClose(actual: unknown, expected: unknown, where: string): void {
  if (typeof expected === "number") {
    const difference = Math.abs(Number(actual) - expected);
    expect(difference, `${where}: ${String(actual)} against ${expected}`).toBeLessThanOrEqual(
      1e-6 * Math.abs(expected) + 1e-9,
    );
    return;
  }
  expect(Object.keys(actual as object), where).toEqual(
    expect.arrayContaining(Object.keys(expected as object)),
  );
  for (const [key, value] of Object.entries(expected as object))
    expectClose((actual as Record<string, unknown>)[key], value, `${where}.${key}`);
}

/** Two calculations with the same losses and gradients. */
export async function expectSame(
  a: Promise<Calculation>,
  b: Promise<Calculation>,
  digits = 9,
): Promise<void> {
  const numbers = (value: unknown) => (JSON.stringify(value).match(/-?\d[\d.e+-]*/g) ?? []).map(Number);
  const flat = (c: Calculation) => [...c.losses, ...numbers(c.gradients)];
  const [p, q] = [flat(await a), flat(await b)];
  expect(p).toHaveLength(q.length);
  p.forEach((v, i) => expect(v).toBeCloseTo(q[i], digits));
}

/** A pair of completions of one token each: [policy, reference]. */
export const pairOf = (
  chosen: readonly [number, number],
  rejected: readonly [number, number],
  rest: object = {},
) => ({
  chosen: { policy: [chosen[0]], reference: [chosen[1]] },
  rejected: { policy: [rejected[0]], reference: [rejected[1]] },
  ...rest,
});

const backend = openBackend();

/** An objective by its id and options on examples. */
export async function run(
  name: string,
  options: object,
  examples: readonly object[],
  batch?: object,
): Promise<Calculation> {
  const input = { examples, ...(batch && { batch }) };
  return calculate(await backend, objectiveNamed(name).with({ ...options }), input);
}

export const lossesOf = async (...of: Parameters<typeof run>): Promise<number[]> => (await run(...of)).losses;

/** Equal numbers, one by one. */
export function close(actual: readonly number[], expected: readonly number[], digits = 9): void {
  expect(actual).toHaveLength(expected.length);
  actual.forEach((v, i) => expect(v).toBeCloseTo(expected[i], digits));
}

/** Completions of random log-probabilities, the same ones for the same name. */
export function randomCompletions(
  name: string,
): (tokens: number) => { policy: number[]; reference: number[] } {
  const rng = random(5, name);
  const tokens = (n: number) => Array.from({ length: n }, () => -3 * rng.uniform());
  return (n) => ({ policy: tokens(n), reference: tokens(n) });
}

/** A completion of given sums over a number of tokens. */
export const side = (policy: number, reference: number, count = 1) => ({
  policy: new Array<number>(count).fill(policy / count),
  reference: new Array<number>(count).fill(reference / count),
});

/** d(loss)/d(log π) of both sides of the first pair: every token of a side has the derivative of its sum. */
export async function slopes(...of: Parameters<typeof run>): Promise<[number, number]> {
  const [{ chosen, rejected }] = (await run(...of)).gradients as Record<
    "chosen" | "rejected",
    { policy: number[] }
  >[];
  return [chosen.policy[0], rejected.policy[0]];
}
