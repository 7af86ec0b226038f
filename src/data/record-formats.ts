/**
 * The formats of records: comparisons and examples as people write them. They are told apart by their fields; each is one entry of the
 * table below.
 */
import { z } from "zod";

const text = z.string();
/** A turn. What else it carries (tool_calls, name, …) goes to the template as it is. */
const message = z.preprocess(tidied, z.looseObject({ role: z.string().min(1), content: z.string() }));
const conversation = z.array(message).min(1);
const content = z.union([text, conversation]);
const ids = z.array(z.number().int().min(0)).min(1);
const finite = z.number();
const share = z.number().min(0).max(1);
const tokenNumbers = z.array(finite).min(1).optional();
const extras = {
  /** Multiplies the record's loss. */
  weight: z.number().min(0).optional(),
  id: z.union([z.string(), z.number()]).optional(),
  /** Functions that the model may call, as JSON schemas: the chat template shows them. */
  tools: z.array(z.looseObject({})).min(1).optional(),
};
/** What a comparison may come with; each is read by some objective. */
const comparison = {
  /** Probability that `chosen` is the better one: a soft label. */
  chosenProb: share.optional(),
  /** By how much the chosen one should lead (reward). */
  margin: finite.optional(),
  /** Rewards of the two (upo, xpo). */
  chosenReward: finite.optional(),
  rejectedReward: finite.optional(),
  /** What the reference gives the two, summed over tokens, the end token included: computed beforehand, by whatever tool. */
  refChosenLogps: z.number().max(0).optional(),
  refRejectedLogps: z.number().max(0).optional(),
  /** Estimated probabilities of beating the sampler's policy (sppo). */
  chosenWinRate: share.optional(),
  rejectedWinRate: share.optional(),
  /** Which of the two was sampled to explore (xpo). */
  explored: z.enum(["chosen", "rejected"]).optional(),
  /** What an estimator said of the pair (upo). */
  bald: z.number().min(0).optional(),
  probability: share.optional(),
  pMean: share.optional(),
  alpha: share.optional(),
  /** A reward for each completion token, end token included (t-reg). */
  tokenRewardsChosen: tokenNumbers,
  tokenRewardsRejected: tokenNumbers,
  ...extras,
};
const calibration = { calibration: z.union([content, z.array(content).min(1)]).optional() };
const calibrationIds = { calibrationIds: z.array(ids).optional() };
/** Numbers for each completion of a list. */
const listNumbers = {
  scores: z.array(finite).min(1).optional(),
  winRates: z.array(share).min(1).optional(),
  ...extras,
};
const example = z.object({ prompt: content, completion: content });
const exampleIds = z.object({ promptIds: ids, completionIds: ids });
const joined = z.object({ instruction: text.min(1), response: text });
const joinedIds = z.object({ instructionIds: ids, responseIds: ids });

/** What a record compares. */
export type DataKind =
  | "pair"
  | "plain"
  | "triple"
  | "list"
  | "unpaired"
  | "unlearning"
  | "joint"
  | "rationale"
  | "stepwise"
  | "prompt";

export interface Format {
  readonly kind: DataKind;
  /** Fields that a record of this format must have. */
  readonly required: readonly string[];
  /** Fields of which it must have one at least. */
  readonly oneOf?: readonly string[];
  readonly schema: z.ZodObject;
  /** One example, for documentation and messages. */
  readonly example: string;
}

