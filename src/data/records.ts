/**
 * Records: comparisons and examples as people write them, checked. Formats are told apart by their fields; each is one
 * entry of the table below. What a record lacks is said by field name, with the formats that would fit.
 */
import { z } from "zod";

const text = z.string();
const message = z.object({ role: z.string().min(1), content: z.string() });
const conversation = z.array(message).min(1);
const content = z.union([text, conversation]);
const ids = z.array(z.number().int().min(0)).min(1);
const extras = {
  /** Multiplies the record's loss. */
  weight: z.number().finite().min(0).optional(),
  id: z.union([z.string(), z.number()]).optional(),
};
const label = {
  /** Probability that `chosen` is the better one: a soft label. */
  chosenProb: z.number().min(0).max(1).optional(),
};

/** The completions of a record, in the order of their roles, and what it is for. */
export type RecordKind = "pair" | "plain" | "triple";

export interface Format {
  readonly kind: RecordKind;
  /** Fields that a record of this format must have. */
  readonly required: readonly string[];
  readonly schema: z.ZodObject;
  /** One example, for documentation and messages. */
  readonly example: string;
}

/** Formats by name; the first whose required fields are all there is taken, so those with more fields stand first. */
export const formats = {
  triple: {
    kind: "triple",
    required: ["prompt", "gold", "chosen", "rejected"],
    schema: z.object({
      prompt: content,
      gold: content,
      chosen: content,
      rejected: content,
      ...label,
      ...extras,
    }),
    example:
      '{"prompt": "The film is", "gold": " a triumph.", "chosen": " a delight.", "rejected": " a mess."}',
  },
  tripleIds: {
    kind: "triple",
    required: ["promptIds", "goldIds", "chosenIds", "rejectedIds"],
    schema: z.object({ promptIds: ids, goldIds: ids, chosenIds: ids, rejectedIds: ids, ...label, ...extras }),
    example: '{"promptIds": [1, 5], "goldIds": [6, 2], "chosenIds": [7, 2], "rejectedIds": [9, 2]}',
  },
  pair: {
    kind: "pair",
    required: ["prompt", "chosen", "rejected"],
    schema: z.object({ prompt: content, chosen: content, rejected: content, ...label, ...extras }),
    example: '{"prompt": "The film is", "chosen": " a delight.", "rejected": " a mess."}',
  },
  pairIds: {
    kind: "pair",
    required: ["promptIds", "chosenIds", "rejectedIds"],
    schema: z.object({ promptIds: ids, chosenIds: ids, rejectedIds: ids, ...label, ...extras }),
    example: '{"promptIds": [1, 5], "chosenIds": [7, 2], "rejectedIds": [9, 2]}',
  },
  completionIds: {
    kind: "plain",
    required: ["promptIds", "completionIds"],
    schema: z.object({ promptIds: ids, completionIds: ids, ...extras }),
    example: '{"promptIds": [1, 5], "completionIds": [7, 2]}',
  },
  completion: {
    kind: "plain",
    required: ["prompt", "completion"],
    schema: z.object({ prompt: content, completion: content, ...extras }),
    example: '{"prompt": "The film is", "completion": " a delight."}',
  },
  pairImplicit: {
    kind: "pair",
    required: ["chosen", "rejected"],
    schema: z.object({ chosen: conversation, rejected: conversation, ...label, ...extras }),
    example:
      '{"chosen": [{"role": "user", …}, {"role": "assistant", …}], "rejected": [the same first turns, another answer]}',
  },
  messages: {
    kind: "plain",
    required: ["messages"],
    schema: z.object({ messages: conversation.min(2), ...extras }),
    example: '{"messages": [{"role": "user", …}, {"role": "assistant", …}]}',
  },
  text: {
    kind: "plain",
    required: ["text"],
    schema: z.object({ text: text.min(1), ...extras }),
    example: '{"text": "A sentence to learn from."}',
  },
} as const satisfies Record<string, Format>;

