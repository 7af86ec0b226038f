/**
 * Objectives on scores that are there as numbers, in float64: the calculator's input, or the scores of a whole batch whose losses
 * depend on one another. Every completion is an input of its own; what comes back is a gradient for each token.
 */
import type { Backend, TensorArray } from "../engine/backends/backend.ts";
import { gradients } from "../engine/gradient.ts";
import { Graph } from "../engine/graph.ts";
import { pick } from "../engine/ops/indexing.ts";
import { logSoftmax } from "../engine/ops/normalization.ts";
import { concat } from "../engine/ops/shape.ts";
import { evaluate } from "../engine/program.ts";
import { type Tensor, dim, relabel } from "../engine/tensor.ts";
import { RequestError } from "../errors.ts";
import { type Term, combine } from "./combined.ts";
import type { RecordKind } from "./objective.ts";
import type { ScoreSource, Scorer } from "./scores.ts";

/** What is known of one completion: a number, or a row over a small vocabulary, for each of its tokens. */
export interface GivenCompletion {
  readonly policy?: readonly number[];
  readonly reference?: readonly number[];
  readonly tokens?: readonly number[];
  readonly logits?: readonly (readonly number[])[];
  readonly referenceLogits?: readonly (readonly number[])[];
}

/** A record: its completions by role, and its other fields. */
export interface Example {
  readonly completions: Readonly<Record<string, GivenCompletion>>;
  readonly fields: Readonly<Record<string, unknown>>;
}

export interface Evaluated {
  readonly loss: number;
  readonly losses: number[];
  readonly rewards: Readonly<Record<string, number[]>>;
  /** For each example and role, d(loss)/d(field) of the differentiable field that was given. */
  readonly gradients: Record<string, Record<string, number[] | number[][]>>[];
}

/** The loss of a batch of examples and its gradients. */
export async function evaluateExamples(
  backend: Backend,
  terms: readonly Term[],
  kind: RecordKind,
  examples: readonly Example[],
): Promise<Evaluated> {
  const graph = new Graph("float64");
  const source = new GivenScores(graph, terms.map((t) => t.objective.id).join(" + "), examples);
  const { losses, loss, rewards } = combine(terms, kind, source);
  const wrt = source.differentiable;
  const given = gradients(
    loss,
    wrt.map((w) => w.tensor),
  );
  const outputs: Record<string, Tensor> = { losses, loss };
  for (const [role, t] of Object.entries(rewards)) if (t) outputs[`reward/${role}`] = t;
  given.forEach((g, i) => {
    if (g) outputs[`gradient/${i}`] = g;
  });
  const results = await evaluate(backend, graph, outputs, source.arrays);
  const list = (name: string) => Array.from(results[name] as Float64Array);
  return {
    loss: list("loss")[0],
    losses: list("losses"),
    rewards: Object.fromEntries(Object.keys(rewards).map((role) => [role, list(`reward/${role}`)])),
    gradients: examples.map((example, i) => gradientsOf(example, i)),
  };

  function gradientsOf(example: Example, i: number): Evaluated["gradients"][number] {
    const out: Evaluated["gradients"][number] = {};
    for (const [role, c] of Object.entries(example.completions)) {
      const field = c.logits ? "logits" : c.policy ? "policy" : undefined;
      if (!field) continue;
      const index = wrt.findIndex((w) => w.example === i && w.role === role);
      const rows = c.logits ?? [c.policy ?? []];
      const flat = index >= 0 && given[index] ? list(`gradient/${index}`) : rows.flat().map(() => 0);
      let start = 0;
      const shaped = rows.map((row) => flat.slice(start, (start += row.length)));
      out[role] = { [field]: c.logits ? shaped : shaped[0] };
    }
    return out;
  }
}

/** Scores as they were given, every completion an input of its own. */
class GivenScores implements ScoreSource {
  readonly arrays: Record<string, TensorArray> = {};
  readonly differentiable: { tensor: Tensor; example: number; role: string }[] = [];
  readonly records;
  readonly #graph: Graph;
  readonly #owner: string;
  readonly #examples: readonly Example[];

