/**
 * What a record says, whatever its format: prompt and completions under one set of names, as text, conversations or ids, and the
 * numbers that come with it.
 */
import type { Message } from "../text/chat.ts";
import { type Encoder, type Given, needTokenizer, withEnd } from "./encode.ts";
import type { Source } from "./load-records.ts";
import { type DataKind, type DataRecord, formats } from "./record-formats.ts";

/** One question with named answers; `prefix` is a part of the answer that is only given. */
export interface Asked {
  readonly prompt: Given;
  readonly answers: Readonly<Record<string, Given>>;
  readonly prefix?: string;
  /** Functions that the chat template shows. */
  readonly tools?: readonly unknown[];
}

export interface Contents {
  readonly kind: DataKind;
  /** The record's question with its answers by role. Unlearning and joint records have several. */
  readonly asked: readonly Asked[];
  /** Answers of which there may be several: a list's completions, calibration samples. */
  readonly several: Readonly<Record<string, readonly Given[]>>;
  readonly fields: Readonly<Record<string, number>>;
  /** Numbers of completions, by role and name. */
  readonly values: Readonly<Record<string, Readonly<Record<string, readonly number[]>>>>;
  readonly tokenRewards: Readonly<Record<string, readonly (readonly number[])[]>>;
  /** A question to ask for a rationale, where the record has one of its own. */
  readonly rationalePrompt?: Given;
}

/** What a record says. Throws where text needs a tokenizer that is not there. */
export function contentsOf(record: DataRecord, encoder: Encoder, source: Source): Contents {
  const { kind } = formats[record.format];
  const read = readers[record.format](record as never, encoder, source);
  const { tools } = record;
  return {
    kind,
    fields: fieldsOf(record),
    values: valuesOf(record),
    tokenRewards: tokenRewardsOf(record),
    several: {},
    ...read,
    ...(tools && { asked: read.asked.map((asked) => ({ ...asked, tools })) }),
  };
}

type Reader<F extends DataRecord["format"]> = (
  record: Extract<DataRecord, { format: F }>,
  encoder: Encoder,
  source: Source,
) => Pick<Contents, "asked"> & Partial<Contents>;

const withIds = (ids: readonly number[]): Given => ({ ids });
const one = (prompt: Given, answers: Asked["answers"], prefix?: string) => ({
  asked: [{ prompt, answers, prefix }],
});

const readers: { [F in DataRecord["format"]]: Reader<F> } = {
  pair: ({ prompt, chosen, rejected, calibration }) => ({
    ...one(prompt, { chosen, rejected }),
    several: { calibration: calibration === undefined ? [] : severalOf(calibration) },
  }),
  pairIds: (r) => ({
    ...one(withIds(r.promptIds), { chosen: withIds(r.chosenIds), rejected: withIds(r.rejectedIds) }),
    several: { calibration: (r.calibrationIds ?? []).map(withIds) },
  }),
  pairImplicit: ({ chosen, rejected }) => {
    const shared = commonTurns(chosen, rejected);
    return one(chosen.slice(0, shared), { chosen: chosen.slice(shared), rejected: rejected.slice(shared) });
  },
  step: ({ prompt, prefix, chosen, rejected }) => one(prompt, { chosen, rejected }, prefix),
  triple: ({ prompt, gold, chosen, rejected }) => one(prompt, { gold, chosen, rejected }),
  tripleIds: (r) =>
    one(withIds(r.promptIds), {
      gold: withIds(r.goldIds),
      chosen: withIds(r.chosenIds),
      rejected: withIds(r.rejectedIds),
    }),
  rationale: ({ prompt, chosen, rejected, rationale, rationalePrompt }) => ({
    ...one(prompt, { chosen, rejected, rationale }),
    rationalePrompt,
  }),
  list: ({ prompt, completions }) => ({ ...one(prompt, {}), several: { completions } }),
  listIds: (r) => ({
    ...one(withIds(r.promptIds), {}),
    several: { completions: r.completionsIds.map(withIds) },
  }),
  unpaired: ({ prompt, completion }) => one(prompt, { completion }),
  unpairedIds: (r) => one(withIds(r.promptIds), { completion: withIds(r.completionIds) }),
  completion: ({ prompt, completion }) => one(prompt, { completion }),
  completionIds: (r) => one(withIds(r.promptIds), { completion: withIds(r.completionIds) }),
  messages: ({ messages }) => one(messages.slice(0, -1), { completion: messages.slice(-1) }),
  /** The steps follow one another, a line each. */
  stepwise: ({ prompt, completions }) => one(prompt, { steps: completions.join("\n") }),
  prompt: ({ prompt }) => one(prompt, {}),
  promptIds: (r) => one(withIds(r.promptIds), {}),
  /** Learned from its first token on. */
  text: ({ text }, encoder, source) => {
    const tokenizer = needTokenizer(encoder, source);
    const ids = withEnd([...tokenizer.prefixIds, ...tokenizer.encode(text)], encoder.endIds);
    return one(withIds(ids.slice(0, 1)), { completion: withIds(ids.slice(1)) });
  },
  unlearning: ({ forget, retain, idk }) => {
    const asked: Asked[] = [];
    if (forget) {
      const answers: Record<string, Given> = { forget: completionOf(forget) };
      if (idk !== undefined) answers.idk = typeof idk === "string" ? idk : withIds(idk);
      asked.push({ prompt: promptOf(forget), answers });
    }
    if (retain) asked.push({ prompt: promptOf(retain), answers: { retain: completionOf(retain) } });
    return { asked };
  },
  joint: ({ chosen, rejected }) => ({
    asked: Object.entries({ chosen, rejected }).map(([side, joined]) => ({
      prompt: "instruction" in joined ? joined.instruction : withIds(joined.instructionIds),
      answers: { [side]: "response" in joined ? joined.response : withIds(joined.responseIds) },
    })),
  }),
};

