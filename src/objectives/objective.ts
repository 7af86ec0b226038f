/** Objectives from their definitions: options checked and filled in, names and defaults in one place. */
import { z } from "zod";
import { RequestError, nearest } from "../errors.ts";
import type { RecordKind } from "../data/record-kinds.ts";
import type { Tensor } from "../engine/tensor.ts";
import type {
  Objective,
  ObjectiveDefinition,
  ObjectiveFamily,
  OptionSchemas,
  Options,
  RecordView,
} from "./definition.ts";
import type { BatchView } from "./scores.ts";

/** Makes an objective from its definition. */
export function objective<K extends RecordKind, S extends OptionSchemas>(
  definition: ObjectiveDefinition<K, S>,
): ObjectiveFamily {
  const schema = z.strictObject(definition.options) as unknown as z.ZodType<
    Options<S> & Record<string, unknown>
  >;
  const optionNames = Object.keys(definition.options);
  const { id, aliases = [] } = definition;
  const kindOf = (options: Options<S>) =>
    typeof definition.record === "function" ? definition.record(options) : definition.record;
  const defaults = schema.safeParse({});
  return {
    id,
    aliases,
    // Where options must be given, any kind that is named without them.
    record: typeof definition.record === "string" ? definition.record : kindOf(defaults.data as Options<S>),
    schema,
    optionNames,
    with(given = {}, where = `options of objective ${id}`) {
      const result = schema.safeParse(given);
      if (!result.success) throw optionError(result.error.issues[0], optionNames, where);
      const options = result.data;
      const wrong = definition.check?.(options);
      if (wrong) throw invalidOption(...wrong, where);
      const coupled = definition.coupled?.(options) ?? false;
      // The table of kinds guarantees that a view of kind K is what a record of kind K gives.
      const view = (r: RecordView) => r as unknown as RecordView<K>;
      const { rewards, metrics, checkList } = definition;
      return {
        id,
        record: kindOf(options),
        options,
        coupled,
        leastRecords: definition.leastRecords?.(options) ?? (coupled ? 2 : 1),
        unweighted: definition.unweighted?.(options) ?? false,
        companions: definition.companions?.(options) ?? {},
        needs: definition.needs?.(options) ?? [],
        rows: definition.rows?.(options) ?? {},
        checkList: checkList && ((scores) => checkList(scores, options)),
        loss: (r, batch) => definition.loss(view(r), options, batch),
        rewards: rewards && ((r, batch) => rewards(view(r), options, batch)),
        metrics: metrics && ((r, batch) => metrics(view(r), options, batch)),
      };
    },
  };
}

/** A plain function as an objective of one's own: pairs in, one loss a pair out. */
export function objectiveOf(
  loss: (pair: RecordView<"pair">, batch: BatchView) => Tensor,
  id = "custom",
): Objective {
  return objective({
    id,
    record: "pair",
    options: {},
    loss: (pair, _options, batch) => loss(pair, batch),
  }).with();
}

function optionError(issue: z.core.$ZodIssue, known: readonly string[], where: string): RequestError {
  if (issue.code === "unrecognized_keys") {
    const guess = nearest(issue.keys[0], known);
    return new RequestError({
      code: "unknown-option",
      what: `unknown option "${issue.keys[0]}"`,
      where,
      fix: guess ? `Did you mean ${guess}?` : `Known: ${known.join(", ") || "none"}`,
    });
  }
  return invalidOption(issue.path.join("."), issue.message, where);
}

function invalidOption(option: string, why: string, where: string): RequestError {
  return new RequestError({ code: "invalid-option", what: `option "${option}" is not valid`, where, why });
}
