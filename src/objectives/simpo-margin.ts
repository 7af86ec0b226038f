/** β and the margin γ of objectives that can stand on SimPO's preference: γ itself, or γ/β, 0.25 where neither is given. */
import { z } from "zod";

export const marginOptions = {
  /** 0.1 on log-ratios, 2 on averages where it is not given. */
  beta: z.number().positive().optional(),
  /** γ/β, 0.25 where neither is given. */
  gammaBetaRatio: z.number().min(0).optional(),
  /** γ itself. */
  simpoGamma: z.number().min(0).optional(),
};

export interface MarginSetting {
  readonly beta?: number;
  readonly gammaBetaRatio?: number;
  readonly simpoGamma?: number;
}

export const simpoMargin = {
  /** γ */
  of: ({ gammaBetaRatio, simpoGamma }: MarginSetting, beta: number): number =>
    simpoGamma ?? beta * (gammaBetaRatio ?? 0.25),
  check: ({ gammaBetaRatio, simpoGamma }: MarginSetting): readonly [string, string] | undefined =>
    gammaBetaRatio !== undefined && simpoGamma !== undefined
      ? ["simpoGamma", "gammaBetaRatio = simpoGamma / beta says the same; give one of them"]
      : undefined,
};
