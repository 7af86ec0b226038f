/** The table of architectures by `model_type` of config.json: one line each. */
import { RequestError, nearest } from "../errors.ts";
import type { Architecture, CausalLm } from "./causal-lm.ts";
import { gemma } from "./gemma.ts";
import { gemma2 } from "./gemma2.ts";
import { gpt2 } from "./gpt2.ts";
import { gptNeox } from "./gpt-neox.ts";
import { llama } from "./llama.ts";
import { mistral } from "./mistral.ts";
import { phi3 } from "./phi3.ts";
import { qwen2 } from "./qwen2.ts";
import { qwen3 } from "./qwen3.ts";

export const architectures: Readonly<Record<string, Architecture>> = {
  llama,
  mistral,
  qwen2,
  qwen3,
  gemma,
  gemma2,
  phi3,
  gpt2,
  gpt_neox: gptNeox,
};

/** Builds the model that a config.json describes. Throws for an architecture that is not here, listing those that are. */
export function architectureOf(config: Readonly<Record<string, unknown>>, where: string): CausalLm {
  const type = config.model_type;
  const known = Object.keys(architectures);
  if (typeof type === "string" && Object.hasOwn(architectures, type))
    return architectures[type](config, where);
  const guess = typeof type === "string" ? nearest(type, known) : undefined;
  throw new RequestError({
    code: "unknown-architecture",
    what:
      type === undefined
        ? 'there is no "model_type"'
        : `architecture ${JSON.stringify(type)} is not supported`,
    where,
    why: `prefopt knows: ${known.join(", ")}`,
    fix: guess ? `Did you mean ${guess}?` : "Use a model of one of these architectures",
  });
}
