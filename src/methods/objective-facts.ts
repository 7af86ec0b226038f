/**
 * What an objective needs, found by looking: it is built with its defaults and with every value of its options that have few,
 * and what it touches is noted. So documentation and `prefopt methods` cannot say anything else than the code does.
 */
import { type DataKind, formats } from "../data/record-formats.ts";
import type { Objective, ObjectiveFamily } from "../objectives/definition.ts";
import { leastOptions, optionFacts } from "../objectives/option-facts.ts";
import { touchedBy } from "../objectives/touched.ts";
import { dataKindsOf, fieldsNeeded, rowKindFor } from "../training/requirements.ts";

export interface ObjectiveFacts {
  readonly id: string;
  readonly aliases: readonly string[];
  /** The kind of records it sees, as `prefopt loss` takes them: "pair; list with `variant: allK`". */
  readonly records: string;
  /** Every kind of record that a run with its defaults takes, the plainest way first. */
  readonly accepts: readonly DataKind[];
  /** The same in words, with what options make of it: "pair, triple, rationale; list, pair with `variant: allK`". */
  readonly files: string;
  /** Fields that its records must have beside their completions, "none" where there are none. */
  readonly fields: string;
  /** Optional fields that it reads. */
  readonly reads: readonly string[];
  /** "no", "yes", "yes; no with `lossType: hinge`, `slic`". */
  readonly reference: string;
  /** What is trained beside the policy. */
  readonly trains: readonly string[];
  /** Records that a batch needs at least. */
  readonly leastRecords: number;
}

/** A setting of an objective, and what it then is. */
interface Look {
  /** The option that is not at its default; undefined for the defaults. */
  readonly option?: string;
  readonly value?: unknown;
  readonly objective: Objective;
}

/** What an objective needs. */
export function factsOfObjective(family: ObjectiveFamily): ObjectiveFacts {
  const looks = looksAt(family);
  const [{ objective }] = looks;
  const touched = touchedOf(objective);
  const fieldsOf = (o: Objective) => fieldsNeeded(touchedOf(o));
  const { head, slow } = objective.companions;
  return {
    id: family.id,
    aliases: family.aliases,
    records: varying(looks, (o) => o.record),
    accepts: acceptedBy(objective, fieldsOf(objective)),
    files: varying(looks, (o) => acceptedBy(o, fieldsOf(o)).join(", ")),
    fields: varying(looks, (o) => fieldsOf(o).map(code).join(", ") || "none"),
    reads: [...touched.fields].sort(),
    reference: varying(looks, (o) => (touchedOf(o).reference ? "yes" : "no")),
    trains: [head && `a linear head (${head.name})`, slow && "a second policy"].filter(
      (t) => t !== undefined,
    ),
    leastRecords: objective.leastRecords,
  };
}

const touchedOf = (objective: Objective) => touchedBy([{ objective, weight: 1 }], objective.record);
const code = (text: string) => `\`${text}\``;

/** Kinds of records that can have these fields, or from which rows with them are made. */
function acceptedBy(objective: Objective, fields: readonly string[]): DataKind[] {
  const terms = [{ objective, weight: 1 }];
  const own = Object.values(formats);
  return dataKindsOf(terms).filter(
    (kind) =>
      rowKindFor(terms, kind) === objective.record ||
      own.some((format) => format.kind === kind && fields.every((field) => field in format.schema.shape)),
  );
}

/** The objective with its defaults, and with every other value of each option that has few. Settings that it refuses are left out. */
function looksAt(family: ObjectiveFamily): Look[] {
  const [least, ...others] = leastOptions(family);
  const alone = Object.keys(least)[0];
  const looks: Look[] = [{ objective: family.with(least) }];
  for (const other of others)
    looks.push({ option: alone, value: other[alone], objective: family.with(other) });
  for (const { name, values = [] } of optionFacts(family)) {
    if (name === alone) continue;
    for (const value of values) {
      const objective = accepted(family, { ...least, [name]: value });
      if (objective && value !== looks[0].objective.options[name])
        looks.push({ option: name, value, objective });
    }
  }
  return looks;
}

function accepted(
  family: ObjectiveFamily,
  options: Readonly<Record<string, unknown>>,
): Objective | undefined {
  try {
    return family.with(options);
  } catch {
    return undefined; // two options that exclude each other
  }
}

/** A fact with the defaults, and where it is another: "yes; no with `a: x`, `y` or `b: true`". */
function varying(looks: readonly Look[], fact: (objective: Objective) => string): string {
  const [first, ...rest] = looks;
  const usual = fact(first.objective);
  const byFact = new Map<string, Map<string, string[]>>();
  for (const { option = "", value, objective } of rest) {
    const own = fact(objective);
    if (own === usual) continue;
    const options = byFact.get(own) ?? new Map<string, string[]>();
    byFact.set(own, options.set(option, [...(options.get(option) ?? []), String(value)]));
  }
  const exceptions = [...byFact].map(([own, options]) => {
    const settings = [...options].map(([option, [value, ...more]]) =>
      [code(`${option}: ${value}`), ...more.map(code)].join(", "),
    );
    return `${own} with ${settings.join(" or ")}`;
  });
  return [usual, ...exceptions].join("; ");
}
