/**
 * Scores that are there as numbers: the calculator's input, or the scores of a whole batch whose losses depend on one another.
 */
import { type RecordKind, isMany } from "../data/record-kinds.ts";
import { Graph } from "../engine/graph.ts";
import { concat, reshape } from "../engine/ops/shape.ts";
import { random } from "../engine/random.ts";
import { type Tensor, dim, relabel } from "../engine/tensor.ts";
import type { Example } from "./example-shapes.ts";
import { GivenBatch, type Surroundings } from "./given-batch.ts";
import { tokenCount } from "./given-completion.ts";
import { GivenInputs } from "./given-inputs.ts";
import { tokenDim } from "./given-unit.ts";
import type { HeadQuantity, ScoreSource, TokenQuantity } from "./score-source.ts";

export class GivenScores implements ScoreSource {
  readonly graph: Graph;
  readonly records;
  /** The completions as inputs: their arrays, and those whose gradients are told. */
  readonly inputs: GivenInputs;
  readonly batch: GivenBatch;
  readonly #kind: RecordKind;
  readonly #examples: readonly Example[];
  readonly #seed: number;

  constructor(owner: string, kind: RecordKind, examples: readonly Example[], around: Surroundings) {
    this.graph = around.graph ?? new Graph("float64");
    this.inputs = new GivenInputs(this.graph, owner, kind, examples);
    this.batch = new GivenBatch(this.inputs, examples, around);
    this.#kind = kind;
    this.#examples = examples;
    this.#seed = around.seed ?? 1;
    this.records = dim("records", examples.length);
  }

  tokens(role: string, quantity: TokenQuantity): Tensor {
    const parts = this.inputs.units(role).map((u) => this.inputs.tokens(u, role, quantity));
    return concat(parts, tokenDim(role));
  }

  segments(role: string): Tensor {
    const units = this.inputs.units(role);
    const ids = units.flatMap(({ completion }, i) => new Array<number>(tokenCount(completion)).fill(i));
    return relabel(this.graph.integers(ids), [dim(tokenDim(role), ids.length)]);
  }

  positions(role: string): Tensor {
    const places = this.inputs
      .units(role)
      .flatMap(({ completion }) => Array.from({ length: tokenCount(completion) }, (_, t) => t));
    return this.inputs.input(`positions/${role}`, places, [dim(tokenDim(role), places.length)]);
  }

  units(role: string) {
    return isMany(this.#kind, role) ? dim(`${role} units`, this.inputs.units(role).length) : this.records;
  }

  lengths(role: string): Tensor {
    const lengths = this.inputs.units(role).map(({ completion }) => Math.max(1, tokenCount(completion)));
    return this.inputs.input(`lengths/${role}`, lengths, [this.units(role)]);
  }

  owners(role: string): Tensor {
    const owners = this.inputs.units(role).map((u) => u.example);
    return relabel(this.graph.integers(owners), [this.units(role)]);
  }

  sameRecord(role: string): Tensor {
    const units = this.inputs.units(role);
    const same = units.flatMap((a) => units.map((b) => Number(a.example === b.example)));
    const n = this.units(role);
    return this.inputs.input(`same/${role}`, same, [n, dim(`other ${n.name}`, n.size)]);
  }

  places(role: string, order: "order" | "random"): Tensor {
    const places = this.inputs.units(role).map((_, i) => i);
    if (order === "random") random(this.#seed, "ties", role).shuffle(places);
    return this.inputs.input(`places/${role}/${order}`, places, [this.units(role)]);
  }

  head(role: string, head: HeadQuantity): Tensor {
    const field = head === "reward" ? "reward" : "degreeLogits";
    const given = this.inputs.units(role).map((u) => {
      const value = u.completion[field];
      if (value === undefined) throw this.inputs.missingOf(u, role, field);
      return { u, row: [value].flat() };
    });
    const width = Math.max(...given.map(({ row }) => row.length));
    const rows = given.map(({ u, row }) => {
      const own = this.inputs.wanted(u, role, field, row, [dim("row", 1), dim(head, row.length)]);
      if (row.length === width) return own;
      // A narrower row has no more degrees: what is not there is never likely.
      const rest = new Array<number>(width - row.length).fill(-1e30);
      const name = `${this.inputs.nameOf(u, role, field)}/rest`;
      return concat([own, this.inputs.input(name, rest, [dim("row", 1), dim(head, rest.length)])], head);
    });
    return reshape(concat(rows, "row"), [this.units(role), dim(head, width)]);
  }

  value(role: string, name: string): Tensor {
    const values = this.inputs.units(role).map((u) => {
      const value = (u.completion as Readonly<Record<string, unknown>>)[name];
      if (typeof value === "number") return value;
      throw this.inputs.missingOf(u, role, name);
    });
    return this.inputs.input(`value/${role}/${name}`, values, [this.units(role)]);
  }

  field(name: string, otherwise: number): Tensor | undefined {
    const values = this.#examples.map((_, i) => this.inputs.number(i, name));
    if (values.every((v) => v === undefined)) return undefined;
    const filled = values.map((v) => v ?? otherwise);
    return this.inputs.input(`field/${name}`, filled, [this.records]);
  }

  required(name: string): Tensor {
    const values = this.#examples.map((_, i) => {
      const value = this.inputs.number(i, name);
      if (value !== undefined) return value;
      throw this.inputs.missing(i, name);
    });
    return this.inputs.input(`required/${name}`, values, [this.records]);
  }

  present(role: string): boolean {
    return this.#examples.some((e) => (e.completions[role] ?? []).length > 0);
  }

  promptRole(): undefined {
    return undefined;
  }
}
