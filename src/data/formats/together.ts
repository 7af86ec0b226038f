/**
 * Together AI preference fine-tuning (https://docs.together.ai/docs/fine-tuning/preference-tuning): the rows of OpenAI, each output
 * exactly one assistant message. That tools may be described in `input` is unconfirmed, so they are not written.
 */
import { jsonLinesOnly, megabytes } from "./limits.ts";
import { inputRoles, oneTurnAnswers, preferredOutput } from "./preferred-output.ts";

const guide = "https://docs.together.ai/docs/fine-tuning/preference-tuning";
const preparation = "https://docs.together.ai/docs/fine-tuning/data-preparation";

export const together = preferredOutput({
  title: "Together AI preference fine-tuning",
  source: guide,
  detect: () => undefined, // as OpenAI's
  turnFields: [],
  tools: false,
  limits: [
    jsonLinesOnly(preparation),
    megabytes(100_000, preparation),
    oneTurnAnswers(guide),
    inputRoles(preparation, ["system", "user", "assistant"]),
  ],
});
