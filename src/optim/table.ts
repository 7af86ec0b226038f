/** The table of optimizers: to add one, add a file and a line here. */
import { RequestError, nearest } from "../errors.ts";
import { adafactor } from "./adafactor.ts";
import { adamw } from "./adamw.ts";
import { lion } from "./lion.ts";
import type { OptimizerKind, OptimizerOptions } from "./optimizer.ts";
import { rmsprop } from "./rmsprop.ts";
import { sgd } from "./sgd.ts";

const optimizers: Readonly<Record<string, OptimizerKind>> = { adamw, sgd, rmsprop, adafactor, lion };

/** Every known name. */
export const optimizerNames = Object.keys(optimizers);

/** The optimizer of that name. Throws for a name that is not in the table. */
export function optimizerNamed(name: string, where = "train.optimizer"): OptimizerKind {
  if (Object.hasOwn(optimizers, name)) return optimizers[name];
  const guess = nearest(name, optimizerNames);
  throw new RequestError({
    code: "unknown-optimizer",
    what: `there is no optimizer "${name}"`,
    where,
    fix: guess ? `Did you mean ${guess}?` : `Known: ${optimizerNames.join(", ")}`,
  });
}

/** The options of an optimizer with its defaults filled in. Throws for one that it does not take, or not in that form. */
export function optimizerOptions(name: string, given: OptimizerOptions, where = "train"): OptimizerOptions {
  const { defaults } = optimizerNamed(name, `${where}.optimizer`);
  const set = Object.entries(given).filter(([, value]) => value !== undefined);
  for (const [key, value] of set) {
    const standard = (defaults as Readonly<Record<string, unknown>>)[key];
    if (standard === undefined) {
      const takes = Object.keys(defaults).join(", ");
      throw new RequestError({
        code: "option-of-another-optimizer",
        what: `optimizer ${name} does not take ${key}`,
        where: `${where}.${key}`,
        fix: `It takes ${takes} and weightDecay`,
      });
    }
    if (Array.isArray(standard) !== Array.isArray(value)) {
      throw new RequestError({
        code: "option-invalid",
        what: `${key} of optimizer ${name} is ${Array.isArray(standard) ? "two numbers" : "one number"}`,
        where: `${where}.${key}`,
        fix: `Its default is ${JSON.stringify(standard)}`,
      });
    }
  }
  return { ...defaults, ...Object.fromEntries(set) };
}
