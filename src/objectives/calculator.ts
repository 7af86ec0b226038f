/**
 * Any objective on plain numbers: the graph that training runs, in float64, on log-probabilities given by hand.
 * Input and output formats are those of `prefopt loss` (docs/loss-format.md).
 */
import { z } from "zod";
import type { Backend } from "../engine/backends/backend.ts";
import { RequestError } from "../errors.ts";
import { type Example, readExample, shapedGradients } from "./example-shapes.ts";
import { evaluateExamples } from "./evaluate-examples.ts";
import type { Objective } from "./definition.ts";
import { type RecordKind, isMany, recordKinds, rolesOf, standIn } from "../data/record-kinds.ts";
import { type Known, touchedBy } from "./touched.ts";

export interface Calculation {
  /** Mean of `losses`. */
  loss: number;
  losses: number[];
  metrics: Record<string, number>;
  /** For each example, d(loss)/d(field) of its differentiable fields, in their places and shapes. */
  gradients: Readonly<Record<string, unknown>>[];
}

/** Examples read as records of one kind, and the numbers of their batch. */
export interface Problem {
  readonly kind: RecordKind;
  readonly examples: readonly Example[];
  readonly batch: Readonly<Record<string, number>> | undefined;
}

/** Evaluates an objective. Throws a RequestError that names example and field where the input does not do. */
export async function calculate(
  backend: Backend,
  objective: Objective,
  input: unknown,
): Promise<Calculation> {
  const { examples: json } = parseInput(objective, input);
  const { kind, examples, batch } = readProblem(objective, input);
  const terms = [{ objective, weight: 1 }];
  const found = await evaluateExamples(backend, terms, kind, examples, { batch });
  const means = Object.entries(found.metrics).map(([name, values]) => [name, mean(values)]);
  return {
    loss: found.loss,
    losses: found.losses,
    metrics: { ...rewardMetrics(found.rewards), ...Object.fromEntries(means) },
    gradients: found.gradients.map((g, i) => shapedGradients(kind, json[i], g)),
  };
}

/** Reads the input of the calculator as records that the objective can use. */
export function readProblem(objective: Objective, input: unknown): Problem {
  const { examples: json, batch } = parseInput(objective, input);
  const read = (kind: RecordKind) =>
    json.map((example, i) => readExample(kind, example, `example ${i + 1}`, objective.id));
  const needed = neededRoles(objective, {
    batch: Object.keys(batch ?? {}),
    fields: new Set(json.flatMap((example) => Object.keys(example))),
  });
  const fits = (kind: RecordKind, examples: readonly Example[]) =>
    examples.every((e) =>
      needed.every((role) => {
        const own = standIn(role, kind);
        return own !== undefined && (e.completions[own]?.length ?? 0) > 0;
      }),
    );
  const kinds = Object.keys(recordKinds) as RecordKind[];
  for (const kind of [objective.record, ...kinds.filter((k) => k !== objective.record)]) {
    if (kind !== objective.record && isMany(kind, rolesOf(kind)[0])) continue;
    const examples = read(kind);
    if (fits(kind, examples)) return { kind, examples, batch };
  }
  throw missingCompletion(objective, needed, read(objective.record));
}

/** Means of the rewards, their margin, and the share of pairs in which the chosen one is strictly larger. */
export function rewardMetrics(rewards: Readonly<Record<string, readonly number[]>>): Record<string, number> {
  const metrics: Record<string, number> = {};
  for (const [role, values] of Object.entries(rewards)) metrics[`rewards/${role}`] = mean(values);
  const { chosen, rejected } = rewards;
  if (chosen && rejected) {
    metrics["rewards/margins"] = mean(chosen.map((r, i) => r - rejected[i]));
    metrics["rewards/accuracies"] = mean(chosen.map((r, i) => Number(r > rejected[i])));
  }
  return metrics;
}

const mean = (xs: readonly number[]) => xs.reduce((a, b) => a + b, 0) / xs.length;

/** The completions that the objective touches and every record must have. */
function neededRoles(objective: Objective, known: Known): string[] {
  const { tokens, values } = touchedBy([{ objective, weight: 1 }], objective.record, known);
  const mayLack = (role: string, i: number) =>
    i > 0 && isMany(objective.record, role) && !objective.needs.includes(role);
  return rolesOf(objective.record).filter(
    (role, i) => !mayLack(role, i) && (tokens.has(role) || values.has(role)),
  );
}

/** The error of the first example that lacks a completion. */
function missingCompletion(
  objective: Objective,
  needed: readonly string[],
  examples: readonly Example[],
): RequestError {
  const lacks = (e: Example) => needed.find((role) => (e.completions[role]?.length ?? 0) === 0);
  const found = examples.findIndex((e) => lacks(e) !== undefined);
  const role = lacks(examples[Math.max(0, found)]) ?? needed[0];
  return new RequestError({
    code: "field-missing",
    what: `${role} is missing`,
    where: `example ${Math.max(0, found) + 1}`,
    why: `objective ${objective.id} needs ${needed.join(" and ")}`,
  });
}

const inputSchema = z.looseObject({
  examples: z.array(z.looseObject({})).min(1),
  batch: z.record(z.string(), z.number()).optional(),
});

function parseInput(objective: Objective, input: unknown): z.output<typeof inputSchema> {
  const shape = inputSchema.safeParse(input);
  if (shape.success) return shape.data;
  throw new RequestError({
    code: "input-invalid",
    what: "the input is not a batch of examples",
    why: `${shape.error.issues[0].path.join(".")}: ${shape.error.issues[0].message}`,
    fix: `Give {"examples": [{${rolesOf(objective.record)
      .map((r) => `"${r}": {…}`)
      .join(", ")}}]}`,
  });
}