export type FormatName = keyof typeof formats;

type RecordOf<F extends FormatName> = { readonly format: F } & Readonly<
  z.output<(typeof formats)[F]["schema"]>
>;

/** A checked record of any format. */
export type DataRecord = { [F in FormatName]: RecordOf<F> }[FormatName];

/** Why a value is not a usable record. */
export interface Problem {
  readonly field: string;
  readonly why: string;
  readonly fix?: string;
}

export type Parsed = { readonly record: DataRecord } | { readonly problem: Problem };

/** Checks one value. `kind` narrows what it should be, for better messages; `comparing` also refuses equal completions. */
export function parseRecord(value: unknown, kind?: RecordKind, comparing = true): Parsed {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return {
      problem: {
        field: "",
        why: "it is not a JSON object",
        fix: `Write for example ${formats[kind === "plain" ? "completion" : "pair"].example}`,
      },
    };
  }
  const given = new Set(Object.keys(value));
  const candidates = (Object.entries(formats) as [FormatName, Format][]).filter(
    ([, f]) => kind === undefined || f.kind === kind,
  );
  const found = candidates.find(([, f]) => f.required.every((field) => given.has(field)));
  if (!found) return { problem: missingField(given, candidates) };
  const [format, { schema }] = found;
  const result = schema.safeParse(value);
  if (!result.success) return { problem: invalidField(result.error.issues[0]) };
  // The schema of the format has just accepted it.
  const record = { format, ...result.data } as unknown as DataRecord;
  const problem = emptyCompletion(record) ?? (comparing ? nothingPreferred(record) : undefined);
  return problem ? { problem } : { record };
}

/** The format that lacks the fewest fields, of equals the one of which most are there; and the first field that it lacks. */
function missingField(given: ReadonlySet<string>, candidates: readonly [FormatName, Format][]): Problem {
  const lacks = (f: Format) => f.required.filter((field) => !given.has(field)).length;
  const [[, nearest]] = [...candidates].sort(
    ([, f], [, g]) => lacks(f) - lacks(g) || g.required.length - lacks(g) - (f.required.length - lacks(f)),
  );
  const field = nearest.required.find((name) => !given.has(name)) ?? nearest.required[0];
  const others = Object.values(formats).filter((f: Format) => f.required.every((name) => given.has(name)));
  const also =
    others.length > 0
      ? `; as it is, it would do as a record of ${others.map((f) => f.required.join(" and ")).join(" or ")}`
      : "";
  return { field, why: `it is missing${also}`, fix: `Write for example ${nearest.example}` };
}

function invalidField(issue: z.core.$ZodIssue): Problem {
  const union =
    issue.code === "invalid_union"
      ? "it must be text or a list of messages with role and content"
      : issue.message;
  return { field: issue.path.join("."), why: union };
}

function emptyCompletion(record: DataRecord): Problem | undefined {
  for (const field of ["completion", "gold", "chosen", "rejected"] as const) {
    const value = (record as Record<string, unknown>)[field];
    const empty =
      typeof value === "string" ? value === "" : Array.isArray(value) && isEmptyAnswer(value.at(-1));
    if (empty) return { field, why: "it is empty", fix: "Give a completion, or remove the record" };
  }
  return undefined;
}

function nothingPreferred(record: DataRecord): Problem | undefined {
  const [a, b] =
    "chosenIds" in record
      ? [record.chosenIds, record.rejectedIds]
      : "chosen" in record
        ? [record.chosen, record.rejected]
        : [];
  if (a !== undefined && JSON.stringify(a) === JSON.stringify(b)) {
    const field = "chosenIds" in record ? "rejectedIds" : "rejected";
    return {
      field,
      why: "it equals the chosen one, so nothing is preferred",
      fix: "Remove the record, or set data.invalid to skip",
    };
  }
  return undefined;
}

function isEmptyAnswer(last: unknown): boolean {
  return typeof last === "object" && last !== null && (last as { content?: unknown }).content === "";
}
