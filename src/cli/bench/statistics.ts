/** What repeated measurements come to: the median, and how far they lie apart. */

export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

/** Median and range, rounded to significant digits. Of an even number of values the upper middle one is the median. */
export function spread(values: readonly number[], digits = 4): Spread {
  const sorted = [...values].sort((a, b) => a - b);
  const rounded = (x: number) => significant(x, digits);
  return {
    median: rounded(sorted[Math.floor(sorted.length / 2)]),
    min: rounded(sorted[0]),
    max: rounded(sorted[sorted.length - 1]),
  };
}

/** A number with that many significant digits. */
export const significant = (x: number, digits = 4): number => Number(x.toPrecision(digits));

/** "0.84 (0.81 to 0.86)" */
export const shown = ({ median, min, max }: Spread, unit = ""): string =>
  `${median}${unit} (${min} to ${max})`;

/** Seconds that some work takes. */
export async function seconds(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return (performance.now() - start) / 1000;
}
