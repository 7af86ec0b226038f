/** Objectives evaluated on examples whose scores are numbers, in float64: losses, what is logged, and a gradient for each number. */
import type { RecordKind } from "../data/record-kinds.ts";
import type { Backend } from "../engine/backends/backend.ts";
import { gradients } from "../engine/gradient.ts";
import { evaluate } from "../engine/program.ts";
import type { Tensor } from "../engine/tensor.ts";
import { type Combined, type Term, checkBatch, combine } from "./combined.ts";
import type { CompletionGradient, Example } from "./example-shapes.ts";
import type { RunningMean, Surroundings } from "./given-batch.ts";
import type { GivenCompletion } from "./given-completion.ts";
import { GivenScores } from "./given-scores.ts";
import { differentiableFields } from "./given-unit.ts";

export interface Evaluated {
  readonly loss: number;
  readonly losses: number[];
  readonly rewards: Readonly<Record<string, number[]>>;
  readonly metrics: Readonly<Record<string, number[]>>;
  /** Running means with this batch added. */
  readonly running: Readonly<Record<string, RunningMean>>;
  /** For each example, role and completion, d(loss)/d(field) of the differentiable fields that were given. */
  readonly gradients: Record<string, CompletionGradient[]>[];
}

/** The loss of a batch of examples and its gradients. */
export async function evaluateExamples(
  backend: Backend,
  terms: readonly Term[],
  kind: RecordKind,
  examples: readonly Example[],
  surroundings: Surroundings = {},
): Promise<Evaluated> {
  const problem = poseProblem(terms, kind, examples, surroundings);
  const { source, combined } = problem;
  const wrt = source.inputs.differentiable;
  const given = gradients(
    combined.loss,
    wrt.map((w) => w.tensor),
  );
  const outputs: Record<string, Tensor> = { losses: combined.losses, loss: combined.loss };
  const named = { reward: combined.rewards, metric: combined.metrics };
  for (const [prefix, tensors] of Object.entries(named))
    for (const [name, t] of Object.entries(tensors)) if (t) outputs[`${prefix}/${name}`] = t;
  for (const [name, { mean }] of source.batch.running) outputs[`running/${name}`] = mean;
  given.forEach((g, i) => {
    if (g) outputs[`gradient/${i}`] = g;
  });
  const results = await evaluate(backend, source.graph, outputs, source.inputs.arrays);
  const list = (name: string) => Array.from(results[name] as Float64Array);
  const lists = (prefix: string, tensors: object) =>
    Object.fromEntries(Object.keys(tensors).map((name) => [name, list(`${prefix}/${name}`)]));
  return {
    loss: list("loss")[0],
    losses: list("losses"),
    rewards: lists("reward", combined.rewards),
    metrics: lists("metric", combined.metrics),
    running: Object.fromEntries(
      [...source.batch.running].map(([name, { count }]) => [
        name,
        { mean: list(`running/${name}`)[0], count },
      ]),
    ),
    gradients: examples.map((example, i) =>
      Object.fromEntries(
        Object.entries(example.completions).map(([role, all]) => [
          role,
          all.map((c, unit) => gradientOf(c, i, role, unit)),
        ]),
      ),
    ),
  };

  function gradientOf(c: GivenCompletion, example: number, role: string, unit: number): CompletionGradient {
    const out: CompletionGradient = {};
    for (const field of differentiableFields) {
      const value = c[field];
      const index = wrt.findIndex(
        (w) => w.example === example && w.role === role && w.unit === unit && w.field === field,
      );
      // A reward is differentiable only where a head's output is what is asked for.
      if (value === undefined || (field === "reward" && index < 0)) continue;
      const rows: readonly (readonly number[])[] =
        typeof value === "number" ? [[value]] : isRows(value) ? value : [value];
      const flat = index >= 0 && given[index] ? list(`gradient/${index}`) : rows.flat().map(() => 0);
      let start = 0;
      const shaped = rows.map((row) => flat.slice(start, (start += row.length)));
      out[field] = typeof value === "number" ? shaped[0][0] : isRows(value) ? shaped : shaped[0];
    }
    return out;
  }
}

/** The graph of a batch's loss, before it is run: for the calculator, and for checks that move its inputs. */
export function poseProblem(
  terms: readonly Term[],
  kind: RecordKind,
  examples: readonly Example[],
  surroundings: Surroundings = {},
): { source: GivenScores; combined: Combined } {
  const weighted = examples.some((e) => e.fields.weight !== undefined);
  // A caller who gives the numbers of the batch may look at a part of it.
  if (!surroundings.batch) checkBatch(terms, examples.length, weighted);
  const owner = terms.map((t) => t.objective.id).join(" + ");
  const source = new GivenScores(owner, kind, examples, surroundings);
  return { source, combined: combine(terms, kind, source) };
}

const isRows = (value: readonly unknown[]): value is readonly (readonly number[])[] =>
  Array.isArray(value[0]);
