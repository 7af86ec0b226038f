/**
 * Batches whose losses depend on one another, on the model's side: collects every score of the batch piece by piece as numbers, and
 * brings the objective's derivatives back as coefficients, one for each number that it depends on.
 */
import { type TokenRow, completionsOf } from "../data/token-row.ts";
import type { TensorArray } from "../engine/backends/backend.ts";
import type { Graph } from "../engine/graph.ts";
import { add, mul } from "../engine/ops/elementwise.ts";
import { sum } from "../engine/ops/reduce.ts";
import type { Tensor } from "../engine/tensor.ts";
import type { CompletionGradient, Example } from "../objectives/example-shapes.ts";
import type { GivenCompletion } from "../objectives/given-completion.ts";
import type { Touched } from "../objectives/touched.ts";
import type { RoleLayout } from "../scoring/segments.ts";
import type { PackedBatch } from "../scoring/packing.ts";
import type { RowScores } from "../scoring/text-scorer.ts";
import { unpack } from "../scoring/text-scorer.ts";
import { inSlots, unitsInRecords } from "./packed-scores.ts";
import type { ScoreGraph } from "./score-graph.ts";

/** Quantities of tokens that a model computes, under the names that examples give them. */
const tokenFields = ["policy", "slow", "tokenKl", "reverseTokenKl", "collision"] as const;
type TokenField = (typeof tokenFields)[number];

/** Quantities of completions. */
const headFields = { reward: "reward", degree: "degreeLogits" } as const;

/** Derivatives of the loss: for each record, role and completion, by field. */
export interface Coefficients {
  readonly byRecord: readonly Readonly<Record<string, readonly CompletionGradient[]>>[];
  /** Roles of which anything is not zero. */
  readonly roles: ReadonlySet<string>;
  /** "role/field" of what is not zero. */
  readonly names: ReadonlySet<string>;
}

export class WholeBatchScores {
  readonly #roles: readonly RoleLayout[];
  readonly #rows: readonly TokenRow[];
  readonly #reference: readonly RowScores[] | undefined;
  /** For each record and field: by role, one list a completion. */
  readonly #tokens: Partial<Record<string, RowScores>>[];
  readonly #heads: Record<string, Record<string, number[][]>>[];

  constructor(
    roles: readonly RoleLayout[],
    rows: readonly TokenRow[],
    reference: readonly RowScores[] | undefined,
  ) {
    this.#roles = roles;
    this.#rows = rows;
    this.#reference = reference;
    this.#tokens = rows.map(() => ({}));
    this.#heads = rows.map(() => ({}));
  }

  /** Adds the outputs of a graph that computes scores only. */
  static outputs(
    graph: Graph,
    { scores }: ScoreGraph,
    roles: readonly RoleLayout[],
    touched: Touched,
    outputs: Record<string, Tensor>,
  ): void {
    roles.forEach(({ name }, k) => {
      for (const field of tokenFields) {
        const t = tensorOf(scores, k, field);
        if (t) outputs[`scores/${field}/${name}`] = t;
      }
      for (const head of touched.heads.get(name) ?? []) {
        const t = scores.head && graph.untaped(() => scores.head?.(name, head));
        if (t) outputs[`scores/${headFields[head]}/${name}`] = t;
      }
    });
  }

  /** Takes the scores of a piece, whose records have these places in the batch. */
  take(places: readonly number[], batch: PackedBatch, outputs: Readonly<Record<string, TensorArray>>): void {
    const records = places.length;
    for (const field of tokenFields) {
      const values = this.#roles.map(
        ({ name }) => outputs[`scores/${field}/${name}`] as Float32Array | undefined,
      );
      if (values.every((v) => v === undefined)) continue;
      unpack(batch, this.#roles, values, records).forEach((own, i) => (this.#tokens[places[i]][field] = own));
    }
    for (const field of Object.values(headFields)) {
      this.#roles.forEach(({ name }, k) => {
        const values = outputs[`scores/${field}/${name}`] as Float32Array | undefined;
        if (!values) return;
        const width = values.length / batch.shape.units[k];
        unitsInRecords(batch, k).forEach((place, unit) => {
          if (!place || place.record >= records) return;
          const lists = ((this.#heads[places[place.record]][field] ??= {})[name] ??= []);
          lists[place.unit] = Array.from(values.subarray(unit * width, (unit + 1) * width));
        });
      });
    }
  }

