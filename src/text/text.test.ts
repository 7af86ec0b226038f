/** Tokenizers and chat templates: expected values of real ones, round trips of our own, and the traps of real templates. */
import { describe, expect, test } from "vitest";
import { random } from "../engine/random.ts";
import { trainByteLevelBpe } from "./bpe-trainer.ts";
import { chatTokens, renderChat } from "./chat.ts";
import { chatMl } from "./chatml.ts";
import { streamingDecoder } from "./streaming.ts";
import { families, installed } from "./testing.ts";
import { makeTokenizer } from "./tokenizer.ts";

const real = Object.fromEntries(
  await Promise.all(families.map(async (name) => [name, await installed(name)] as const)),
);

describe.each(Object.entries(real))("%s", (name, found) => {
  if (!found) {
    test("is here", ({ skip }) =>
      skip(`the tokenizer package of ${name} is not installed: see the line printed above`));
    return;
  }
  const { expected, tokenizer } = found;
  test("gives the expected ids and decodes them", () => {
    for (const { text, ids, idsWithSpecialTokens = ids, decoded, ...more } of expected.tokenization) {
      expect(tokenizer.encode(text), text).toEqual(ids);
      expect([...tokenizer.prefixIds, ...ids, ...tokenizer.suffixIds]).toEqual(idsWithSpecialTokens);
      expect(tokenizer.decode(ids)).toBe(decoded);
      expect(tokenizer.decode(ids, { skipSpecialTokens: true })).toBe(
        more.decodedWithoutSpecialTokens ?? decoded,
      );
    }
  });
  test("renders the expected conversations", () => {
    for (const { messages, tools, addGenerationPrompt, text, ids } of expected.chat ?? []) {
      const rendered = renderChat(tokenizer, messages, { addGenerationPrompt, ...(tools && { tools }) });
      expect(rendered).toBe(text);
      expect(tokenizer.encode(rendered)).toEqual(ids);
    }
  });
  if (!expected.chat) return; // its package has no template
  test("an answer ends with one end token, and what precedes it is what generation would see or begins so", () => {
    const end = tokenizer.idOf("<|eot_id|>") ?? tokenizer.idOf("<|im_end|>") ?? tokenizer.endId ?? -1;
    const prompt = [{ role: "user", content: "What is the capital of France?" }];
    const { promptIds, completionIds } = chatTokens(
      tokenizer,
      prompt,
      [{ role: "assistant", content: "Paris." }],
      [end],
    );
    expect(completionIds.filter((id) => id === end)).toEqual([end]);
    expect(completionIds.at(-1)).toBe(end);
    expect(tokenizer.decode(completionIds)).toContain("Paris.");
    expect(tokenizer.decode(promptIds)).toContain("capital of France");
    expect(tokenizer.decode(promptIds)).not.toContain("Paris");
  });
  test("a system message of a conversation that the template rewrites is not lost", () => {
    const end = tokenizer.idOf("<|eot_id|>") ?? tokenizer.idOf("<|im_end|>") ?? tokenizer.endId ?? -1;
    const prompt = [
      { role: "system", content: "Answer in French." },
      { role: "user", content: "Which city?" },
    ];
    const { promptIds } = chatTokens(tokenizer, prompt, [{ role: "assistant", content: "Paris." }], [end]);
    expect(tokenizer.decode(promptIds)).toContain("Which city?");
    expect(tokenizer.decode(promptIds)).toContain("Answer in French.");
  });
});

const corpus = [
  "the film is a delight",
  "the film is a mess, the film is long",
  "don't miss it! 1999 was a good year",
  "naïve café — “quoted”",
];
const trained = trainByteLevelBpe(corpus, {
  vocabularySize: 300,
  specialTokens: ["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
  beginToken: "<|endoftext|>",
  endToken: "<|im_end|>",
  chatTemplate: chatMl,
});
const own = makeTokenizer(trained.tokenizerJson, trained.tokenizerConfigJson);

describe("our own byte-level BPE", () => {
  test("gives back any text byte for byte", () => {
    const rng = random(1, "utf-8");
    const pool = [..."abc XYZ 019\t\r\n.,!?'\"-–éß漢字😀👩‍🚀\u0301\u00a0\u{1F1E9}\u{1F1EA}"];
    for (let i = 0; i < 300; i++) {
      const text = Array.from({ length: rng.integer(40) }, () => pool[rng.integer(pool.length)]).join("");
      expect(own.decode(own.encode(text))).toBe(text);
    }
  });
  test("merges the most frequent pair first: 'the film is' becomes few tokens", () => {
    expect(own.encode("the film is").length).toBeLessThanOrEqual(4);
    expect(own.prefixIds).toEqual([0]);
    expect([own.beginId, own.endId]).toEqual([0, 2]);
  });
  test("ties go to the lexicographically smallest pair", () => {
    const tie = trainByteLevelBpe(["ba", "ba", "ab", "ab"], {
      vocabularySize: 258,
      specialTokens: ["<e>"],
      beginToken: "<e>",
      endToken: "<e>",
    });
    expect((tie.tokenizerJson.model as { merges: string[] }).merges).toEqual(["a b"]);
  });
  test("is the same for the same texts", () => {
    expect(
      trainByteLevelBpe(corpus, {
        vocabularySize: 300,
        specialTokens: ["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        beginToken: "<|endoftext|>",
        endToken: "<|im_end|>",
        chatTemplate: chatMl,
      }),
    ).toEqual(trained);
  });
  test("streams text as characters become whole", () => {
    const decode = streamingDecoder(own);
    const pieces = own.encode("a 😀 b").map(decode);
    expect(pieces.join("")).toBe("a 😀 b");
    expect(pieces.some((p) => p.includes("\uFFFD"))).toBe(false);
  });
  test("writes conversations in ChatML, the answer's end learned and what follows it not", () => {
    const { promptIds, completionIds } = chatTokens(
      own,
      [{ role: "user", content: "hi" }],
      [{ role: "assistant", content: "the film" }],
      [2],
    );
    expect(own.decode(promptIds)).toBe("<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n");
    expect(own.decode(completionIds)).toBe("the film<|im_end|>");
  });
  test("a model without a template says so", () => {
    expect(() => renderChat({ ...own, chatTemplate: undefined }, [{ role: "user", content: "hi" }])).toThrow(
      "no chat template",
    );
  });
});
