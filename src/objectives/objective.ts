/**
 * What an objective is: a pure, differentiable function from scores to one loss a record. It asks for a quantity by
 * touching it (`chosen.reference.logp`); what it does not touch is neither computed nor loaded. The same function runs in
 * training, in `prefopt loss` and in tests: only where the scores come from differs (`scores.ts`).
 */
import { z } from "zod";
import type { Tensor } from "../engine/tensor.ts";
import { RequestError, nearest } from "../errors.ts";
import type { BatchView, Completion } from "./scores.ts";

/** The completions that each kind of record offers, in the order in which they are laid out. */
export const rolesOf = {
  pair: ["chosen", "rejected"],
  plain: ["completion"],
  triple: ["gold", "chosen", "rejected"],
} as const satisfies Record<string, readonly string[]>;

export type RecordKind = keyof typeof rolesOf;

/** A record's completions under their names, every quantity a vector over the records of a batch. */
export type RecordView<K extends RecordKind = RecordKind> = Readonly<
  Record<(typeof rolesOf)[K][number], Completion>
> & {
  /**
   * An optional number of the record, such as a soft label. Where no record of the run has it: `otherwise`, unchanged;
   * else a vector [records] with `otherwise` in the places of records without it.
   */
  field(name: string, otherwise: number): Tensor | number;
};

export type OptionSchemas = Readonly<Record<string, z.ZodType>>;
export type Options<S extends OptionSchemas> = { readonly [N in keyof S]: z.output<S[N]> };

export interface ObjectiveDefinition<K extends RecordKind, S extends OptionSchemas> {
  /** Kebab-case; the name in recipes and on the command line. */
  readonly id: string;
  /** Other names it is known by. */
  readonly aliases?: readonly string[];
  readonly record: K;
  /** Options with their defaults and ranges. */
  readonly options: S;
  /**
   * Whether losses depend on the other records of the batch (sorting, batch means). Then the scores of the whole batch are computed
   * first, the objective turns them into a coefficient for each token, and the model's program back-propagates those.
   */
  coupled?(options: Options<NoInfer<S>>): boolean;
  /** What no single option's range says: combinations that make no sense. Returns the option's name and why. */
  check?(options: Options<NoInfer<S>>): readonly [option: string, why: string] | undefined;
  /** One loss a record, [records]; the batch's loss is their mean. */
  loss(record: RecordView<K>, options: Options<NoInfer<S>>, batch: BatchView): Tensor;
  /** Implicit rewards to log for each completion, [records]; no gradient is taken. */
  rewards?(
    record: RecordView<K>,
    options: Options<NoInfer<S>>,
    batch: BatchView,
  ): Partial<Record<(typeof rolesOf)[K][number], Tensor>>;
}

/** An objective with its options filled in. */
export interface Objective {
  readonly id: string;
  readonly record: RecordKind;
  readonly options: Readonly<Record<string, unknown>>;
  /** Whether losses depend on the other records of the batch; such a batch has at least two. */
  readonly coupled: boolean;
  loss(record: RecordView, batch: BatchView): Tensor;
  rewards?(record: RecordView, batch: BatchView): Partial<Record<string, Tensor>>;
}

/** An objective still to be given its options. */
export interface ObjectiveFamily {
  readonly id: string;
  readonly aliases: readonly string[];
  readonly record: RecordKind;
  readonly schema: z.ZodType<Record<string, unknown>>;
  readonly optionNames: readonly string[];
  /** Checks and fills the options. Throws a RequestError that names the option; `where` says whose they are. */
  with(options?: Readonly<Record<string, unknown>>, where?: string): Objective;
}

/** Makes an objective from its definition. */
export function objective<K extends RecordKind, S extends OptionSchemas>(
  definition: ObjectiveDefinition<K, S>,
): ObjectiveFamily {
  const schema = z.strictObject(definition.options) as unknown as z.ZodType<
    Options<S> & Record<string, unknown>
  >;
  const optionNames = Object.keys(definition.options);
  const { id, record, aliases = [] } = definition;
  return {
    id,
    aliases,
    record,
    schema,
    optionNames,
    with(given = {}, where = `options of objective ${id}`) {
      const result = schema.safeParse(given);
      if (!result.success) throw optionError(result.error.issues[0], optionNames, where);
      const options = result.data;
      const wrong = definition.check?.(options);
      if (wrong) throw invalidOption(...wrong, where);
      // The table of roles guarantees that a view of kind K is what a record of kind K gives.
      const view = (r: RecordView) => r as RecordView<K>;
      return {
        id,
        record,
        options,
        coupled: definition.coupled?.(options) ?? false,
        loss: (r, batch) => definition.loss(view(r), options, batch),
        rewards: definition.rewards && ((r, batch) => ({ ...definition.rewards?.(view(r), options, batch) })),
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
