/** Records in the form that writers of formats take: prompt and answers apart, of a kind that the target holds. */
import type { Row } from "../../formats/rows.ts";
import { commonTurns } from "../contents.ts";
import { type DataKind, type DataRecord, formats } from "../record-formats.ts";
import { CannotWrite, type Writer } from "./format.ts";
import type { Notes } from "./notes.ts";
import { type PairPolicy, pairsOf } from "./pairs.ts";

export interface PortableOptions {
  readonly writer: Writer;
  /** How lists become pairs, where the target holds no lists. */
  readonly pairs?: PairPolicy;
  /** Pairs become two single completions each, one up and one down. */
  readonly unpaired?: boolean;
  readonly line: number;
  readonly seed?: number;
}

/** Kinds that are another kind with more to it: what is more is lost where the target has no place for it. */
const alsoPairs: readonly DataKind[] = ["triple", "rationale"];

/** The records to be written for one that was read. Throws CannotWrite where its kind has no form in the target. */
export function portable(record: DataRecord, notes: Notes, options: PortableOptions): Row[] {
  const { writer, unpaired } = options;
  const { kind } = formats[record.format];
  const holds = (wanted: DataKind) => writer.kinds.includes(wanted);
  if (unpaired && (kind === "pair" || alsoPairs.includes(kind)))
    return singles(record, notes, holds("unpaired"));
  if (
    (record.format === "list" || record.format === "listIds") &&
    (options.pairs !== undefined || !holds("list"))
  )
    return pairsOfList(record, notes, options);
  if (!holds(kind) && !(alsoPairs.includes(kind) && holds("pair")))
    throw new CannotWrite(formats[record.format].required[0] ?? "", `${names[kind]} have no form here`);
  return [writer.implicit ? withoutFormat(record) : apart(record, notes)];
}

const names: Readonly<Record<DataKind, string>> = {
  pair: "pairs",
  plain: "single examples",
  triple: "pairs with a gold answer",
  list: "lists of answers",
  unpaired: "single answers with a verdict",
  unlearning: "records to unlearn",
  joint: "joint pairs",
  rationale: "pairs with a rationale",
  stepwise: "steps with verdicts",
  prompt: "prompts alone",
};

function pairsOfList(
  record: Extract<DataRecord, { format: "list" | "listIds" }>,
  notes: Notes,
  { writer, pairs, line, seed }: PortableOptions,
): Row[] {
  if (!writer.kinds.includes("pair"))
    throw new CannotWrite("completions", "neither lists nor pairs have a form here");
  if (!pairs)
    throw new CannotWrite(
      "completions",
      "lists have no form here; name a policy by which pairs are made of them (--pairs best-worst)",
    );
  const made = pairsOf(record, pairs, line, seed);
  if (made.length === 0) notes.leaveOut("lists whose scores do not differ give no pair");
  else notes.change("lists were written as pairs");
  if (made.some((row) => "chosenIds" in row) && !writer.implicit) throw new CannotWrite("promptIds", noIds);
  return made;
}

/** A pair as two answers, up and down. */
function singles(record: DataRecord, notes: Notes, held: boolean): Row[] {
  if (!held) throw new CannotWrite("chosen", "single answers with a verdict have no form here");
  const { chosen, rejected, ...common } = apart(record, notes);
  notes.change("pairs were written as two single answers, one up and one down");
  return [
    { ...common, completion: chosen, label: true },
    { ...common, completion: rejected, label: false },
  ];
}

const noIds = "token ids have no form here: they belong to one model";

/** Prompt and answers apart. */
function apart(record: DataRecord, notes: Notes): Row {
  const values = withoutFormat(record);
  if ("promptIds" in values) throw new CannotWrite("promptIds", noIds);
  switch (record.format) {
    case "pairImplicit": {
      const n = commonTurns(record.chosen, record.rejected);
      notes.change("the turns that both conversations begin with were written as the prompt");
      return {
        ...values,
        prompt: record.chosen.slice(0, n),
        chosen: record.chosen.slice(n),
        rejected: record.rejected.slice(n),
      };
    }
    case "messages": {
      const { messages, ...more } = values as { messages: readonly unknown[] };
      return { ...more, prompt: messages.slice(0, -1), completion: messages.slice(-1) };
    }
    case "text":
      throw new CannotWrite("text", "text without a prompt has no form here");
    case "step": {
      const { prefix, prompt, ...more } = values as { prefix: string; prompt: unknown };
      if (typeof prompt !== "string")
        throw new CannotWrite("prefix", "the begun answer to a conversation has no form here");
      notes.change("the begun answer was written at the end of the prompt");
      return { ...more, prompt: prompt + prefix };
    }
    default:
      return values;
  }
}

const withoutFormat = (record: DataRecord): Row =>
  Object.fromEntries(
    Object.entries(record).filter(([name, value]) => name !== "format" && value !== undefined),
  );
