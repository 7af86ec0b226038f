/** The losses that a recipe asks for: those of its method, or the objectives it lists. */
import { RequestError } from "../errors.ts";
import type { Term } from "../objectives/combined.ts";
import { objectiveNamed } from "../objectives/table.ts";
import type { Recipe } from "../training/recipe.ts";
import { implementations } from "./implementations.ts";
import { methodNamed } from "./table.ts";

/** Throws for unknown names, for options that do not fit, and for methods that are not built yet. */
export function termsOf({ method, objective, options }: Recipe): readonly Term[] {
  if (method !== undefined) {
    const { id, objectives: own } = methodNamed(method);
    if (Object.hasOwn(implementations, id)) return implementations[id].terms(options);
    throw new RequestError({
      code: "not-built-yet",
      what: `method "${id}" is not built yet`,
      where: "method",
      fix:
        own.length > 0
          ? `Its loss is: set objective: ${own[0]} instead of method`
          : `Built so far: ${Object.keys(implementations).join(", ")}`,
    });
  }
  if (typeof objective === "string")
    return [{ objective: objectiveNamed(objective, "objective").with(options, "options"), weight: 1 }];
  return (objective ?? []).map((term, i) => ({
    objective: objectiveNamed(term.objective, `objective ${i + 1}`).with(
      { ...options, ...term.options },
      `options of objective ${i + 1}`,
    ),
    weight: term.weight,
  }));
}
