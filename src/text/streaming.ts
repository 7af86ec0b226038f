/** Decoding while tokens arrive: emits what is certain and holds back a character whose bytes are not all there yet. */
import type { Tokenizer } from "./tokenizer.ts";

/** A function that is given one id after another and returns the text that each adds. */
export function streamingDecoder(tokenizer: Tokenizer): (id: number) => string {
  const ids: number[] = [];
  let shown = "";
  return (id) => {
    ids.push(id);
    const text = tokenizer.decode(ids, { skipSpecialTokens: true });
    if (text.endsWith("\uFFFD") || !text.startsWith(shown)) return "";
    const added = text.slice(shown.length);
    shown = text;
    return added;
  };
}
