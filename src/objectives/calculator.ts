/**
 * Any objective on plain numbers: the graph that training runs, in float64, on log-probabilities given by hand.
 * Input and output formats are those of `prefopt loss` (docs/loss-format.md).
 */
import { z } from "zod";
import type { Backend, TensorArray } from "../engine/backends/backend.ts";
import { gradients } from "../engine/gradient.ts";
import { Graph } from "../engine/graph.ts";
import { pick } from "../engine/ops/indexing.ts";
import { logSoftmax } from "../engine/ops/normalization.ts";
import { concat } from "../engine/ops/shape.ts";
import { evaluate } from "../engine/program.ts";
import { type Tensor, dim, relabel } from "../engine/tensor.ts";
import { RequestError } from "../errors.ts";
import { canUse, combine } from "./combined.ts";
import { type Objective, type RecordKind, rolesOf } from "./objective.ts";
import type { ScoreSource, Scorer } from "./scores.ts";

export interface Calculation {
  /** Mean of `losses`. */
  loss: number;
  losses: number[];
  metrics: Record<string, number>;
  /** For each example, d(loss)/d(field) of its differentiable fields, in their shapes. */
  gradients: Record<string, Record<string, number[] | number[][]>>[];
}

const numbers = z.array(z.number()).min(1);
const completionSchema = z.looseObject({
  policy: numbers.optional(),
  reference: numbers.optional(),
  tokens: z.array(z.number().int().min(0)).min(1).optional(),
  logits: z.array(numbers).min(1).optional(),
  referenceLogits: z.array(numbers).min(1).optional(),
});
type GivenCompletion = z.output<typeof completionSchema>;
type Example = Record<string, unknown> & { completions: Record<string, GivenCompletion> };

/** Evaluates an objective. Throws a RequestError that names example and field where the input does not do. */
export async function calculate(
  backend: Backend,
  objective: Objective,
  input: unknown,
): Promise<Calculation> {
  const examples = parseExamples(objective, input);
  const kind = kindOf(objective, examples);
  const graph = new Graph("float64");
  const source = new GivenScores(graph, objective, examples);
  const { losses, loss, rewards } = combined();
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
    metrics: rewardMetrics(
      Object.fromEntries(Object.keys(rewards).map((role) => [role, list(`reward/${role}`)])),
    ),
    gradients: examples.map((example, i) => gradientsOf(example, i)),
  };

  function combined() {
    try {
      return combine([{ objective, weight: 1 }], kind, source);
    } catch (error) {
      // The objective touched a completion that this kind of record has not: say which example lacks it.
      if (error instanceof RequestError && error.code === "completion-missing")
        throw missingCompletion(objective, examples);
      throw error;
    }
  }

  function gradientsOf(example: Example, i: number): Calculation["gradients"][number] {
    const out: Calculation["gradients"][number] = {};
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

/** Means of the rewards, their margin, and the share of pairs in which the chosen one is strictly larger. */
export function rewardMetrics(rewards: Readonly<Record<string, readonly number[]>>): Record<string, number> {
  const mean = (xs: readonly number[]) => xs.reduce((a, b) => a + b, 0) / xs.length;
  const metrics: Record<string, number> = {};
  for (const [role, values] of Object.entries(rewards)) metrics[`rewards/${role}`] = mean(values);
  const { chosen, rejected } = rewards;
  if (chosen && rejected) {
    metrics["rewards/margins"] = mean(chosen.map((r, i) => r - rejected[i]));
    metrics["rewards/accuracies"] = mean(chosen.map((r, i) => Number(r > rejected[i])));
  }
  return metrics;
}

/** Scores as they were given, every completion an input of its own. */
class GivenScores implements ScoreSource {
  readonly arrays: Record<string, TensorArray> = {};
  readonly differentiable: { tensor: Tensor; example: number; role: string }[] = [];
  readonly records;
  readonly #graph: Graph;
  readonly #objective: Objective;
  readonly #examples: readonly Example[];

  constructor(graph: Graph, objective: Objective, examples: readonly Example[]) {
    this.#graph = graph;
    this.#objective = objective;
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
      const value = e[name];
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
      why: `objective ${this.#objective.id} needs it`,
    });
  }
}

/** Tokens of a completion: whichever field gives one value or row a token. */
function tokenCount(c: GivenCompletion): number {
  return (c.policy ?? c.tokens ?? c.reference ?? []).length;
}

function kindOf(objective: Objective, examples: readonly Example[]): RecordKind {
  const kinds = Object.keys(rolesOf) as RecordKind[];
  const fits = (kind: RecordKind) =>
    examples.every((e) => rolesOf[kind].every((role) => e.completions[role]));
  const kind = [objective.record, ...kinds].find((k) => fits(k) && canUse(objective.record, k));
  if (kind) return kind;
  throw missingCompletion(objective, examples);
}

/** The error of the first example that lacks a completion of the objective's kind of record. */
function missingCompletion(objective: Objective, examples: readonly Example[]): RequestError {
  const roles = rolesOf[objective.record];
  const at = examples.findIndex((e) => !roles.every((role) => e.completions[role]));
  const field = roles.find((role) => !examples[at].completions[role]) ?? roles[0];
  return new RequestError({
    code: "field-missing",
    what: `${field} is missing`,
    where: `example ${at + 1}`,
    why: `objective ${objective.id} needs ${roles.join(" and ")}`,
  });
}

/** Every completion of every example, checked. */
function parseExamples(objective: Objective, input: unknown): Example[] {
  const shape = z.looseObject({ examples: z.array(z.looseObject({})).min(1) }).safeParse(input);
  if (!shape.success) {
    throw new RequestError({
      code: "input-invalid",
      what: "the input is not a batch of examples",
      why: shape.error.issues[0].message,
      fix: `Give {"examples": [{${rolesOf[objective.record].map((r) => `"${r}": {…}`).join(", ")}}]}`,
    });
  }
  const roles = new Set<string>(Object.values(rolesOf).flat());
  return shape.data.examples.map((example, i) => {
    const completions: Record<string, GivenCompletion> = {};
    for (const [role, value] of Object.entries(example)) {
      if (!roles.has(role)) continue;
      const parsed = completionSchema.safeParse(value);
      if (!parsed.success) {
        const { path, message } = parsed.error.issues[0];
        throw new RequestError({
          code: "field-invalid",
          what: `${[role, ...path].join(".")} is not valid`,
          where: `example ${i + 1}`,
          why: `${message} (objective ${objective.id} takes finite numbers, one a token)`,
        });
      }
      completions[role] = parsed.data;
    }
    return { ...example, completions };
  });
}
