/** A source of scores that only takes notes of what is touched. */
import { Graph } from "../engine/graph.ts";
import { type Tensor, dim } from "../engine/tensor.ts";
import { type RecordKind, isMany, promptOf, promptSuffix } from "../data/record-kinds.ts";
import type { HeadQuantity, ScoreSource, TokenQuantity } from "./score-source.ts";
import type { Known } from "./touched.ts";

/** Stands for scores: every tensor is an input that nobody fills. */
export class Notes implements ScoreSource {
  readonly graph = new Graph();
  readonly records = dim("records", 2);
  readonly tokenNotes = new Map<string, Set<TokenQuantity>>();
  readonly headNotes = new Map<string, Set<HeadQuantity>>();
  readonly valueNotes = new Map<string, Set<string>>();
  readonly requiredNotes = new Set<string>();
  readonly fieldNotes = new Set<string>();
  /** Roles of whose tokens the places are read. */
  readonly placed = new Set<string>();
  random = false;
  readonly #kind: RecordKind;
  readonly #known: Known;

  constructor(kind: RecordKind, known: Known) {
    this.#kind = kind;
    this.#known = known;
  }

  tokens(role: string, quantity: TokenQuantity): Tensor {
    this.#note(this.tokenNotes, role, quantity);
    return this.#input(`${role} ${quantity}`, this.#tokens(role));
  }
  segments(role: string): Tensor {
    return this.#input(`${role} segments`, this.#tokens(role), "int64");
  }
  positions(role: string): Tensor {
    this.#note(this.tokenNotes, role);
    this.placed.add(role);
    return this.#input(`${role} positions`, this.#tokens(role));
  }
  units(role: string) {
    return isMany(this.#kind, role) ? dim(`${role} units`, 3) : this.records;
  }
  lengths(role: string): Tensor {
    this.#note(this.tokenNotes, role);
    return this.#input(`${role} lengths`, [this.units(role)]);
  }
  owners(role: string): Tensor {
    return this.#input(`${role} owners`, [this.units(role)], "int64");
  }
  sameRecord(role: string): Tensor {
    const units = this.units(role);
    return this.#input(`${role} same`, [units, dim(`other ${units.name}`, units.size)]);
  }
  places(role: string, order: "order" | "random"): Tensor {
    this.random ||= order === "random";
    return this.#input(`${role} places ${order}`, [this.units(role)]);
  }
  head(role: string, head: HeadQuantity): Tensor {
    this.#note(this.tokenNotes, role);
    this.#note(this.headNotes, role, head);
    return this.#input(`${role} ${head}`, [this.units(role), dim(head, head === "reward" ? 1 : 2)]);
  }
  value(role: string, name: string): Tensor {
    this.#note(this.valueNotes, role, name);
    return this.#input(`${role} value ${name}`, [this.units(role)]);
  }
  field(name: string): Tensor | undefined {
    this.fieldNotes.add(name);
    return this.#known.fields?.has(name) ? this.#input(`field ${name}`, [this.records]) : undefined;
  }
  required(name: string): Tensor {
    this.requiredNotes.add(name);
    return this.#input(`field ${name}`, [this.records]);
  }
  present(): boolean {
    return true;
  }
  promptRole(role: string): string | undefined {
    return promptSuffix.test(role) ? undefined : promptOf(role);
  }
  readonly batch = {
    size: () => this.#input("size", []),
    epoch: () => this.#input("epoch", []),
    tokens: (role: string) => {
      this.#note(this.tokenNotes, role);
      return this.#input(`tokens of ${role}`, []);
    },
    units: (role: string) => this.#input(`units of ${role}`, []),
    orderedPairs: (role: string) => {
      this.#note(this.valueNotes, role, "score");
      return this.#input(`pairs of ${role}`, []);
    },
    given: (name: string) =>
      this.#known.batch?.includes(name) ? this.#input(`given ${name}`, []) : undefined,
    runningMean: (_name: string, mean: Tensor) => mean,
  };

  #note<T>(notes: Map<string, Set<T>>, role: string, ...found: T[]): void {
    const set = notes.get(role) ?? new Set<T>();
    for (const one of found) set.add(one);
    notes.set(role, set);
  }

  #tokens(role: string) {
    return [dim(`${role} tokens`, 1)];
  }

  #input(name: string, shape: Tensor["shape"], dtype: "float" | "int64" = "float"): Tensor {
    return this.graph.inputs.find((t) => t.id === name) ?? this.graph.input(name, dtype, shape);
  }
}
