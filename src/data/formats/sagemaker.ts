/**
 * SageMaker AI model customization takes the preference records of Hugging Face, plain or conversational, and no other fields
 * (https://docs.aws.amazon.com/sagemaker/latest/dg/model-customize-evaluation-dataset-formats.html, "HuggingFace Preference"). That
 * page describes evaluation; that training takes the same, and its limits, are unconfirmed.
 */
import type { DataFormat } from "./format.ts";
import { jsonLinesOnly } from "./limits.ts";

const guide =
  "https://docs.aws.amazon.com/sagemaker/latest/dg/model-customize-evaluation-dataset-formats.html";

export const sagemaker: DataFormat = {
  title: "SageMaker AI preference data",
  source: guide,
  detect: () => undefined, // as prefopt's own pairs
  read: (row) => [
    { prompt: row.content("prompt"), chosen: row.content("chosen"), rejected: row.content("rejected") },
  ],
  writer: {
    kinds: ["pair"],
    open: false,
    write: (record) => ({
      prompt: record.content("prompt"),
      chosen: record.content("chosen"),
      rejected: record.content("rejected"),
    }),
  },
  limits: [jsonLinesOnly(guide)],
};
