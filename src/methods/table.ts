/**
 * The systems with what works of each, and the way from a name to one of them. A status is never written by hand: it
 * follows from the implementations (`implementations.ts`) and objectives (`objectives/table.ts`) that are registered.
 */
import { RequestError, nearest } from "../errors.ts";
import { objectives } from "../objectives/table.ts";
import { implementations } from "./implementations.ts";
import { type System, systems } from "./systems.ts";

/** works: recipes can name it. objective only: its loss exists (`objective:`, `prefopt loss`), its procedure does not. */
export type Status = "works" | "objective only" | "planned";

export type MethodEntry = System & { readonly status: Status };

/** All systems, the order of the documentation. */
export const methods: readonly MethodEntry[] = systems.map((system) => ({
  ...system,
  get status() {
    return statusOf(system.id);
  },
}));

function statusOf(id: string): Status {
  if (Object.hasOwn(implementations, id)) return "works";
  return objectives().some((objective) => objective.id === id) ? "objective only" : "planned";
}

/** Acronyms that several systems claim. */
const ambiguous: ReadonlyMap<string, readonly string[]> = new Map([
  ["tpo", ["triple-po", "task-po"]],
  ["spo", ["self-supervised-po", "step-aware-po"]],
  ["apo", ["accelerated-po", "the objectives apo-zero and apo-down"]],
]);

/** Second names. */
const aliases: ReadonlyMap<string, string> = new Map([["cofs-dpo", "ofs-dpo"]]);

/** The entry of a method id. Throws for an acronym that several systems claim, and for an unknown id. */
export function methodNamed(name: string): MethodEntry {
  const id = aliases.get(name) ?? name;
  const found = methods.find((m) => m.id === id);
  if (found) return found;
  const claims = ambiguous.get(id.toLowerCase());
  if (claims)
    throw new RequestError({
      code: "ambiguous-method",
      what: `"${name}" names several methods`,
      fix: `Choose one of: ${claims.join(", ")}`,
    });
  const guess = nearest(id, [...methods.map((m) => m.id), ...aliases.keys()]);
  throw new RequestError({
    code: "unknown-method",
    what: `there is no method "${name}"`,
    fix: guess ? `Did you mean ${guess}?` : "See: prefopt methods",
  });
}
