/** The table of architectures by `model_type` of config.json: one line each. */
import { RequestError, nearest } from "../errors.ts";
import type { Architecture, CausalLm } from "./causal-lm.ts";
import { llama } from "./llama.ts";

const architectures: Readonly<Record<string, Architecture>> = { llama };

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
