/**
 * Amazon Nova preference data (https://docs.aws.amazon.com/nova/latest/userguide/nova-dpo-smtj.html): `system`, `messages` with
 * content of texts, the last one with two `candidates`, labelled preferred and non-preferred.
 */
import type { Row } from "../../formats/rows.ts";
import type { Message } from "../../text/chat.ts";
import { type Fields, isObject } from "./fields.ts";
import { CannotWrite, type DataFormat, type Limit, has } from "./format.ts";
import { atLeast, jsonLinesOnly } from "./limits.ts";
import type { Notes } from "./notes.ts";
import { conversationOf, oneAnswer, plainTurn, withSystem, withoutSystem } from "./turns.ts";

const guide = "https://docs.aws.amazon.com/nova/latest/userguide/nova-dpo-smtj.html";
const preparation =
  "https://docs.aws.amazon.com/nova/latest/userguide/fine-tune-prepare-data-understanding.html";
const jobs = "https://docs.aws.amazon.com/sagemaker/latest/dg/nova-fine-tuning-training-job.html";

export const nova: DataFormat = {
  title: "Amazon Nova preference data",
  source: guide,
  detect(row) {
    const messages = row.peek("messages");
    const last = Array.isArray(messages) ? (messages.at(-1) as unknown) : undefined;
    return isObject(last) && Array.isArray(last.candidates) ? has("messages", "candidates") : undefined;
  },
  names: { prompt: "messages", chosen: "candidates", rejected: "candidates" },
  read(row) {
    row.skip("schemaVersion"); // any text
    const messages = row.objects("messages");
    const last = messages.at(-1);
    if (!last?.has("candidates")) return row.fail("messages", "its last turn has no candidates");
    if (last.text("role") !== "assistant") last.fail("role", "the candidates must be the assistant's");
    const candidates = last.objects("candidates");
    const labelled = new Map(candidates.map((c) => [c.text("preferenceLabel"), textOf(c, "content")]));
    const answer = (label: string): Message[] => {
      const content = labelled.get(label);
      if (content === undefined) return last.fail("candidates", `none of them is labelled ${label}`);
      return [{ role: "assistant", content }];
    };
    if (labelled.size !== 2 || candidates.length !== 2)
      last.fail("candidates", "a pair has two of them, one preferred and one non-preferred");
    const prompt = messages
      .slice(0, -1)
      .map((m) => ({ role: m.text("role"), content: textOf(m, "content") }));
    const system = row.has("system") ? textOf(row, "system") : undefined;
    return [
      { prompt: withSystem(system, prompt), chosen: answer("preferred"), rejected: answer("non-preferred") },
    ];
  },
  writer: {
    kinds: ["pair"],
    open: false,
    write(record, notes) {
      const { prompt, answers } = conversationOf(record, ["chosen", "rejected"], notes);
      const { system, turns } = withoutSystem(prompt);
      const candidate = (name: string, preferenceLabel: string) => ({
        content: [{ text: oneAnswer(answers[name], name, notes) }],
        preferenceLabel,
      });
      return {
        schemaVersion: "bedrock-conversation-2024",
        ...(system !== undefined && { system: [{ text: system }] }),
        messages: [
          ...turns.map((turn) => messageOf(turn, notes)),
          {
            role: "assistant",
            candidates: [candidate("chosen", "preferred"), candidate("rejected", "non-preferred")],
          },
        ],
      };
    },
  },
  limits: [
    jsonLinesOnly(preparation),
    {
      what: "names of files have letters, digits, underscores, hyphens, slashes and dots only",
      source: preparation,
      file: ({ path }) => (/[^\w\-/.\\:]/.test(path) ? "it has others" : undefined),
    },
    atLeast(1000, jobs, true),
    {
      what: "the first turn is the user's, and the last before the candidates too",
      source: preparation,
      row: ends,
    },
    reservedWords(),
  ],
};

/** Texts of a content list, put together. */
function textOf(fields: Fields, name: string): string {
  return fields
    .objects(name)
    .map((part) => part.textOr("text") ?? part.fail("text", "it is missing, and only text can be trained on"))
    .join("");
}

function messageOf(turn: Message, notes: Notes): Row {
  const { role, content } = plainTurn(turn, "prompt", notes);
  if (role !== "user" && role !== "assistant")
    throw new CannotWrite("prompt", `there are no ${role} turns here`);
  return { role, content: [{ text: content }] };
}

interface NovaRow {
  readonly system?: readonly { text: string }[];
  readonly messages: readonly { role: string; content?: readonly { text: string }[] }[];
}

function ends(row: Row): string | undefined {
  const { messages } = row as unknown as NovaRow;
  if (messages[0]?.role !== "user") return `the first turn is of ${messages[0]?.role ?? "nobody"}`;
  const last = messages.at(-2)?.role;
  return last === "user" ? undefined : `the last turn before the candidates is of ${last ?? "nobody"}`;
}

function reservedWords(): Limit {
  const words = ["User:", "Bot:", "Assistant:", "System:", "<image>", "<video>", "[EOS]"];
  return {
    what: `prompts are free of ${words.join(" ")}`,
    source: preparation,
    row(row) {
      const { system = [], messages } = row as unknown as NovaRow;
      const texts = [...system, ...messages.filter((m) => m.role === "user").flatMap((m) => m.content ?? [])];
      const word = words.find((w) => texts.some(({ text }) => text.includes(w)));
      return word && `it has ${word}`;
    },
  };
}
