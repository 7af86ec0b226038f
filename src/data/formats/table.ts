/** Data formats by the names that `--from`, `--to` and `data.format` take: one line each. Those with more telling fields are tried first. */
import { RequestError, nearest } from "../../errors.ts";
import { arena } from "./arena.ts";
import { argilla } from "./argilla.ts";
import { axolotlChatTemplate } from "./axolotl-chat-template.ts";
import { axolotlUserDefined } from "./axolotl-user-defined.ts";
import { axolotlArgilla, axolotlIcr, axolotlIntel, axolotlPromptPairs } from "./axolotl.ts";
import { fireworks } from "./fireworks.ts";
import type { DataFormat } from "./format.ts";
import { hhRlhf, hhRlhfTurns } from "./hh-rlhf.ts";
import { labelStudio } from "./label-studio.ts";
import { llamaFactoryAlpaca } from "./llama-factory-alpaca.ts";
import { llamaFactorySharegpt } from "./llama-factory-sharegpt.ts";
import { nectar } from "./nectar.ts";
import { nova } from "./nova.ts";
import { openai } from "./openai.ts";
import { own } from "./own.ts";
import { sagemaker } from "./sagemaker.ts";
import { together } from "./together.ts";
import { trl } from "./trl.ts";
import { axolotlUltra, ultrafeedbackBinarized } from "./ultrafeedback-binarized.ts";
import { ultrafeedback } from "./ultrafeedback.ts";
import { vertex } from "./vertex.ts";

export const dataFormats = {
  openai,
  together,
  fireworks,
  vertex,
  nova,
  sagemaker,
  "label-studio": labelStudio,
  argilla,
  arena,
  "ultrafeedback-binarized": ultrafeedbackBinarized,
  ultrafeedback,
  nectar,
  "hh-rlhf": hhRlhf,
  "hh-rlhf-turns": hhRlhfTurns,
  "llama-factory-sharegpt": llamaFactorySharegpt,
  "llama-factory-alpaca": llamaFactoryAlpaca,
  "axolotl-argilla": axolotlArgilla,
  "axolotl-intel": axolotlIntel,
  "axolotl-icr": axolotlIcr,
  "axolotl-prompt-pairs": axolotlPromptPairs,
  "axolotl-ultra": axolotlUltra,
  "axolotl-chat-template": axolotlChatTemplate,
  "axolotl-user-defined": axolotlUserDefined,
  trl,
  prefopt: own,
} as const satisfies Readonly<Record<string, DataFormat>>;

export type DataFormatName = keyof typeof dataFormats;

export const dataFormatNames = Object.keys(dataFormats) as DataFormatName[];

/** The name of a format as given. Throws a RequestError for others; `where` says where it was given. */
export function dataFormatNamed(name: string, where: string): DataFormatName {
  const found = dataFormatNames.find((known) => known === name);
  if (found) return found;
  const guess = nearest(name, dataFormatNames);
  throw new RequestError({
    code: "unknown-data-format",
    what: `there is no data format "${name}"`,
    where,
    fix: guess ? `Did you mean ${guess}?` : `Known are ${dataFormatNames.join(", ")}`,
  });
}
