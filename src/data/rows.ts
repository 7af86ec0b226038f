/**
 * The one row builder: a record becomes token ids, split by position into what is given and what is scored. Training,
 * scoring, evaluation and generation all use it, so a model is asked exactly as it was trained.
 *
 * Text: the prompt is encoded as generation encodes it (begin token included, where the tokenizer adds one). The completion
 * is what follows it in the encoding of both together; where a token would span the seam, the completion is encoded by itself
 * instead, since generation could never have produced the merged token. Every completion ends in exactly one end token.
 * Raw ids are taken as they are.
 */
import { RequestError } from "../errors.ts";
import { type Message, chatTokens, renderChat } from "../text/chat.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import { type Source, showSource } from "./load-records.ts";
import type { DataRecord, RecordKind } from "./records.ts";

export interface RowLimits {
  /** Most tokens of prompt and one completion together. */
  readonly maxLength: number;
  /** What to do with a longer row: refuse it, or keep the end or the start of the prompt. */
  readonly truncation: "error" | "keep-end" | "keep-start";
}

export interface RowBuilder {
  readonly tokenizer?: Tokenizer;
  readonly vocabularySize: number;
  /** Ids that end a completion; the first is the one that is added. */
  readonly endIds: readonly number[];
  readonly limits: RowLimits;
}

export interface TokenRow {
  readonly kind: RecordKind;
  readonly prompt: readonly number[];
  /** In the order of the kind's roles: chosen and rejected, or the one completion. */
  readonly completions: readonly (readonly number[])[];
  /** Optional numbers of the record: weight, chosenProb. */
  readonly fields: Readonly<Record<string, number>>;
  /** Tokens that truncation removed. */
  readonly truncated: number;
  /** What the template could not do exactly. */
  readonly warning?: string;
  readonly source: Source;
}

/** Builds the row of a record. Throws a RequestError that names file, line and remedy where the record does not fit. */
export function buildRow(record: DataRecord, source: Source, builder: RowBuilder): TokenRow {
  const ids = tokensOf(record, builder, source);
  for (const list of [ids.prompt, ...ids.completions]) checkIds(list, builder.vocabularySize, source);
  if (ids.prompt.length === 0) {
    throw fail(
      source,
      "the prompt has no tokens",
      "there is nothing to predict the first token of the completion from",
      "Give a prompt, or use a tokenizer with a begin token",
    );
  }
  const { weight, chosenProb } = record as { weight?: number; chosenProb?: number };
  const fields = Object.fromEntries(
    Object.entries({ weight, chosenProb }).flatMap(([k, v]) => (v === undefined ? [] : [[k, v]])),
  );
  const { kind, warning } = ids;
  return { kind, fields, warning, source, ...truncate(ids.prompt, ids.completions, builder.limits, source) };
}

/** The ids of a prompt alone, as generation reads it: text, a conversation, or ids. */
export function promptIds(prompt: string | readonly Message[], tokenizer: Tokenizer): number[] {
  if (typeof prompt !== "string")
    return tokenizer.encode(renderChat(tokenizer, prompt, { addGenerationPrompt: true }));
  return [...tokenizer.prefixIds, ...tokenizer.encode(prompt)];
}

interface Tokens {
  kind: RecordKind;
  prompt: readonly number[];
  completions: readonly (readonly number[])[];
  warning?: string;
}

function tokensOf(record: DataRecord, builder: RowBuilder, source: Source): Tokens {
  switch (record.format) {
    case "pairIds":
      return { kind: "pair", prompt: record.promptIds, completions: [record.chosenIds, record.rejectedIds] };
    case "tripleIds":
      return {
        kind: "triple",
        prompt: record.promptIds,
        completions: [record.goldIds, record.chosenIds, record.rejectedIds],
      };
    case "completionIds":
      return { kind: "plain", prompt: record.promptIds, completions: [record.completionIds] };
    default:
      return textTokens(record, needTokenizer(builder, source), builder.endIds);
  }
}

type TextRecord = Exclude<DataRecord, { format: "pairIds" | "tripleIds" | "completionIds" }>;
type Given = string | readonly Message[];