  /** The batch as the calculator takes it. */
  examples(): Example[] {
    return this.#rows.map((row, i) => ({
      fields: row.fields,
      completions: Object.fromEntries(
        this.#roles.flatMap(({ name }) => {
          const all = completionsOf(row, name);
          return all.length === 0 ? [] : [[name, all.map((_, unit) => this.#completion(i, name, unit))]];
        }),
      ),
    }));
  }

  /** Summed log-probabilities by role, where a record has one completion of it. */
  logps(): Record<string, number[]> {
    const total = (values: Float32Array | undefined) => values?.reduce((a, b) => a + b, 0) ?? 0;
    return Object.fromEntries(
      this.#roles
        .filter((r) => !r.many)
        .map(({ name }) => [name, this.#tokens.map((t) => total(t.policy?.[name]?.[0]))]),
    );
  }

  /** The derivatives that a calculation found, and which of them matter. */
  coefficients(byRecord: Coefficients["byRecord"]): Coefficients {
    const names = new Set<string>();
    for (const record of byRecord)
      for (const [role, list] of Object.entries(record))
        for (const completion of list)
          for (const [field, value] of Object.entries(completion))
            if ([value].flat(2).some((v) => v !== 0)) names.add(`${role}/${field}`);
    return { byRecord, names, roles: new Set([...names].map((n) => n.slice(0, n.lastIndexOf("/")))) };
  }

  #completion(record: number, role: string, unit: number): GivenCompletion {
    const row = this.#rows[record];
    const completion: Record<string, unknown> = {};
    for (const field of tokenFields) {
      const values = this.#tokens[record][field]?.[role]?.[unit];
      if (values) completion[field] = Array.from(values);
    }
    const reference = this.#reference?.[record][role]?.[unit];
    if (reference) completion.reference = Array.from(reference);
    const rewards = row.tokenRewards[role]?.[unit];
    if (rewards) completion.tokenRewards = rewards;
    for (const [name, values] of Object.entries(row.values[role] ?? {})) completion[name] = values[unit];
    const { reward, degreeLogits } = this.#heads[record];
    if (reward) completion.reward = reward[role]?.[unit][0];
    if (degreeLogits) completion.degreeLogits = degreeLogits[role]?.[unit];
    return completion as GivenCompletion;
  }
}

function tensorOf(scores: ScoreGraph["scores"], k: number, field: TokenField): Tensor | undefined {
  const own = scores.policy.roles[k];
  const byField: Record<TokenField, Tensor | undefined> = {
    policy: own.logps,
    slow: scores.slow?.roles[k].logps,
    tokenKl: own.vocabulary.kl,
    reverseTokenKl: own.vocabulary.reverseKl,
    collision: own.vocabulary.collision,
  };
  return byField[field];
}

const coefficientName = (role: string, field: string) => `${role}/coefficient/${field}`;

/** Σ coefficient · number: its gradient is that of the loss whose derivatives the coefficients are. */
export function weightedSum(graph: Graph, { batch, scores }: ScoreGraph, { names }: Coefficients): Tensor {
  const parts: Tensor[] = [];
  batch.roles.forEach(({ name: role }, k) => {
    for (const field of tokenFields) {
      const t = names.has(`${role}/${field}`) ? tensorOf(scores, k, field) : undefined;
      if (t) parts.push(sum(mul(t, graph.input(coefficientName(role, field), "float", t.shape))));
    }
    for (const [head, field] of Object.entries(headFields)) {
      if (!names.has(`${role}/${field}`)) continue;
      const t = scores.head?.(role, head as keyof typeof headFields);
      if (t) parts.push(sum(mul(t, graph.input(coefficientName(role, field), "float", t.shape))));
    }
  });
  if (parts.length === 0) {
    // Nothing pulls at anything: the loss is flat here, and so is its gradient.
    const [role] = scores.policy.roles;
    return sum(mul(role.logps, 0));
  }
  return parts.reduce((a, b) => add(a, b));
}

/** The coefficients of a piece, whose records have these places in the batch, where its tokens and completions stand. */
export function coefficientArrays(
  batch: PackedBatch,
  roles: readonly RoleLayout[],
  { byRecord, names }: Coefficients,
  places: readonly number[],
): Record<string, TensorArray> {
  const arrays: Record<string, TensorArray> = {};
  roles.forEach(({ name: role }, k) => {
    const of = (record: number, unit: number, field: string) =>
      (byRecord[places[record]]?.[role]?.[unit] as Record<string, unknown> | undefined)?.[field];
    for (const field of tokenFields) {
      if (!names.has(`${role}/${field}`)) continue;
      arrays[coefficientName(role, field)] = inSlots(
        batch,
        k,
        (record, unit) => of(record, unit, field) as number[] | undefined,
      );
    }
    for (const field of Object.values(headFields)) {
      if (!names.has(`${role}/${field}`)) continue;
      const rows = unitsInRecords(batch, k).map(
        (p) => (p ? [of(p.record, p.unit, field) ?? 0].flat() : []) as number[],
      );
      const width = Math.max(...rows.map((r) => r.length));
      arrays[coefficientName(role, field)] = Float32Array.from(
        rows.flatMap((r) => Array.from({ length: width }, (_, i) => r[i] ?? 0)),
      );
    }
  });
  return arrays;
}
