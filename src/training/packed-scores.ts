/**
 * Where objectives get their scores from while training: policy scores are the model's graph itself, everything else is an input that
 * exists once it is touched. And the question, asked before anything is loaded, whether they will touch the reference.
 */
import { Graph } from "../engine/graph.ts";
import { type Tensor, dim } from "../engine/tensor.ts";
import { type Term, combine } from "../objectives/combined.ts";
import type { RecordKind } from "../objectives/objective.ts";
import type { ScoreSource, Scorer } from "../objectives/scores.ts";
import type { PackShape } from "../scoring/packing.ts";
import type { TextScores } from "../scoring/text-graph.ts";

/** Scores inside the model's graph: policy from the model, everything else from inputs that exist once they are touched. */
export class PackedScores implements ScoreSource {
  readonly records;
  readonly #graph: Graph;
  readonly #scores: TextScores;
  readonly #shape: PackShape;
  readonly #roles: readonly string[];
  readonly #fields: ReadonlySet<string>;

  constructor(
    graph: Graph,
    scores: TextScores,
    shape: PackShape,
    roles: readonly string[],
    fields: ReadonlySet<string>,
  ) {
    this.#graph = graph;
    this.#scores = scores;
    this.#shape = shape;
    this.#roles = roles;
    this.#fields = fields;
    this.records = scores.records;
  }

  tokenLogps(role: string, scorer: Scorer): Tensor {
    const k = this.#roles.indexOf(role);
    if (scorer === "policy") return this.#scores.roles[k].logps;
    return this.#input(`${role}/reference`, [dim(`${role} tokens`, this.#shape.scored[k])]);
  }

  segments(role: string): Tensor {
    return this.#scores.roles[this.#roles.indexOf(role)].segments;
  }

  positions(role: string): Tensor {
    return this.#scores.roles[this.#roles.indexOf(role)].positions();
  }

  lengths(role: string): Tensor {
    return this.#scores.roles[this.#roles.indexOf(role)].lengths;
  }

  field(name: string, otherwise: number): Tensor | undefined {
    const padded = name === "weight" ? this.#input("batch/real", [this.records]) : undefined;
    if (!this.#fields.has(name)) return padded;
    const given = this.#input(`field/${name}`, [this.records]);
    const missing = this.#graph.node("IsNaN", [given], { dtype: "bool", shape: given.shape });
    const filled = this.#graph.node("Where", [missing, this.#graph.scalar(otherwise), given], {
      shape: given.shape,
    });
    return padded ? this.#graph.node("Mul", [filled, padded], { shape: given.shape }) : filled;
  }

  batchSize(): Tensor {
    return this.#input("batch/size", []);
  }

  batchTokens(role: string): Tensor {
    return this.#input(`batch/tokens/${role}`, []);
  }

  #input(name: string, shape: Tensor["shape"]): Tensor {
    return this.#graph.inputs.find((t) => t.id === name) ?? this.#graph.input(name, "float", shape);
  }
}

/** Whether the objectives touch the reference when they see records of this kind. */
export function touchesReference(terms: readonly Term[], kind: RecordKind): boolean {
  const graph = new Graph();
  const records = dim("records", 2);
  let touched = false;
  const tokens = (role: string) => [dim(`${role} tokens`, 1)];
  const input = (name: string, shape: Tensor["shape"], dtype: "float" | "int64" = "float") =>
    graph.inputs.find((t) => t.id === name) ?? graph.input(name, dtype, shape);
  combine(terms, kind, {
    records,
    tokenLogps(role, scorer) {
      touched ||= scorer === "reference";
      return input(`${role}/${scorer}`, tokens(role));
    },
    segments: (role) => input(`${role}/segments`, tokens(role), "int64"),
    positions: (role) => input(`${role}/positions`, tokens(role)),
    lengths: (role) => input(`${role}/lengths`, [records]),
    field: () => undefined,
    batchSize: () => input("size", []),
    batchTokens: (role) => input(`tokens/${role}`, []),
  });
  return touched;
}
