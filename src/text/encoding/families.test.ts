/** Real tokenizers: expected offsets, and random texts against another library and against what must hold. */
import { Tokenizer as OtherTokenizer } from "@huggingface/tokenizers";
import { describe, expect, test } from "vitest";
import { sharedFile, smolLm2 } from "../../../test/shared.ts";
import { random } from "../../engine/random.ts";
import { expectedOf, families, installed, randomText } from "../testing.ts";
import { type Tokenizer, loadTokenizer } from "../tokenizer.ts";

/** Half a surrogate pair becomes U+FFFD. */
const wellFormed = (text: string) =>
  new TextDecoder("utf-8", { ignoreBOM: true }).decode(new TextEncoder().encode(text));

/** What holds for the offsets of any text. */
function expectSoundOffsets(tokenizer: Tokenizer, text: string): void {
  const { ids, offsets } = tokenizer.encodeWithOffsets(text);
  expect(ids).toEqual(tokenizer.encode(text));
  expect(offsets).toHaveLength(ids.length);
  let before = 0;
  for (const [start, end] of offsets) {
    const splits = (at: number) => /^[\ud800-\udbff][\udc00-\udfff]$/.test(text.slice(at - 1, at + 1));
    if (start < before || start >= end || end > text.length || splits(start) || splits(end))
      throw new Error(`[${start}, ${end}) of ${JSON.stringify(text)}`);
    before = start;
  }
}

describe.each([...families, "smollm2"] as const)("%s", async (name) => {
  const smol = name === "smollm2" ? sharedFile(smolLm2) : undefined;
  const found = name === "smollm2" ? undefined : await installed(name);
  const tokenizer = smol ? await loadTokenizer(smol) : found?.tokenizer;
  if (!tokenizer) {
    test("is here", ({ skip }) => skip(`${name} is not here: see the line printed above`));
    return;
  }
  test("has the expected offsets", async () => {
    const { tokenization } = await expectedOf(name);
    expect(tokenization.length).toBeGreaterThan(30);
    for (const { text, ids, offsets } of tokenization)
      expect(tokenizer.encodeWithOffsets(text), text).toEqual({ ids, offsets });
  });
  test("random texts: sound offsets, and a token shows what it stands for", () => {
    const rng = random(1, "offsets", name);
    for (let i = 0; i < 500; i++) {
      const text = randomText(rng);
      expectSoundOffsets(tokenizer, text);
      if (name === "qwen3" || name === "llama2" || name === "gemma2") continue; // the text is changed before
      const { ids, offsets } = tokenizer.encodeWithOffsets(text);
      ids.forEach((id, k) => {
        const shown = tokenizer.decode([id]);
        if (!shown.includes("\uFFFD")) expect(text.slice(...offsets[k])).toBe(shown);
      });
      expect(tokenizer.decode(ids)).toBe(wellFormed(text));
    }
  });
  if (!found) return;
  test("random texts: the ids of another library", () => {
    const { tokenizerJson, tokenizerConfigJson } = found.files;
    const other = new OtherTokenizer(tokenizerJson, tokenizerConfigJson);
    const rng = random(2, "ids", name);
    for (let i = 0; i < 500; i++) {
      const text = randomText(rng);
      const { ids } = other.encode(text, { add_special_tokens: false });
      expect(tokenizer.encode(text), JSON.stringify(text)).toEqual(ids);
    }
  });
});
