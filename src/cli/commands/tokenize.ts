/** `prefopt tokenize`: token ids, where in the text each token is, and what they read back as, one JSON object a line. */
import { z } from "zod";
import { RequestError, nearest } from "../../errors.ts";
import { type Message, renderChat } from "../../text/chat.ts";
import { type Tokenizer, loadTokenizer } from "../../text/tokenizer.ts";
import type { CommandModule } from "../command.ts";
import { inputLines } from "../input.ts";
import { modelPath, warnOf } from "../model.ts";
import { print } from "../output.ts";

/** A line is one of these two; messages may have whatever else their template reads (tool_calls, name, …). */
const inputs = {
  text: z.strictObject({ text: z.string(), addSpecialTokens: z.boolean().default(false) }),
  messages: z.strictObject({
    messages: z.array(z.looseObject({ role: z.string() })).min(1),
    tools: z.array(z.unknown()).optional(),
    documents: z.array(z.unknown()).optional(),
    variables: z.record(z.string(), z.unknown()).optional(),
    addGenerationPrompt: z.boolean().default(false),
  }),
};
type Input = { [K in keyof typeof inputs]: z.output<(typeof inputs)[K]> }[keyof typeof inputs];

export const command: CommandModule = {
  name: "tokenize",
  summary:
    "Token ids of texts and conversations: one JSON object a line in (text, or messages), one out, in order.",
  example: `echo '{"text": "The film is"}' | prefopt tokenize assets/reviews`,
  configure(command) {
    command
      .argument("<model>", "model folder or GGUF file; its tokenizer is all that is needed")
      .option("--json", "the output is JSON in any case")
      .action(async (path: string) => {
        const tokenizer = await loadTokenizer(await modelPath(path, "tokenizer"));
        warnOf(tokenizer);
        for await (const { line, value } of inputLines()) {
          const where = `standard input:${line}`;
          await print(`${JSON.stringify(tokenized(tokenizer, parse(value, where), where))}\n`);
        }
      });
  },
};

function tokenized(tokenizer: Tokenizer, input: Input, where: string): object {
  const isText = "text" in input;
  const text = isText ? input.text : rendered(tokenizer, input, where);
  const { ids, offsets } = tokenizer.encodeWithOffsets(text, isText ? input : {});
  return { ids, offsets, decoded: tokenizer.decode(ids), ...(!isText && { text }) };
}

function rendered(tokenizer: Tokenizer, input: z.output<typeof inputs.messages>, where: string): string {
  try {
    return renderChat(tokenizer, input.messages as unknown as Message[], input);
  } catch (error) {
    if (!(error instanceof RequestError)) throw error;
    throw new RequestError({ ...error.report, where }, { cause: error });
  }
}

function parse(value: unknown, where: string): Input {
  const fail = (why: string, fix: string) =>
    new RequestError({ code: "input-invalid", what: "cannot be tokenized", where, why, fix });
  const keys = typeof value === "object" && value !== null ? Object.keys(value) : [];
  const kind = (["text", "messages"] as const).filter((key) => keys.includes(key));
  if (kind.length !== 1) {
    const why = kind.length === 0 ? "it has neither text nor messages" : "it has both text and messages";
    throw fail(why, 'Write for example {"text": "The film is"}');
  }
  const result = inputs[kind[0]].safeParse(value);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  if (issue.code === "unrecognized_keys") {
    const known = Object.keys(inputs[kind[0]].shape);
    const guess = nearest(issue.keys[0], known);
    throw fail(
      `it has an unknown key "${issue.keys[0]}"`,
      guess ? `Did you mean ${guess}?` : `Known are ${known.join(", ")}`,
    );
  }
  throw fail(`"${issue.path.map(String).join(".")}": ${issue.message}`, "Correct the line");
}
