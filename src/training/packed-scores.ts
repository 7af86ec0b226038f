/**
 * Where objectives get their scores from while training: policy scores are the model's graph itself, everything else is an input that
 * exists once it is touched. And the arrays for those inputs, filled from a batch of rows.
 */
import { isMany, promptOf, promptSuffix } from "../data/record-kinds.ts";
import type { RecordKind } from "../data/record-kinds.ts";
import { showSource } from "../data/load-records.ts";
import type { TokenRow } from "../data/token-row.ts";
import { completionsOf } from "../data/token-row.ts";
import type { TensorArray } from "../engine/backends/backend.ts";
import type { Graph } from "../engine/graph.ts";
import { random } from "../engine/random.ts";
import { type Tensor, dim } from "../engine/tensor.ts";
import { orderedPairs } from "../objectives/given-batch.ts";
import type { HeadQuantity, ScoreSource, TokenQuantity } from "../objectives/score-source.ts";
import type { RoleLayout } from "../scoring/segments.ts";
import type { PackedBatch } from "../scoring/packing.ts";
import { type BatchInputs, type TextScores, inputOnce } from "../scoring/text-graph.ts";
import type { RowScores } from "../scoring/text-scorer.ts";

/** What a graph computes of a batch. */
export interface GraphScores {
  readonly policy: TextScores;
  /** Scores of a second policy. */
  readonly slow?: TextScores;
  /** Outputs of a head on the completions of a role: [units, width]. */
  readonly head?: (role: string, head: HeadQuantity) => Tensor;
}

/** Scores inside the model's graph. */
export class PackedScores implements ScoreSource {
  readonly graph: Graph;
  readonly records;
  readonly #batch: BatchInputs;
  readonly #scores: GraphScores;
  readonly #kind: RecordKind;
  readonly #fields: ReadonlySet<string>;

  constructor(
    graph: Graph,
    batch: BatchInputs,
    scores: GraphScores,
    kind: RecordKind,
    fields: ReadonlySet<string>,
  ) {
    this.graph = graph;
    this.#batch = batch;
    this.#scores = scores;
    this.#kind = kind;
    this.#fields = fields;
    this.records = scores.policy.records;
  }

