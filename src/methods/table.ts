/**
 * The systems with what works of each, and the way from a name to one of them. A status is never written by hand: it
 * follows from the implementations (`implementations.ts`), commands (`commands.ts`) and objectives (`objectives/table.ts`) that are there.
 */
import { RequestError, nearest } from "../errors.ts";
import { findObjective, objectives } from "../objectives/table.ts";
import { commands } from "./commands.ts";
import { implementations } from "./implementations.ts";
import { type System, systems } from "./systems.ts";

/** works: recipes can name it, or it is a command. objective only: its loss exists (`objective:`, `prefopt loss`), its procedure does not. */
export type Status = "works" | "objective only" | "planned";

export interface MethodEntry extends Omit<System, "trainsWith"> {
  readonly status: Status;
  /** How it is called, where it is a command and no training. */
  readonly command?: string;
  /** Ids of its objectives that are there: what a recipe can train with now. */
  readonly objectives: readonly string[];
}

/** All systems, the order of the documentation. */
export const methods: readonly MethodEntry[] = systems.map(({ trainsWith, ...system }) => ({
  ...system,
  ...(Object.hasOwn(commands, system.id) && { command: commands[system.id] }),
  get status() {
    if ([implementations, commands].some((there) => Object.hasOwn(there, system.id))) return "works";
    return registered(trainsWith).length > 0 ? "objective only" : "planned";
  },
  get objectives() {
    return registered(trainsWith);
  },
}));

const registered = (ids: readonly string[]) => ids.filter((id) => objectives().some((o) => o.id === id));

/** Acronyms that several systems claim. */
const ambiguous: ReadonlyMap<string, readonly string[]> = new Map([
  ["tpo", ["triple-po", "task-po"]],
  ["spo", ["self-supervised-po", "step-aware-po"]],
  ["apo", ["accelerated-po", "the objectives apo-zero and apo-down"]],
]);

/** Second names. */
const aliases: ReadonlyMap<string, string> = new Map([["cofs-dpo", "ofs-dpo"]]);

/** The entry of a method id or second name; undefined where there is none. */
export function findMethod(name: string): MethodEntry | undefined {
  const id = aliases.get(name) ?? name;
  return methods.find((m) => m.id === id);
}

/** The entry of a method id. Throws for an acronym that several systems claim, and for an unknown id. */
export function methodNamed(name: string): MethodEntry {
  const found = findMethod(name);
  if (found) return found;
  const claims = ambiguous.get(name.toLowerCase());
  if (claims)
    throw new RequestError({
      code: "ambiguous-method",
      what: `"${name}" names several methods`,
      fix: `Choose one of: ${claims.join(", ")}`,
    });
  const objective = findObjective(name);
  const known = [...methods, ...objectives()].map((m) => m.id);
  const guess = nearest(name, [...known, ...aliases.keys()]);
  const fix = guess ? `Did you mean ${guess}?` : "See: prefopt methods";
  throw new RequestError({
    code: "unknown-method",
    what: `there is no method "${name}"`,
    fix: objective ? `It is an objective: set objective: ${objective.id} instead of method` : fix,
  });
}