  constructor(graph: Graph, owner: string, examples: readonly Example[]) {
    this.#graph = graph;
    this.#owner = owner;
    this.#examples = examples;
    this.records = dim("records", examples.length);
  }

  tokenLogps(role: string, scorer: Scorer): Tensor {
    const tokens = `${role} tokens`;
    return concat(
      this.#examples.map((example, i) => {
        const c = example.completions[role];
        const length = tokenCount(c);
        const n = dim(tokens, length);
        const [values, logits] =
          scorer === "policy" ? [c.policy, c.logits] : [c.reference, c.referenceLogits];
        if (logits && c.tokens) {
          const all = this.#input(`${i}/${role}/${scorer}Logits`, logits.flat(), [
            n,
            dim("vocabulary", logits[0].length),
          ]);
          if (scorer === "policy") this.differentiable.push({ tensor: all, example: i, role });
          const ids = relabel(this.#graph.integers(c.tokens), [n]);
          return pick(logSoftmax(all), ids);
        }
        if (!values) throw this.#missing(i, `${role}.${scorer}`);
        if (values.length !== length) {
          throw new RequestError({
            code: "length-mismatch",
            what: `${role}.${scorer} has ${values.length} values`,
            where: `example ${i + 1}`,
            why: `the completion has ${length} tokens`,
          });
        }
        const tensor = this.#input(`${i}/${role}/${scorer}`, values, [n]);
        if (scorer === "policy") this.differentiable.push({ tensor, example: i, role });
        return tensor;
      }),
      tokens,
    );
  }

  segments(role: string): Tensor {
    const ids = this.#examples.flatMap((e, i) => new Array<number>(tokenCount(e.completions[role])).fill(i));
    return relabel(this.#graph.integers(ids), [dim(`${role} tokens`, ids.length)]);
  }

  positions(role: string): Tensor {
    const places = this.#examples.flatMap((e) =>
      Array.from({ length: tokenCount(e.completions[role]) }, (_, t) => t),
    );
    return this.#input(`positions/${role}`, places, [dim(`${role} tokens`, places.length)]);
  }

  lengths(role: string): Tensor {
    const lengths = this.#examples.map((e) => tokenCount(e.completions[role]));
    return this.#input(`lengths/${role}`, lengths, [this.records]);
  }

  field(name: string, otherwise: number): Tensor | undefined {
    const values = this.#examples.map((e, i) => {
      const value = e.fields[name];
      if (value === undefined) return undefined;
      if (typeof value === "number" && Number.isFinite(value)) return value;
      throw new RequestError({
        code: "field-invalid",
        what: `${name} must be a number`,
        where: `example ${i + 1}`,
      });
    });
    if (values.every((v) => v === undefined)) return undefined;
    return this.#input(
      `field/${name}`,
      values.map((v) => v ?? otherwise),
      [this.records],
    );
  }

  batchSize(): Tensor {
    return this.#graph.scalar(this.#examples.length);
  }

  batchTokens(role: string): Tensor {
    return this.#graph.scalar(this.#examples.reduce((n, e) => n + tokenCount(e.completions[role]), 0));
  }

  #input(name: string, values: readonly number[], shape: Parameters<Graph["input"]>[2]): Tensor {
    const known = this.#graph.inputs.find((t) => t.id === name);
    if (known) return known;
    this.arrays[name] = Float64Array.from(values);
    return this.#graph.input(name, "float", shape);
  }

  #missing(i: number, field: string): RequestError {
    return new RequestError({
      code: "field-missing",
      what: `${field} is missing`,
      where: `example ${i + 1}`,
      why: `objective ${this.#owner} needs it`,
    });
  }
}

/** Tokens of a completion: whichever field gives one value or row a token. */
export function tokenCount(c: GivenCompletion): number {
  return (c.policy ?? c.tokens ?? c.reference ?? []).length;
}
