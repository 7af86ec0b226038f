/**
 * One loss out of one or several objectives with weights, over records of one kind: what training compiles into the
 * model's program and what the calculator evaluates. Record weights multiply each record's loss; the mean still divides by the
 * number of records of the whole batch.
 */
import { add, div, mul } from "../engine/ops/elementwise.ts";
import { sum } from "../engine/ops/reduce.ts";
import type { Tensor } from "../engine/tensor.ts";
import { RequestError } from "../errors.ts";
import { type Objective, type RecordKind, rolesOf } from "./objective.ts";
import { type ScoreSource, batchView, recordView } from "./scores.ts";

export interface Term {
  readonly objective: Objective;
  /** Factor of this objective's loss. */
  readonly weight: number;
}

export interface Combined {
  /** Loss of each record, weights applied: [records]. */
  readonly losses: Tensor;
  /** This piece's share of the batch's mean loss: scalar. Shares of all pieces add up to the loss of the batch. */
  readonly loss: Tensor;
  /** Implicit rewards by role, of the first objective that has them: [records] each. */
  readonly rewards: Partial<Record<string, Tensor>>;
}

/**
 * Records of another kind that an objective can also work on, and which of their completions stand for which of its own: an SFT term
 * takes a pair's chosen one. A completion that is not there is an error once the objective touches it.
 */
const standIns: Partial<Record<RecordKind, Partial<Record<RecordKind, Readonly<Record<string, string>>>>>> = {
  plain: { pair: { completion: "chosen" }, triple: { completion: "gold" } },
  pair: { triple: {} },
  triple: { pair: {} },
};

/** Whether an objective for `wanted` records can work on records of kind `given`. */
export function canUse(wanted: RecordKind, given: RecordKind): boolean {
  return wanted === given || standIns[wanted]?.[given] !== undefined;
}

/** Builds the loss of `terms` over the records that `source` scores. */
export function combine(terms: readonly Term[], kind: RecordKind, source: ScoreSource): Combined {
  let losses: Tensor | undefined;
  let rewards: Partial<Record<string, Tensor>> | undefined;
  for (const { objective, weight } of terms) {
    if (objective.coupled && source.records.size < 2) {
      throw new RequestError({
        code: "batch-of-one",
        what: `objective ${objective.id} needs at least two records in a batch`,
        why: "it compares the records of a batch with one another",
        fix: "Raise train.batchSize, or give more records",
      });
    }
    const adapted = adapt(objective, kind, source);
    const view = recordView(objective.record, adapted);
    const batch = batchView(adapted);
    const own = objective.loss(view, batch);
    const weighted = weight === 1 ? own : mul(weight, own);
    losses = losses ? add(losses, weighted) : weighted;
    rewards ??=
      objective.rewards &&
      source.lengths(rolesOf[kind][0]).graph.untaped(() => objective.rewards?.(view, batch));
  }
  if (!losses) throw new RequestError({ code: "no-objective", what: "a run needs at least one objective" });
  const recordWeights = source.field("weight", 1);
  if (recordWeights) losses = mul(losses, recordWeights);
  return { losses, loss: div(sum(losses), source.batchSize()), rewards: rewards ?? {} };
}

function adapt(objective: Objective, kind: RecordKind, source: ScoreSource): ScoreSource {
  if (objective.record === kind) return source;
  const names = standIns[objective.record]?.[kind];
  if (!names) {
    throw new RequestError({
      code: "wrong-record-kind",
      what: `objective ${objective.id} needs ${objective.record} records, these are ${kind} records`,
      fix: `Give records with ${rolesOf[objective.record].join(" and ")}`,
    });
  }
  const as = (role: string) => {
    const own = names[role] ?? role;
    if ((rolesOf[kind] as readonly string[]).includes(own)) return own;
    throw new RequestError({
      code: "completion-missing",
      what: `objective ${objective.id} needs ${own}`,
      why: `these are ${kind} records, with ${rolesOf[kind].join(" and ")}`,
      fix: `Give records with ${rolesOf[objective.record].join(", ")}, or options that do without`,
    });
  };
  return {
    records: source.records,
    tokenLogps: (role, scorer) => source.tokenLogps(as(role), scorer),
    segments: (role) => source.segments(as(role)),
    positions: (role) => source.positions(as(role)),
    lengths: (role) => source.lengths(as(role)),
    field: (name, otherwise) => source.field(name, otherwise),
    batchSize: () => source.batchSize(),
    batchTokens: (role) => source.batchTokens(as(role)),
  };
}
