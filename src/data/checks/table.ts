/** The checks of a data set, one line each, in the order of the report. */
import type { Check } from "./check.ts";
import { duplicates } from "./duplicates.ts";
import { equalSides } from "./equal-sides.ts";
import { leakage } from "./leakage.ts";
import { length } from "./length.ts";
import { noise } from "./noise.ts";
import { separable } from "./separable.ts";
import { specialTokens } from "./special-tokens.ts";
import { template } from "./template.ts";
import { tokens } from "./tokens.ts";
import { unreadFields } from "./unread.ts";
import { unusable } from "./unusable.ts";

export const dataChecks: readonly Check[] = [
  unusable,
  unreadFields,
  duplicates,
  leakage,
  equalSides,
  length,
  separable,
  noise,
  tokens,
  specialTokens,
  template,
];
