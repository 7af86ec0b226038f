/**
 * What an objective is: a pure, differentiable function from scores to one loss a record. It asks for a quantity by
 * touching it (`chosen.reference.logp`); what it does not touch is neither computed nor loaded. The same function runs in
 * training, in `prefopt loss` and in tests: only where the scores come from differs (`score-source.ts`).
 */
import type { z } from "zod";
import type { RecordKind, recordKinds } from "../data/record-kinds.ts";
import type { RowSettings } from "../data/rows.ts";
import type { Tensor } from "../engine/tensor.ts";
import type { HeadQuantity } from "./score-source.ts";
import type { BatchView, Completion, Completions } from "./scores.ts";

/** A record's completions under their names, every quantity a vector over the records (or completions) of a batch. */
export type RecordView<K extends RecordKind = RecordKind> = Readonly<RolesOf<K>> & {
  /**
   * An optional number of the record, such as a soft label. Where no record of the run has it: `otherwise`, unchanged;
   * else a vector [records] with `otherwise` in the places of records without it.
   */
  field(name: string, otherwise: number): Tensor | number;
  /** A number that every record must have: [records]. */
  required(name: string): Tensor;
};

type RolesOf<K extends RecordKind> = UnionToIntersection<
  {
    [P in K]: {
      [R in keyof (typeof recordKinds)[P]]: (typeof recordKinds)[P][R] extends "many"
        ? Completions
        : Completion;
    };
  }[K]
>;
type UnionToIntersection<U> = (U extends unknown ? (x: U) => void : never) extends (x: infer I) => void
  ? I
  : never;

export type OptionSchemas = Readonly<Record<string, z.ZodType>>;
export type Options<S extends OptionSchemas> = { readonly [N in keyof S]: z.output<S[N]> };

/** What an objective trains beside the policy's own weights. */
export interface Companions {
  /** A linear head on hidden states; not part of the saved model. */
  readonly head?: HeadSpec;
  /** A second policy that starts as the first and learns at this multiple of its rate. */
  readonly slow?: { readonly rate: number };
  /** A reference that follows the policy: every so many steps reference ← mix · policy + (1 - mix) · reference. */
  readonly syncReference?: { readonly every: number; readonly mix: number };
}

export interface HeadSpec {
  readonly name: HeadQuantity;
  /** Outputs. */
  readonly width: number;
  readonly bias: boolean;
  /** Which hidden states of a completion it sees: that of the last token, or the mean over all. */
  readonly pooling: "last" | "mean";
  /** Multiple of the policy's learning rate. */
  readonly rate: number;
}

export interface ObjectiveDefinition<K extends RecordKind, S extends OptionSchemas> {
  /** Kebab-case; the name in recipes and on the command line. */
  readonly id: string;
  /** Other names it is known by. */
  readonly aliases?: readonly string[];
  /** The kind of records it reads; a function where options decide. */
  readonly record: K | ((options: Options<NoInfer<S>>) => K);
  /** Options with their defaults and ranges. */
  readonly options: S;
  /**
   * Whether losses depend on the other records of the batch (sorting, batch means). Then the scores of the whole batch are computed
   * first, the objective turns them into a coefficient for each token, and the model's program back-propagates those.
   */
  coupled?(options: Options<NoInfer<S>>): boolean;
  /** Records that a batch needs at least: 1 where it is not said, 2 for coupled losses. */
  leastRecords?(options: Options<NoInfer<S>>): number;
  /** Whether a weight of single records makes no sense, as where losses belong to ranks. */
  unweighted?(options: Options<NoInfer<S>>): boolean;
  /** What is trained beside the policy. */
  companions?(options: Options<NoInfer<S>>): Companions;
  /** Why a list with these scores cannot be used; undefined where it can. */
  checkList?(scores: readonly number[], options: Options<NoInfer<S>>): string | undefined;
  /** Roles of which every record must have one, though records of the kind may come without. */
  needs?(options: Options<NoInfer<S>>): readonly string[];
  /** How records become rows of this kind, where options have a say. */
  rows?(options: Options<NoInfer<S>>): RowSettings;
  /** What no single option's range says: combinations that make no sense. Returns the option's name and why. */
  check?(options: Options<NoInfer<S>>): readonly [option: string, why: string] | undefined;
  /** One loss a record, [records]; the batch's loss is their mean. */
  loss(record: RecordView<K>, options: Options<NoInfer<S>>, batch: BatchView): Tensor;
  /** Implicit rewards to log, by role, [records] each; no gradient is taken. */
  rewards?(record: RecordView<K>, options: Options<NoInfer<S>>, batch: BatchView): Named;
  /** Other numbers to log, the mean over the records of each, [records]; no gradient is taken. */
  metrics?(record: RecordView<K>, options: Options<NoInfer<S>>, batch: BatchView): Named;
}

/** Tensors by name, [records] each. */
export type Named = Readonly<Partial<Record<string, Tensor>>>;

/** An objective with its options filled in. */
export interface Objective {
  readonly id: string;
  readonly record: RecordKind;
  readonly options: Readonly<Record<string, unknown>>;
  /** Whether losses depend on the other records of the batch. */
  readonly coupled: boolean;
  readonly leastRecords: number;
  readonly unweighted: boolean;
  readonly companions: Companions;
  /** Roles of which every record must have one, though records of the kind may come without. */
  readonly needs: readonly string[];
  readonly rows: RowSettings;
  /** Why a list with these scores cannot be used; undefined where it can. */
  checkList?(scores: readonly number[]): string | undefined;
  loss(record: RecordView, batch: BatchView): Tensor;
  rewards?(record: RecordView, batch: BatchView): Named;
  metrics?(record: RecordView, batch: BatchView): Named;
}

/** An objective still to be given its options. */
export interface ObjectiveFamily {
  readonly id: string;
  readonly aliases: readonly string[];
  /** The kind of records it reads with its default options. */
  readonly record: RecordKind;
  readonly schema: z.ZodType<Record<string, unknown>>;
  readonly optionNames: readonly string[];
  /** Checks and fills the options. Throws a RequestError that names the option; `where` says whose they are. */
  with(options?: Readonly<Record<string, unknown>>, where?: string): Objective;
}