type Example =
  | { prompt: string | Message[]; completion: string | Message[] }
  | {
      promptIds: number[];
      completionIds: number[];
    };
const promptOf = (e: Example): Given => ("prompt" in e ? e.prompt : withIds(e.promptIds));
const completionOf = (e: Example): Given => ("completion" in e ? e.completion : withIds(e.completionIds));

/** One calibration answer, or several: a list of messages is one answer, a list of texts or of lists is several. */
function severalOf(given: string | Message[] | (string | Message[])[]): readonly Given[] {
  if (typeof given === "string") return [given];
  const [first] = given;
  const isOneConversation = typeof first === "object" && !Array.isArray(first);
  return isOneConversation ? [given as Message[]] : (given as (string | Message[])[]);
}

/** How many turns two conversations begin with in common; the last of either is never one of them. */
export function commonTurns(a: readonly Message[], b: readonly Message[]): number {
  let n = 0;
  const last = Math.min(a.length, b.length) - 1;
  while (n < last && JSON.stringify(a[n]) === JSON.stringify(b[n])) n++;
  return n;
}

const fieldNames = ["weight", "chosenProb", "margin", "bald", "probability", "pMean", "alpha"] as const;

function fieldsOf(record: DataRecord): Record<string, number> {
  const given = record as Readonly<Record<string, unknown>>;
  const fields: Record<string, number> = {};
  for (const name of fieldNames) if (typeof given[name] === "number") fields[name] = given[name];
  if (typeof given.label === "boolean") fields.label = Number(given.label);
  if (typeof given.explored === "string") fields.explored = Number(given.explored === "chosen");
  return fields;
}

/** Numbers of completions: a pair's are written with the name of the side, a list's are lists. */
function valuesOf(record: DataRecord): Record<string, Record<string, readonly number[]>> {
  const given = record as Readonly<Record<string, unknown>>;
  const values: Record<string, Record<string, readonly number[]>> = {};
  for (const role of ["chosen", "rejected"]) {
    for (const [name, field] of [
      ["reward", `${role}Reward`],
      ["winRate", `${role}WinRate`],
      ["refLogps", role === "chosen" ? "refChosenLogps" : "refRejectedLogps"],
    ] as const) {
      if (typeof given[field] === "number") (values[role] ??= {})[name] = [given[field]];
    }
  }
  for (const [name, field] of [
    ["score", "scores"],
    ["winRate", "winRates"],
  ] as const) {
    if (Array.isArray(given[field])) (values.completions ??= {})[name] = given[field] as number[];
  }
  return values;
}

function tokenRewardsOf(record: DataRecord): Record<string, readonly (readonly number[])[]> {
  const { tokenRewardsChosen: chosen, tokenRewardsRejected: rejected } = record as {
    tokenRewardsChosen?: number[];
    tokenRewardsRejected?: number[];
  };
  return { ...(chosen && { chosen: [chosen] }), ...(rejected && { rejected: [rejected] }) };
}
