/**
 * OpenAI preference fine-tuning (https://developers.openai.com/api/docs/guides/direct-preference-optimization): `input` with
 * messages, tools and parallel_tool_calls, `preferred_output`, `non_preferred_output`. Azure OpenAI takes the same
 * (https://learn.microsoft.com/azure/ai-services/openai/how-to/fine-tuning-direct-preference-optimization).
 */
import { has } from "./format.ts";
import { atLeast, jsonLinesOnly, megabytes } from "./limits.ts";
import { inputRoles, oneTurnAnswers, preferredOutput } from "./preferred-output.ts";

const guide = "https://developers.openai.com/api/docs/guides/direct-preference-optimization";
const files = "https://platform.openai.com/docs/api-reference/files/create";

export const openai = preferredOutput({
  title: "OpenAI preference fine-tuning",
  source: guide,
  detect: (row) =>
    row.isObject("input") && row.has("preferred_output") && row.has("non_preferred_output")
      ? has("input.messages", "preferred_output", "non_preferred_output")
      : undefined,
  turnFields: ["name", "tool_calls", "tool_call_id"],
  tools: true,
  limits: [
    jsonLinesOnly(files),
    megabytes(512, files),
    atLeast(10, "https://developers.openai.com/api/docs/guides/supervised-fine-tuning"),
    oneTurnAnswers(guide),
    inputRoles(guide, ["system", "developer", "user", "assistant", "tool"]),
  ],
});