function textTokens(record: TextRecord, tokenizer: Tokenizer, endIds: readonly number[]): Tokens {
  const several = (kind: RecordKind, prompt: Given, answers: readonly Given[]): Tokens => {
    const parts = answers.map((answer) => promptAndCompletion(prompt, answer, tokenizer, endIds));
    // A template may shorten the prompt for one answer and not for another: all share the shortest.
    const prefix = Math.min(...parts.map((p) => p.promptIds.length));
    return {
      kind,
      prompt: parts[0].promptIds.slice(0, prefix),
      completions: parts.map((p) => [...p.promptIds.slice(prefix), ...p.completionIds]),
      warning: parts.find((p) => p.warning)?.warning,
    };
  };
  switch (record.format) {
    case "pair":
      return several("pair", record.prompt, [record.chosen, record.rejected]);
    case "triple":
      return several("triple", record.prompt, [record.gold, record.chosen, record.rejected]);
    case "completion":
      return several("plain", record.prompt, [record.completion]);
    case "pairImplicit": {
      const shared = commonTurns(record.chosen, record.rejected);
      return several("pair", record.chosen.slice(0, shared), [
        record.chosen.slice(shared),
        record.rejected.slice(shared),
      ]);
    }
    case "messages":
      return several("plain", record.messages.slice(0, -1), [record.messages.slice(-1)]);
    case "text": {
      const ids = withEnd([...tokenizer.prefixIds, ...tokenizer.encode(record.text)], endIds);
      return { kind: "plain", prompt: ids.slice(0, 1), completions: [ids.slice(1)] };
    }
  }
}

function promptAndCompletion(prompt: Given, answer: Given, tokenizer: Tokenizer, endIds: readonly number[]) {
  if (typeof prompt === "string" && typeof answer === "string") {
    const alone = tokenizer.encode(prompt);
    const together = tokenizer.encode(prompt + answer);
    const fits = alone.every((id, i) => together[i] === id);
    const completion = fits ? together.slice(alone.length) : tokenizer.encode(answer);
    return {
      promptIds: [...tokenizer.prefixIds, ...alone],
      completionIds: withEnd(completion, endIds),
      warning: undefined,
    };
  }
  const asMessages = (given: Given, role: string) =>
    typeof given === "string" ? [{ role, content: given }] : given;
  const { completionIds, ...rest } = chatTokens(
    tokenizer,
    asMessages(prompt, "user"),
    asMessages(answer, "assistant"),
    endIds,
  );
  return { ...rest, completionIds: withEnd(completionIds, endIds), warning: rest.warning };
}

/** Exactly one end token at the end. */
function withEnd(ids: number[], endIds: readonly number[]): number[] {
  if (endIds.length === 0 || endIds.includes(ids.at(-1) ?? -1)) return ids;
  return [...ids, endIds[0]];
}

function commonTurns(a: readonly Message[], b: readonly Message[]): number {
  let n = 0;
  const last = Math.min(a.length, b.length) - 1;
  while (n < last && a[n].role === b[n].role && a[n].content === b[n].content) n++;
  return n;
}

function needTokenizer({ tokenizer }: RowBuilder, source: Source): Tokenizer {
  if (tokenizer) return tokenizer;
  throw fail(
    source,
    "the record is text and the model has no tokenizer",
    undefined,
    "Add tokenizer.json to the model's folder, or give token ids",
  );
}

function checkIds(ids: readonly number[], vocabularySize: number, source: Source): void {
  const bad = ids.find((id) => id >= vocabularySize);
  if (bad === undefined) return;
  throw fail(
    source,
    `token id ${bad} does not exist`,
    `the model's vocabulary has ${vocabularySize} tokens`,
    "Use the tokenizer that belongs to the model",
  );
}

function truncate(
  prompt: readonly number[],
  completions: readonly (readonly number[])[],
  { maxLength, truncation }: RowLimits,
  source: Source,
) {
  const longest = Math.max(...completions.map((c) => c.length));
  if (prompt.length + longest <= maxLength) return { prompt, completions, truncated: 0 };
  if (truncation === "error") {
    throw fail(
      source,
      `the row has ${prompt.length + longest} tokens`,
      `at most ${maxLength} fit (data.maxLength, or the model's context)`,
      "Set data.truncation to keep-end or keep-start, raise data.maxLength, or shorten the record",
    );
  }
  // The prompt gives way first, down to the one token that the completion is predicted from; then the completions' ends.
  const room = Math.max(1, maxLength - longest);
  const kept = truncation === "keep-end" ? prompt.slice(-room) : prompt.slice(0, room);
  const shortened = completions.map((c) => c.slice(0, maxLength - kept.length));
  if (shortened.some((c) => c.length === 0)) {
    throw fail(
      source,
      "a completion is empty after truncation",
      `data.maxLength is ${maxLength}`,
      "Raise data.maxLength",
    );
  }
  const removed =
    prompt.length - kept.length + completions.reduce((n, c, i) => n + c.length - shortened[i].length, 0);
  return { prompt: kept, completions: shortened, truncated: removed };
}

function fail(source: Source, what: string, why: string | undefined, fix: string): RequestError {
  return new RequestError({ code: "row-invalid", what, where: showSource(source), why, fix });
}
