/** Steps of one answer, a line each, one after the other, ending in an end token. No objective trains on their verdicts yet. */
import { type RowKind, asWritten } from "./row-kind.ts";

export const stepwise: RowKind = { stepwise: asWritten };
