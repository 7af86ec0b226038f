/** `prefopt chat`: talks. Models with a chat template converse, others continue the text. */
import { createInterface } from "node:readline/promises";
import { promptIds } from "../../data/rows.ts";
import { RequestError } from "../../errors.ts";
import { generate } from "../../generation/generate.ts";
import type { Message } from "../../text/chat.ts";
import { streamingDecoder } from "../../text/streaming.ts";
import type { CommandModule } from "../command.ts";
import { integer, number } from "../input.ts";
import { type ModelOptions, modelOptions, openModel, rowBuilder } from "../model.ts";
import { styled } from "../output.ts";

interface Options extends ModelOptions {
  temperature: number;
  topP: number;
  maxTokens: number;
  seed: number;
  system?: string;
  plain?: boolean;
}

export const command: CommandModule = {
  name: "chat",
  summary: "Talk to a model. An empty line or Ctrl-D ends the talk; Ctrl-C ends an answer.",
  example: "prefopt chat assets/reviews --plain",
  configure(command) {
    modelOptions(command)
      .argument("<model>", "model folder or GGUF file")
      .option("--temperature <t>", "0 is greedy", number("temperature"), 0.7)
      .option("--topP <p>", "keep the likeliest tokens up to this mass", number("topP"), 0.95)
      .option("--maxTokens <n>", "most tokens of an answer", integer("maxTokens", 1), 256)
      .option("--seed <n>", "seed of the random numbers", integer("seed"), 1)
      .option("--system <text>", "system message")
      .option("--plain", "continue the text instead of conversing")
      .action(async (path: string, options: Options) => {
        const opened = await openModel(path, options);
        const { tokenizer, model } = opened;
        if (!tokenizer)
          throw new RequestError({
            code: "no-tokenizer",
            what: "the model has no tokenizer",
            where: path,
            fix: "Add tokenizer.json to its folder",
          });
        const { endIds } = rowBuilder(opened);
        const converses = tokenizer.chatTemplate !== undefined && !options.plain;
        const messages: Message[] =
          options.system === undefined ? [] : [{ role: "system", content: options.system }];
        const terminal = createInterface({ input: process.stdin, output: process.stdout });
        let abort = new AbortController();
        terminal.on("SIGINT", () => (abort.signal.aborted ? terminal.close() : abort.abort()));
        let turn = 0;
        terminal.setPrompt(styled("bold", "> "));
        terminal.prompt();
        for await (const line of terminal) {
          if (line.trim() === "") break;
          messages.push({ role: "user", content: line });
          const ids = promptIds(converses ? messages : line, tokenizer);
          const decode = streamingDecoder(tokenizer);
          let answer = "";
          abort = new AbortController();
          await generate(model, [ids], {
            ...options,
            seed: options.seed + turn++,
            endIds,
            signal: abort.signal,
            onToken: (_p, _s, id) => {
              const text = decode(id);
              answer += text;
              process.stdout.write(text);
            },
          }).catch((error: unknown) => {
            if (!abort.signal.aborted) throw error;
          });
          process.stdout.write("\n");
          messages.push({ role: "assistant", content: answer });
          terminal.prompt();
        }
        terminal.close();
      });
  },
};
