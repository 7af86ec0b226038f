/** Rows of `input`, `preferred_output` and `non_preferred_output`, which several hosted services take: what they share. */
import type { Row } from "../../formats/rows.ts";
import type { Message } from "../../text/chat.ts";
import type { DataFormat, Limit } from "./format.ts";
import { type Fields, isObject } from "./fields.ts";
import { toolsOf } from "./tools.ts";
import { conversationOf, plainTurn } from "./turns.ts";

export interface PreferredOutputOptions {
  readonly title: string;
  readonly source: string;
  readonly detect: (row: Fields) => string | undefined;
  /** Fields of a turn beside role and content. */
  readonly turnFields: readonly string[];
  /** Whether tools may be described. */
  readonly tools: boolean;
  readonly limits: readonly Limit[];
}

export function preferredOutput(options: PreferredOutputOptions): DataFormat {
  const { title, source, detect, turnFields, limits } = options;
  return {
    title,
    source,
    detect,
    names: { prompt: "input.messages", chosen: "preferred_output", rejected: "non_preferred_output" },
    read(row) {
      const input = row.object("input");
      const tools = toolsOf(input);
      if (input.peek("parallel_tool_calls") !== false) input.skip("parallel_tool_calls"); // true says nothing
      return [
        {
          prompt: input.turns("messages"),
          chosen: row.turns("preferred_output"),
          rejected: row.turns("non_preferred_output"),
          ...(tools && { tools }),
        },
      ];
    },
    writer: {
      kinds: ["pair"],
      open: false,
      write(record, notes) {
        const { prompt, answers } = conversationOf(record, ["chosen", "rejected"], notes);
        const tools = options.tools ? record.any("tools") : undefined;
        const turns = (list: readonly Message[], where: string) =>
          list.map((turn) => plainTurn(turn, where, notes, turnFields));
        return {
          input: {
            messages: turns(prompt, "prompt"),
            ...(tools !== undefined && { tools, parallel_tool_calls: true }),
          },
          preferred_output: turns(answers.chosen, "chosen"),
          non_preferred_output: turns(answers.rejected, "rejected"),
        };
      },
    },
    limits,
  };
}

/** Each answer is one turn of the assistant. */
export const oneTurnAnswers = (source: string): Limit => ({
  what: "each output is one turn of the assistant",
  source,
  row(row) {
    for (const name of ["preferred_output", "non_preferred_output"]) {
      const turns = turnsIn(row, name);
      if (turns.length !== 1) return `${name} has ${turns.length} turns`;
      if (turns[0].role !== "assistant") return `${name} is a turn of ${turns[0].role}`;
    }
    return undefined;
  },
});

/** Only these roles in the input. */
export const inputRoles = (source: string, roles: readonly string[]): Limit => ({
  what: `roles of input.messages are ${roles.join(", ")}`,
  source,
  row(row) {
    const bad = turnsIn(row.input as Row, "messages").find((turn) => !roles.includes(turn.role));
    return bad && `it has a turn of ${bad.role}`;
  },
});

function turnsIn(row: Row, name: string): Message[] {
  const list = row[name];
  return Array.isArray(list) ? (list.filter(isObject) as unknown as Message[]) : [];
}
