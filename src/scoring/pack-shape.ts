/**
 * Shapes of packed batches: the sizes that a program runs at. Where it is compiled for each, they are rounded so that they are few. What
 * one costs is counted in tokens.
 */
import { blockSize, fewestBlockedRows } from "../engine/blocked-products.ts";

export interface PackShape {
  /** Tokens of prompts that several rows of attention look at. */
  readonly prompts: number;
  /** All other tokens; what is padding stands last. */
  readonly others: number;
  /**
   * Rows of attention that may look at a token of those prompts: its own, those of later parts, and one for each completion; 0 without such
   * prompts.
   */
  readonly copies: number;
  /** Rows of attention. */
  readonly rows: number;
  /** Tokens of a row that look at others, and tokens that they may look at. */
  readonly queries: number;
  readonly keys: number;
  /** Scored tokens of each role. */
  readonly scored: readonly number[];
  /** Completions of each role: the record slots, or for roles of several a number of their own. */
  readonly units: readonly number[];
  /** Record slots. */
  readonly records: number;
}

/** What programs whose sizes are free are told apart by: which sizes there are none of, or one. */
export const structureOf = (shape: PackShape): string =>
  JSON.stringify(shape, (_, v: unknown) => (typeof v === "number" ? Math.min(v, 2) : v));

/** Tokens that go through the layers. */
export const tokensOfShape = ({ prompts, others }: PackShape): number => prompts + others;

/**
 * The smallest of few sizes that holds n: multiples of 8 up to 64, then four steps an octave.
 * `exact` leaves sizes up to it as they are.
 */
export function roundedUp(n: number, exact = 0): number {
  if (n <= exact) return Math.max(n, 1);
  const step = Math.max(exact ? 1 : 8, 2 ** (Math.ceil(Math.log2(n)) - 3));
  return Math.ceil(n / step) * step;
}

export const upTo8 = (n: number): number => 8 * Math.ceil(n / 8);

/** The smallest of few sizes that holds n: multiples of 8 up to 128, then eight steps an octave. */
export function finelyRoundedUp(n: number): number {
  const step = Math.max(8, 2 ** (Math.ceil(Math.log2(Math.max(n, 1))) - 4));
  return Math.ceil(n / step) * step;
}

/**
 * What the layers cost in a shape, in tokens: T looks of a token at others cost a share of about T / 4.4 hidden of its matrix products,
 * softmax and masks included; to gather a key and a value in both directions 6 / hidden; and to sum the gradients of copies of one
 * 2 / hidden for each (measured on 34M parameters).
 */
export function layerCost(shape: PackShape, hidden: number): number {
  const { prompts, copies, rows, queries, keys } = shape;
  return tokensOfShape(shape) + (rows * keys * (queries / 4.4 + 6) + 2 * copies * prompts) / hidden;
}

/** Whether a shape has room for these numbers. */
export function holds(shape: PackShape, least: Omit<PackShape, "rows" | "queries" | "keys">): boolean {
  return (
    shape.records === least.records &&
    shape.prompts >= least.prompts &&
    shape.others >= least.others &&
    shape.copies >= least.copies &&
    least.scored.every((n, k) => n <= shape.scored[k]) &&
    least.units.every((n, k) => n <= shape.units[k])
  );
}

/**
 * The smallest shape that holds the numbers of both, with as many rows as should be enough, where they are longer for one of them; `grow`
 * finds out. Undefined where they count records differently.
 */
export function union(a: PackShape, b: PackShape): PackShape | undefined {
  if (a.records !== b.records) return undefined;
  const larger = (x: readonly number[], y: readonly number[]) => x.map((n, k) => Math.max(n, y[k]));
  const [queries, keys] = [Math.max(a.queries, b.queries), Math.max(a.keys, b.keys)];
  const rows = [a, b].map((s) => Math.ceil(s.rows * Math.max(s.queries / queries, s.keys / keys)));
  return {
    prompts: Math.max(a.prompts, b.prompts),
    others: Math.max(a.others, b.others),
    copies: Math.max(a.copies, b.copies),
    rows: Math.max(...rows),
    queries,
    keys,
    scored: larger(a.scored, b.scored),
    units: larger(a.units, b.units),
    records: a.records,
  };
}

/**
 * Shapes with other sizes throughout, no two of one the same, whose programs should be like those of the given shape; sizes of 0 and 1
 * stay, as programs differ by them. An eighth larger, so that what sizes are divided into differs too; and, as something else may be
 * computed from some size on, an eighth smaller, and the nearest ones.
 */
export const likeShapes = (shape: PackShape): PackShape[] =>
  [1.125, 0.875, 1, 0.99].map((f) => scaled(shape, f));

function scaled(shape: PackShape, factor: number): PackShape {
  const taken = new Set<number>();
  /** Primes, as products of them tell what they are made of. */
  const other = (n: number, free = (m: number) => !taken.has(m) && isPrime(m)): number => {
    if (n < 2) return n;
    let found = Math.floor(factor * n) - (factor < 1 ? 1 : 0);
    while (factor < 1 && found > 1 && !free(found)) found--;
    if (factor >= 1 || found < 2) for (found = Math.max(found, n) + 1; !free(found);) found++;
    taken.add(found);
    return found;
  };
  /** Numbers the last of which makes whole blocks of them, where it does in the shape. */
  const others = (numbers: readonly number[]): number[] => {
    const total = numbers.reduce((a, b) => a + b, 0);
    if (total < fewestBlockedRows || total % blockSize !== 0) return numbers.map((n) => other(n));
    const before = numbers.slice(0, -1).map((n) => other(n));
    const rest = before.reduce((a, b) => a + b, 0);
    const whole = (n: number) =>
      !taken.has(n) && (rest + n) % blockSize === 0 && isPrime((rest + n) / blockSize);
    return [...before, ...numbers.slice(-1).map((n) => other(n, whole))];
  };
  const [prompts, own] = others([shape.prompts, shape.others]);
  return {
    prompts,
    others: own,
    copies: other(shape.copies),
    rows: other(shape.rows),
    queries: other(shape.queries),
    keys: other(shape.keys),
    scored: others(shape.scored),
    units: shape.units.map((n) => other(n)),
    records: other(shape.records),
  };
}

function isPrime(n: number): boolean {
  for (let d = 2; d * d <= n; d++) if (n % d === 0) return false;
  return n > 1;
}
