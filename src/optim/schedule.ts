/**
 * Learning-rate schedules as functions of the step, counted from 1. All warm up linearly as transformers does
 * (get_cosine_schedule_with_warmup): update s of w warm-up updates uses (s-1)/w of the rate, so the first update of a warmed-up
 * run has rate 0.
 */
import { RequestError, nearest } from "../errors.ts";

export interface ScheduleOptions {
  readonly learningRate: number;
  /** Updates of the whole run. */
  readonly steps: number;
  /** Below 1 a share of the steps (rounded up), else a number of them. */
  readonly warmup: number;
}

/** Share of the rate at progress 0 … 1 after the warm-up. */
const shapes: Readonly<Record<string, (progress: number) => number>> = {
  cosine: (p) => 0.5 * (1 + Math.cos(Math.PI * p)),
  linear: (p) => 1 - p,
  constant: () => 1,
};

/** The rate of each step. Throws for a name that is not in the table. */
export function schedule(
  name: string,
  { learningRate, steps, warmup }: ScheduleOptions,
): (step: number) => number {
  const shape = Object.hasOwn(shapes, name) ? shapes[name] : undefined;
  if (!shape) {
    const guess = nearest(name, Object.keys(shapes));
    throw new RequestError({
      code: "unknown-schedule",
      what: `there is no schedule "${name}"`,
      where: "train.schedule",
      fix: guess ? `Did you mean ${guess}?` : `Known: ${Object.keys(shapes).join(", ")}`,
    });
  }
  const warm = warmup < 1 ? Math.ceil(warmup * steps) : warmup;
  return (step) => {
    const done = step - 1;
    if (done < warm) return (learningRate * done) / warm;
    return learningRate * shape(steps > warm ? (done - warm) / (steps - warm) : 0);
  };
}