  tokens(role: string, quantity: TokenQuantity): Tensor {
    const k = this.#index(role);
    const { policy, slow } = this.#scores;
    const own = policy.roles[k];
    const computed: Partial<Record<TokenQuantity, Tensor | undefined>> = {
      policy: own.logps,
      slow: slow?.roles[k].logps,
      tokenKl: own.vocabulary.kl,
      reverseTokenKl: own.vocabulary.reverseKl,
      collision: own.vocabulary.collision,
    };
    return computed[quantity] ?? this.#input(`${role}/${quantity}`, own.logps.shape);
  }
  segments(role: string): Tensor {
    return this.#role(role).segments;
  }
  positions(role: string): Tensor {
    return this.#role(role).positions();
  }
  units(role: string) {
    return this.#role(role).units;
  }
  lengths(role: string): Tensor {
    return this.#role(role).lengths;
  }
  owners(role: string): Tensor {
    return inputOnce(this.graph, `${role}/owners`, "int64", [this.units(role)]);
  }
  sameRecord(role: string): Tensor {
    const units = this.units(role);
    return this.#input(`${role}/same`, [units, dim(`other ${units.name}`, units.size)]);
  }
  places(role: string, order: "order" | "random"): Tensor {
    return this.#input(`${role}/places/${order}`, [this.units(role)]);
  }
  head(role: string, head: HeadQuantity): Tensor {
    if (!this.#scores.head) throw new TypeError(`no head for ${role}`);
    return this.#scores.head(role, head);
  }
  value(role: string, name: string): Tensor {
    return this.#input(`${role}/value/${name}`, [this.units(role)]);
  }

  field(name: string, otherwise: number): Tensor | undefined {
    // Record slots that no record fills have weight 0.
    const padded = name === "weight" ? this.#input("batch/real", [this.records]) : undefined;
    if (!this.#fields.has(name)) return padded;
    const given = this.required(name);
    const missing = this.graph.node("IsNaN", [given], { dtype: "bool", shape: given.shape });
    const filled = this.graph.node("Where", [missing, this.graph.scalar(otherwise), given], {
      shape: given.shape,
    });
    return padded ? this.graph.node("Mul", [filled, padded], { shape: given.shape }) : filled;
  }
  required(name: string): Tensor {
    return this.#input(`field/${name}`, [this.records]);
  }
  present(role: string): boolean {
    return this.#batch.roles.some((r) => r.name === role);
  }
  promptRole(role: string): string | undefined {
    return promptSuffix.test(role) ? undefined : promptOf(role);
  }

  readonly batch = {
    size: () => this.#input("batch/size", []),
    epoch: () => this.#input("batch/epoch", []),
    tokens: (role: string) => this.#input(`batch/tokens/${role}`, []),
    units: (role: string) => this.#input(`batch/units/${role}`, []),
    orderedPairs: (role: string) => this.#input(`batch/pairs/${role}`, []),
    given: () => undefined,
    runningMean: (name: string): Tensor => {
      throw new TypeError(`${name} needs the whole batch: its objective must be coupled`);
    },
  };

  #role(role: string) {
    return this.#scores.policy.roles[this.#index(role)];
  }
  #index(role: string): number {
    const k = this.#batch.roles.findIndex((r) => r.name === role);
    if (k < 0) throw new TypeError(`${role} is not laid out for ${this.#kind} records`);
    return k;
  }
  #input(name: string, shape: Tensor["shape"]): Tensor {
    return inputOnce(this.graph, name, "float", shape);
  }
}

/** Numbers of a whole batch, of which pieces carry copies. */
export interface BatchTotals {
  readonly size: number;
  readonly epoch: number;
  readonly tokens: Readonly<Record<string, number>>;
  readonly units: Readonly<Record<string, number>>;
  readonly pairs: Readonly<Record<string, number>>;
}

export function batchTotals(
  rows: readonly TokenRow[],
  roles: readonly RoleLayout[],
  epoch: number,
): BatchTotals {
  const of = (count: (row: TokenRow, role: string) => number) =>
    Object.fromEntries(roles.map(({ name }) => [name, rows.reduce((n, row) => n + count(row, name), 0)]));
  return {
    size: rows.length,
    epoch,
    tokens: of((row, role) => scoredTokens(row, role)),
    units: of((row, role) => completionsOf(row, role).length),
    pairs: of((row, role) => orderedPairs(row.values[role]?.score ?? [])),
  };
}

/** Scored tokens of a role; those of a prompt are all but its first. */
function scoredTokens(row: TokenRow, role: string): number {
  if (!promptSuffix.test(role)) return completionsOf(row, role).reduce((n, ids) => n + ids.length, 0);
  const tree = row.trees.find((t) =>
    t.branches.some((b) => b.some((p) => p.role === role.replace(promptSuffix, ""))),
  );
  return Math.max(0, (tree?.prompt.length ?? 1) - 1);
}

