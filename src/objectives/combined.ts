/**
 * One loss out of one or several objectives with weights, over records of one kind: what training compiles into the
 * model's program and what the calculator evaluates. Record weights multiply each record's loss; the mean still divides by the
 * number of records of the whole batch.
 */
import { add, div, mul } from "../engine/ops/elementwise.ts";
import { sum } from "../engine/ops/reduce.ts";
import type { Tensor } from "../engine/tensor.ts";
import { RequestError } from "../errors.ts";
import type { Named, Objective } from "./definition.ts";
import { type RecordKind, promptOf, promptSuffix, rolesOf, standIn } from "../data/record-kinds.ts";
import type { ScoreSource } from "./score-source.ts";
import { batchView, recordView } from "./views.ts";

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
  readonly rewards: Named;
  /** Other numbers to log: [records] each. */
  readonly metrics: Named;
}

/** Builds the loss of `terms` over the records, of kind `kind`, that `source` scores. */
export function combine(terms: readonly Term[], kind: RecordKind, source: ScoreSource): Combined {
  let losses: Tensor | undefined;
  let rewards: Named | undefined;
  let metrics: Named = {};
  for (const { objective, weight } of terms) {
    const adapted = adapt(objective, kind, source);
    const view = recordView(objective.record, adapted);
    const batch = batchView(adapted);
    const own = objective.loss(view, batch);
    const weighted = weight === 1 ? own : mul(weight, own);
    losses = losses ? add(losses, weighted) : weighted;
    source.graph.untaped(() => {
      rewards ??= objective.rewards?.(view, batch);
      metrics = { ...metrics, ...objective.metrics?.(view, batch) };
    });
  }
  if (!losses) throw new RequestError({ code: "no-objective", what: "a run needs at least one objective" });
  const recordWeights = source.field("weight", 1);
  if (recordWeights) losses = mul(losses, recordWeights);
  return { losses, loss: div(sum(losses), source.batch.size()), rewards: rewards ?? {}, metrics };
}

/** Refuses batches that are too small for an objective, and weights of records where they make no sense. */
export function checkBatch(terms: readonly Term[], records: number, weighted: boolean, where?: string): void {
  for (const { objective } of terms) {
    if (records < objective.leastRecords) {
      throw new RequestError({
        code: "batch-too-small",
        what: `objective ${objective.id} needs at least ${objective.leastRecords === 2 ? "two" : objective.leastRecords} records in a batch`,
        where,
        why: "it compares the records of a batch with one another",
        fix: "Raise train.batchSize, or give more records",
      });
    }
    if (weighted && objective.unweighted) {
      throw new RequestError({
        code: "weights-without-meaning",
        what: `objective ${objective.id} cannot weight single records`,
        where,
        why: "its losses belong to ranks of the batch, not to records",
        fix: 'Leave "weight" out, or use another objective',
      });
    }
  }
}

/** The source under the names of the objective's own kind of records. */
function adapt(objective: Objective, kind: RecordKind, source: ScoreSource): ScoreSource {
  if (objective.record === kind) return source;
  const as = (role: string) => {
    const own = role.replace(promptSuffix, "");
    const found = standIn(own, kind);
    if (found !== undefined) return found + role.slice(own.length);
    throw new RequestError({
      code: "completion-missing",
      what: `objective ${objective.id} needs ${role}`,
      why: `these are ${kind} records, with ${rolesOf(kind).join(" and ")}`,
      fix: `Give records with ${rolesOf(objective.record).join(", ")}, or options that do without`,
    });
  };
  const { batch } = source;
  return {
    graph: source.graph,
    records: source.records,
    tokens: (role, quantity) => source.tokens(as(role), quantity),
    segments: (role) => source.segments(as(role)),
    positions: (role) => source.positions(as(role)),
    units: (role) => source.units(as(role)),
    lengths: (role) => source.lengths(as(role)),
    owners: (role) => source.owners(as(role)),
    sameRecord: (role) => source.sameRecord(as(role)),
    places: (role, order) => source.places(as(role), order),
    head: (role, head) => source.head(as(role), head),
    value: (role, name) => source.value(as(role), name),
    field: (name, otherwise) => source.field(name, otherwise),
    required: (name) => source.required(name),
    present: (role) => source.present(as(role)),
    promptRole: (role) => (source.promptRole(as(role)) === undefined ? undefined : promptOf(role)),
    batch: {
      size: () => batch.size(),
      epoch: () => batch.epoch(),
      tokens: (role) => batch.tokens(as(role)),
      units: (role) => batch.units(as(role)),
      orderedPairs: (role) => batch.orderedPairs(as(role)),
      given: (name) => batch.given(name),
      runningMean: (name, mean, weight) => batch.runningMean(name, mean, weight),
    },
  };
}
