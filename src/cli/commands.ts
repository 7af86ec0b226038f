/** All commands, one line each; a command's code is loaded when it is called. */
import type { CommandModule } from "./command.ts";

export const commands: Readonly<Record<string, { summary: string; load: () => Promise<CommandModule> }>> = {
  start: {
    summary: "train the embedded model on the embedded preferences",
    load: async () => (await import("./commands/start.ts")).command,
  },
  train: {
    summary: "run a recipe into a run folder",
    load: async () => (await import("./commands/train.ts")).command,
  },
  plan: {
    summary: "what a run will do before it does it: records, steps, memory, time",
    load: async () => (await import("./commands/plan.ts")).command,
  },
  evaluate: {
    summary: "measure a model on prompts",
    load: async () => (await import("./commands/evaluate.ts")).command,
  },
  compare: {
    summary: "win rate of one model against another",
    load: async () => (await import("./commands/compare.ts")).command,
  },
  generate: {
    summary: "sample completions, JSON lines in and out",
    load: async () => (await import("./commands/generate.ts")).command,
  },
  score: {
    summary: "log-probabilities of given completions, JSON lines in and out",
    load: async () => (await import("./commands/score.ts")).command,
  },
  tokenize: {
    summary: "token ids, offsets and chat renderings, JSON lines in and out",
    load: async () => (await import("./commands/tokenize.ts")).command,
  },
  chat: { summary: "talk to a model", load: async () => (await import("./commands/chat.ts")).command },
  loss: {
    summary: "evaluate an objective and its gradient on given numbers",
    load: async () => (await import("./commands/loss.ts")).command,
  },
  data: {
    summary: "data files: see what is trained on, check them, convert them between formats",
    load: async () => (await import("./commands/data.ts")).command,
  },
  methods: {
    summary: "the table of systems, or the page of a system or an objective",
    load: async () => (await import("./commands/methods.ts")).command,
  },
  export: {
    summary: "a model as safetensors, ONNX or GGUF, checked against its source",
    load: async () => (await import("./commands/export.ts")).command,
  },
  bench: {
    summary: "speed and memory on this machine",
    load: async () => (await import("./commands/bench.ts")).command,
  },
};
