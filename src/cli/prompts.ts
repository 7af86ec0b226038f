/** The prompts of a file of records, for measuring models on them. */
import { loadRecords } from "../data/load-records.ts";
import { promptIds } from "../data/rows.ts";
import { RequestError } from "../errors.ts";
import type { Message } from "../text/chat.ts";
import type { Tokenizer } from "../text/tokenizer.ts";

/** The first `count` different prompts of a file, as the model's tokens. Records may be pairs, completions, or prompts alone. */
export async function promptsOf(path: string, tokenizer: Tokenizer, count: number): Promise<number[][]> {
  const { records } = await loadRecords(path);
  const found = new Map<string, number[]>();
  for (const { record } of records) {
    if (found.size >= count) break;
    const ids =
      "promptIds" in record
        ? record.promptIds
        : "prompt" in record
          ? promptIds(record.prompt as string | Message[], tokenizer, record.tools)
          : undefined;
    if (ids) found.set(ids.join(), [...ids]);
  }
  if (found.size === 0)
    throw new RequestError({
      code: "no-prompts",
      what: "has no records with a prompt",
      where: path,
      fix: "Give records with prompt, such as pairs",
    });
  return [...found.values()];
}
