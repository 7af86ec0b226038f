/**
 * TRL (https://huggingface.co/docs/trl/dataset_formats): language modelling, prompt-only, prompt-completion, preference, unpaired
 * preference, stepwise supervision; plain or conversational; `tools` as a list or, in newer versions, as JSON text. Most of it
 * is how prefopt writes records too; what is told apart here is a preference of two plain texts whose prompt is what they share.
 */
import type { Row } from "../../formats/rows.ts";
import type { Fields } from "./fields.ts";
import { type DataFormat, has } from "./format.ts";
import { toolsOf } from "./tools.ts";

const contents = ["prompt", "chosen", "rejected", "completion", "messages"] as const;

export const trl: DataFormat = {
  title: "TRL",
  source: "https://huggingface.co/docs/trl/dataset_formats",
  detect: (row) =>
    !row.has("prompt") && row.isText("chosen") && row.isText("rejected")
      ? `${has("chosen", "rejected")} as text without a prompt`
      : undefined,
  read(row) {
    const values: Record<string, unknown> = {};
    for (const name of contents)
      if (row.has(name)) values[name] = name === "messages" ? row.turns(name) : row.content(name);
    if (row.has("text")) values.text = row.text("text");
    if (row.has("label")) values.label = row.flagOr("label");
    if (row.has("completions")) values.completions = row.texts("completions");
    if (row.has("labels")) values.labels = row.list("labels");
    const more = { tools: toolsOf(row), margin: row.numberOr("margin"), id: row.any("id") };
    for (const [name, value] of Object.entries(more)) if (value !== undefined) values[name] = value;
    return [{ ...values, ...shared(values, row) }];
  },
  writer: {
    kinds: ["pair", "unpaired", "plain", "prompt", "stepwise"],
    open: true,
    implicit: true,
    write(record) {
      const row: Record<string, unknown> = {};
      const carried = [...contents, "text", "label", "completions", "labels", "tools", "margin", "id"];
      for (const name of carried) if (record.has(name)) row[name] = record.any(name);
      return row;
    },
  },
};

/** The prompt that two texts begin with, as TRL finds it: up to where they differ, a space before it left to the answers. */
function shared({ prompt, chosen, rejected }: Row, row: Fields): Row {
  if (prompt !== undefined || typeof chosen !== "string" || typeof rejected !== "string") return {};
  let n = 0;
  while (n < Math.min(chosen.length, rejected.length) && chosen[n] === rejected[n]) n++;
  if (chosen[n - 1] === " ") n--;
  if (n <= 0)
    row.fail("chosen", "it shares no beginning with rejected, so there is no prompt", "Give a prompt");
  return { prompt: chosen.slice(0, n), chosen: chosen.slice(n), rejected: rejected.slice(n) };
}
