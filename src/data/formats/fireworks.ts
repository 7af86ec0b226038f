/**
 * Fireworks AI preference fine-tuning (https://docs.fireworks.ai/fine-tuning/dpo-fine-tuning): the rows of OpenAI, turns of role and
 * content, outputs of one assistant message. The guide shows an empty `tools` in `input`; that tools are used is unconfirmed, so
 * they are not written.
 */
import { atLeast, atMost, jsonLinesOnly } from "./limits.ts";
import { inputRoles, oneTurnAnswers, preferredOutput } from "./preferred-output.ts";

const guide = "https://docs.fireworks.ai/fine-tuning/dpo-fine-tuning";

export const fireworks = preferredOutput({
  title: "Fireworks AI preference fine-tuning",
  source: guide,
  detect: () => undefined, // as OpenAI's
  turnFields: [],
  tools: false,
  limits: [
    jsonLinesOnly(guide),
    atLeast(3, guide),
    atMost(3_000_000, guide),
    oneTurnAnswers(guide),
    inputRoles(guide, ["system", "user", "assistant"]),
  ],
});