/** Arrays for the inputs that `PackedScores` declares, of one piece of a batch. */
export function scoreArrays(
  batch: PackedBatch,
  rows: readonly TokenRow[],
  roles: readonly RoleLayout[],
  given: {
    readonly kind: RecordKind;
    readonly totals: BatchTotals;
    readonly reference?: readonly RowScores[];
    readonly fields: ReadonlySet<string>;
    /** Names the random order of ties. */
    readonly seed: number;
  },
): Record<string, TensorArray> {
  const { totals, reference, fields, seed, kind } = given;
  const arrays: Record<string, TensorArray> = {
    "batch/size": Float32Array.of(totals.size),
    "batch/epoch": Float32Array.of(totals.epoch),
    "batch/real": Float32Array.from({ length: batch.shape.records }, (_, i) => Number(i < rows.length)),
  };
  roles.forEach(({ name: role }, k) => {
    arrays[`batch/tokens/${role}`] = Float32Array.of(totals.tokens[role]);
    arrays[`batch/units/${role}`] = Float32Array.of(totals.units[role]);
    arrays[`batch/pairs/${role}`] = Float32Array.of(totals.pairs[role]);
    if (reference)
      arrays[`${role}/reference`] = inSlots(batch, k, (row, unit) => reference[row][role]?.[unit]);
    if (rows.some((r) => r.tokenRewards[role]))
      arrays[`${role}/tokenRewards`] = inSlots(batch, k, (row, unit) => rows[row].tokenRewards[role]?.[unit]);
    const names = new Set(rows.flatMap((r) => Object.keys(r.values[role] ?? {})));
    for (const name of names)
      arrays[`${role}/value/${name}`] = inUnits(
        batch,
        k,
        (row, unit) => rows[row].values[role]?.[name]?.[unit],
      );
    if (isMany(kind, role)) {
      arrays[`${role}/same`] = sameOwner(batch.owners[k], batch.shape.records);
      arrays[`${role}/places/order`] = inUnits(batch, k, (_, unit) => unit);
      // Each record has an order of its own, whatever piece of the batch it comes in.
      const orders = rows.map((row) => {
        const n = completionsOf(row, role).length;
        const places = Array.from({ length: n }, (_, i) => i);
        return random(seed, "ties", showSource(row.source)).shuffle(places);
      });
      arrays[`${role}/places/random`] = inUnits(batch, k, (row, unit) => orders[row]?.[unit]);
    }
  });
  for (const name of fields) {
    // NaN marks records without the field; the graph puts the objective's default there. Slots that no record fills have weight 0
    // and numbers that make sense, so that 0 times their loss is 0.
    arrays[`field/${name}`] = Float32Array.from(
      { length: batch.shape.records },
      (_, i) => (rows[i] ?? rows[0]).fields[name] ?? NaN,
    );
  }
  return arrays;
}

/** Numbers of tokens in the order of a packed batch's scored tokens of a role; 0 in padding. */
export function inSlots(
  batch: PackedBatch,
  role: number,
  numbers: (row: number, unit: number) => ArrayLike<number> | undefined,
): Float32Array {
  const inRecord = unitsInRecords(batch, role);
  const next = new Int32Array(batch.shape.units[role] + 1);
  return Float32Array.from(batch.segments[role], (segment) => {
    const unit = Number(segment);
    const place = inRecord[unit];
    return (place && numbers(place.record, place.unit)?.[next[unit]++]) ?? 0;
  });
}

/** A number for each completion of a role; 0 in padding. */
export function inUnits(
  batch: PackedBatch,
  role: number,
  number: (row: number, unit: number) => number | undefined,
): Float32Array {
  const inRecord = unitsInRecords(batch, role);
  return Float32Array.from(batch.owners[role], (_, unit) => {
    const place = inRecord[unit];
    return (place && number(place.record, place.unit)) ?? 0;
  });
}

/** For each completion of a role, its record and its number within the record. */
export function unitsInRecords(
  batch: PackedBatch,
  role: number,
): readonly ({ readonly record: number; readonly unit: number } | undefined)[] {
  const seen = new Map<number, number>();
  return Array.from(batch.owners[role], (owner) => {
    const record = Number(owner);
    if (record >= batch.shape.records) return undefined;
    const unit = seen.get(record) ?? 0;
    seen.set(record, unit + 1);
    return { record, unit };
  });
}

function sameOwner(owners: BigInt64Array, records: number): Float32Array {
  const n = owners.length;
  const same = new Float32Array(n * n);
  for (let i = 0; i < n; i++)
    for (let j = 0; j < n; j++)
      same[i * n + j] = Number(owners[i] === owners[j] && Number(owners[i]) < records);
  return same;
}