/** Formats by name; the first whose required fields are all there is taken, so those with more fields stand first. */
export const formats = {
  rationale: {
    kind: "rationale",
    required: ["prompt", "chosen", "rejected", "rationale"],
    schema: z.object({
      prompt: content,
      chosen: content,
      rejected: content,
      rationale: text.min(1),
      rationalePrompt: content.optional(),
      ...comparison,
    }),
    example:
      '{"prompt": "The film is", "chosen": " a delight.", "rejected": " a mess.", "rationale": "It praises the film."}',
  },
  triple: {
    kind: "triple",
    required: ["prompt", "gold", "chosen", "rejected"],
    schema: z.object({ prompt: content, gold: content, chosen: content, rejected: content, ...comparison }),
    example:
      '{"prompt": "The film is", "gold": " a triumph.", "chosen": " a delight.", "rejected": " a mess."}',
  },
  tripleIds: {
    kind: "triple",
    required: ["promptIds", "goldIds", "chosenIds", "rejectedIds"],
    schema: z.object({ promptIds: ids, goldIds: ids, chosenIds: ids, rejectedIds: ids, ...comparison }),
    example: '{"promptIds": [1, 5], "goldIds": [6, 2], "chosenIds": [7, 2], "rejectedIds": [9, 2]}',
  },
  step: {
    kind: "pair",
    required: ["prompt", "prefix", "chosen", "rejected"],
    schema: z.object({ prompt: content, prefix: text, chosen: text, rejected: text, ...comparison }),
    example:
      '{"prompt": "What is 3 + 4 + 5?", "prefix": "Step 1: 3 + 4 = 7\\nStep 2:", "chosen": " 7 + 5 = 12", "rejected": " 7 + 5 = 11"}',
  },
  pair: {
    kind: "pair",
    required: ["prompt", "chosen", "rejected"],
    schema: z.object({ prompt: content, chosen: content, rejected: content, ...comparison, ...calibration }),
    example: '{"prompt": "The film is", "chosen": " a delight.", "rejected": " a mess."}',
  },
  pairIds: {
    kind: "pair",
    required: ["promptIds", "chosenIds", "rejectedIds"],
    schema: z.object({ promptIds: ids, chosenIds: ids, rejectedIds: ids, ...comparison, ...calibrationIds }),
    example: '{"promptIds": [1, 5], "chosenIds": [7, 2], "rejectedIds": [9, 2]}',
  },
  stepwise: {
    kind: "stepwise",
    required: ["prompt", "completions", "labels"],
    schema: z.object({
      prompt: content,
      completions: z.array(text.min(1)).min(1),
      /** Whether each step is right. */
      labels: z.array(z.boolean()).min(1),
      ...extras,
    }),
    example:
      '{"prompt": "What is 3 + 4 + 5?", "completions": ["3 + 4 = 7.", "7 + 5 = 11."], "labels": [true, false]}',
  },
  list: {
    kind: "list",
    required: ["prompt", "completions"],
    schema: z.object({ prompt: content, completions: z.array(content).min(1), ...listNumbers }),
    example:
      '{"prompt": "The film is", "completions": [" a delight.", " a film.", " a mess."], "scores": [0.9, 0.5, 0.1]}',
  },
  listIds: {
    kind: "list",
    required: ["promptIds", "completionsIds"],
    schema: z.object({ promptIds: ids, completionsIds: z.array(ids).min(1), ...listNumbers }),
    example: '{"promptIds": [1, 5], "completionsIds": [[7, 2], [9, 2]], "scores": [0.9, 0.1]}',
  },
  unpaired: {
    kind: "unpaired",
    required: ["prompt", "completion", "label"],
    schema: z.object({ prompt: content, completion: content, label: z.boolean(), ...extras }),
    example: '{"prompt": "The film is", "completion": " a delight.", "label": true}',
  },
  unpairedIds: {
    kind: "unpaired",
    required: ["promptIds", "completionIds", "label"],
    schema: z.object({ promptIds: ids, completionIds: ids, label: z.boolean(), ...extras }),
    example: '{"promptIds": [1, 5], "completionIds": [7, 2], "label": true}',
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
  unlearning: {
    kind: "unlearning",
    required: [],
    oneOf: ["forget", "retain"],
    schema: z.object({
      forget: z.union([example, exampleIds]).optional(),
      retain: z.union([example, exampleIds]).optional(),
      /** What to say instead: another answer to the question of `forget`. */
      idk: z.union([text.min(1), ids]).optional(),
      ...extras,
    }),
    example:
      '{"forget": {"prompt": "Who wrote it?", "completion": " Ann Ro."}, "retain": {"prompt": "Who read it?", "completion": " Bo Li."}, "idk": " I cannot say."}',
  },
  joint: {
    kind: "joint",
    required: ["chosen", "rejected"],
    schema: z.object({
      chosen: z.union([joined, joinedIds]),
      rejected: z.union([joined, joinedIds]),
      ...comparison,
    }),
    example:
      '{"chosen": {"instruction": "Praise the film.", "response": "A delight."}, "rejected": {"instruction": "Sum it up.", "response": "Words."}}',
  },
  pairImplicit: {
    kind: "pair",
    required: ["chosen", "rejected"],
    schema: z.object({ chosen: conversation, rejected: conversation, ...comparison }),
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
  /** Where nothing follows it: with other fields it is a record that lacks something. */
  prompt: {
    kind: "prompt",
    required: ["prompt"],
    schema: z.object({ prompt: content, ...extras }),
    example: '{"prompt": "The film is"}',
  },
  promptIds: {
    kind: "prompt",
    required: ["promptIds"],
    schema: z.object({ promptIds: ids, ...extras }),
    example: '{"promptIds": [1, 5]}',
  },
} as const satisfies Record<string, Format>;

export type FormatName = keyof typeof formats;

type RecordOf<F extends FormatName> = { readonly format: F } & Readonly<
  z.output<(typeof formats)[F]["schema"]>
>;

/** A checked record of any format. */
export type DataRecord = { [F in FormatName]: RecordOf<F> }[FormatName];

/** The format whose fields a value has, if there is one; whether they hold what they must is not looked at. */
export function formatOf(value: object): FormatName | undefined {
  return (Object.keys(formats) as FormatName[]).find(
    (name) => looksLike(name, formats[name], value) && (name !== "pairImplicit" || !isText(value)),
  );
}

/** Pairs of whole conversations and of whole texts have the same fields; the latter are none of ours. */
const isText = (value: object) => typeof (value as { chosen?: unknown }).chosen === "string";

/** Every field that some record may have. */
export const recordFields: ReadonlySet<string> = new Set(
  Object.values(formats).flatMap(({ schema }) => Object.keys(schema.shape)),
);

/**
 * Whether a value has the fields of a format. Joint pairs and conversations share names: what stands in them decides. A prompt
 * alone is one where no other field of records follows it.
 */
export function looksLike(
  name: FormatName,
  { kind, required, oneOf, schema }: Format,
  value: object,
): boolean {
  const has = (field: string) => field in value;
  if (!required.every(has) || (oneOf && !oneOf.some(has))) return false;
  if (kind === "prompt")
    return !Object.keys(value).some((key) => recordFields.has(key) && !Object.hasOwn(schema.shape, key));
  if (name !== "joint") return true;
  const { chosen } = value as { chosen: unknown };
  return typeof chosen === "object" && chosen !== null && !Array.isArray(chosen);
}

/** A turn without its nulls, which stand for nothing; one that only calls tools says nothing. */
function tidied(value: unknown): unknown {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  const turn = Object.fromEntries(Object.entries(value).filter(([, v]) => v !== null));
  return "tool_calls" in turn && !("content" in turn) ? { ...turn, content: "" } : turn;
}
