/**
 * Any objective on plain numbers: the graph that training runs, in float64, on log-probabilities given by hand.
 * Input and output formats are those of `prefopt loss` (docs/loss-format.md).
 */
import { z } from "zod";
import type { Backend } from "../engine/backends/backend.ts";
import { RequestError } from "../errors.ts";
import { canUse } from "./combined.ts";
import { type Evaluated, type Example, type GivenCompletion, evaluateExamples } from "./given-scores.ts";
import { type Objective, type RecordKind, rolesOf } from "./objective.ts";

export interface Calculation {
  /** Mean of `losses`. */
  loss: number;
  losses: number[];
  metrics: Record<string, number>;
  /** For each example, d(loss)/d(field) of its differentiable fields, in their shapes. */
  gradients: Evaluated["gradients"];
}

const numbers = z.array(z.number()).min(1);
const completionSchema = z.looseObject({
  policy: numbers.optional(),
  reference: numbers.optional(),
  tokens: z.array(z.number().int().min(0)).min(1).optional(),
  logits: z.array(numbers).min(1).optional(),
  referenceLogits: z.array(numbers).min(1).optional(),
});

/** Evaluates an objective. Throws a RequestError that names example and field where the input does not do. */
export async function calculate(
  backend: Backend,
  objective: Objective,
  input: unknown,
): Promise<Calculation> {
  const examples = parseExamples(objective, input);
  const kind = kindOf(objective, examples);
  try {
    const { rewards, ...rest } = await evaluateExamples(backend, [{ objective, weight: 1 }], kind, examples);
    return { ...rest, metrics: rewardMetrics(rewards) };
  } catch (error) {
    // The objective touched a completion that this kind of record has not: say which example lacks it.
    if (error instanceof RequestError && error.code === "completion-missing")
      throw missingCompletion(objective, examples);
    throw error;
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
    return { completions, fields: example };
  });
}
