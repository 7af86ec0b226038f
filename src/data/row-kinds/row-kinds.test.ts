/** What each kind of row is made of: which text is given, which is scored, and where the one ends and the other begins. */
import { describe, expect, test } from "vitest";
import { trainByteLevelBpe } from "../../text/bpe-trainer.ts";
import { chatMl } from "../../text/chatml.ts";
import { makeTokenizer } from "../../text/tokenizer.ts";
import { damagedCopies, keyPhrases } from "../rake.ts";
import type { RecordKind } from "../record-kinds.ts";
import { parseRecord } from "../records.ts";
import { type RowBuilder, type RowSettings, buildRows } from "../rows.ts";
import type { TokenRow } from "../token-row.ts";
import { withMismatched } from "./unpaired.ts";

const trained = trainByteLevelBpe(["the film is a delight", "the film is a mess"], {
  vocabularySize: 290,
  specialTokens: ["<b>", "<|im_start|>", "<|im_end|>"],
  beginToken: "<b>",
  endToken: "<|im_end|>",
  chatTemplate: chatMl,
});
const tokenizer = makeTokenizer(trained.tokenizerJson, trained.tokenizerConfigJson);
const builder: RowBuilder = {
  tokenizer,
  vocabularySize: 290,
  endIds: [2],
  limits: { maxLength: 400, truncation: "error" },
};

function rows(value: object, kind?: RecordKind, settings: RowSettings = {}, line = 1): TokenRow[] {
  const parsed = parseRecord(value);
  if ("problem" in parsed) throw new Error(`${parsed.problem.field}: ${parsed.problem.why}`);
  return buildRows(parsed.record, { file: "x.jsonl", line }, { ...builder, settings }, kind);
}

/** Trees as text: the prompt, and each branch's parts as "role: text". */
const shown = ({ trees }: TokenRow) =>
  trees.map(({ prompt, branches }) => [
    tokenizer.decode(prompt),
    ...branches.flat().map(({ role, ids }) => `${role}: ${tokenizer.decode(ids)}`),
  ]);
const end = "<|im_end|>";

describe("steps", () => {
  const record = {
    prompt: [{ role: "user", content: "3 + 4 + 5?" }],
    prefix: "3 + 4 = 7.",
    chosen: " The answer is 12.",
    rejected: " 7 + 5 = 11.",
  };
  test("what was answered so far stands open in the assistant's turn, and only the step is scored", () => {
    expect(rows(record).map(shown)).toEqual([
      [
        [
          `<|im_start|>user\n3 + 4 + 5?${end}\n<|im_start|>assistant\n3 + 4 = 7.`,
          "chosen:  The answer is 12.",
          "rejected:  7 + 5 = 11.",
        ],
      ],
    ]);
  });
  test("a step that gives the answer ends there, where the objective says so; others never do", () => {
    const [[, chosen, rejected]] = shown(rows(record, undefined, { endOnFinalStep: true })[0]);
    expect([chosen, rejected]).toEqual([`chosen:  The answer is 12.${end}`, "rejected:  7 + 5 = 11."]);
  });
  test("a token that would span the seam is not made: the step is encoded as it would be generated", () => {
    // " delight" is one token of its own; cut inside, both halves are encoded by themselves.
    const [[prompt, chosen]] = shown(
      rows({ prompt: "the film is", prefix: " a del", chosen: "ight", rejected: "ay" })[0],
    );
    expect([prompt, chosen]).toEqual(["<b>the film is a del", "chosen: ight"]);
  });
});

describe("thumbs", () => {
  test("a pair is two: the chosen answer up, the rejected one down", () => {
    const made = rows(
      { prompt: "the film", chosen: " is a delight", rejected: " is a mess", weight: 2 },
      "unpaired",
    );
    expect(made.map((r) => [shown(r)[0][1], r.fields])).toEqual([
      [`completion:  is a delight${end}`, { label: 1, weight: 2 }],
      [`completion:  is a mess${end}`, { label: 0, weight: 2 }],
    ]);
  });
  test("mismatched: every prompt with the answer of the record before it, the first with the last one's", () => {
    const batch = ["a", "b", "c"].map(
      (x) => rows({ prompt: `prompt ${x}`, completion: ` answer ${x}`, label: true })[0],
    );
    const lines = withMismatched(batch, 400).map((r) => shown(r)[0]);
    expect(lines).toEqual(
      ["ac", "ba", "cb"].map(([own, other]) => [
        `<b>prompt ${own}`,
        `completion:  answer ${own}${end}`,
        `mismatched:  answer ${other}${end}`,
      ]),
    );
  });
  test("a mismatched answer that does not fit loses its end", () => {
    const batch = ["a", "b"].map((x) => rows({ prompt: x, completion: ` the film ${x}`, label: true })[0]);
    const [first] = withMismatched(batch, 4);
    const [prompt, [{ ids: own }], [{ ids: other }]] = [first.trees[0].prompt, ...first.trees[0].branches];
    expect(prompt).toHaveLength(2); // begin token and "a"
    expect(other).toHaveLength(2);
    expect(own.length).toBeGreaterThan(2);
  });
});

describe("joint pairs", () => {
  test("instruction and answer are scored, one part after the other; only the first token is given", () => {
    const record = {
      chosen: { instruction: "Praise the film.", response: "A delight." },
      rejected: { instruction: "Sum it up.", response: "Words." },
    };
    expect(shown(rows(record)[0])).toEqual([
      ["<b>", "chosen.instruction: Praise the film.", `chosen.response: A delight.${end}`],
      ["<b>", "rejected.instruction: Sum it up.", `rejected.response: Words.${end}`],
    ]);
  });
  test("a pair is a joint pair of one instruction", () => {
    const [row] = rows({ prompt: "the film", chosen: " is a delight", rejected: " is a mess" }, "joint");
    expect(shown(row)).toEqual([
      ["<b>", "chosen.instruction: the film", `chosen.response:  is a delight${end}`],
      ["<b>", "rejected.instruction: the film", `rejected.response:  is a mess${end}`],
    ]);
  });
  test("an instruction of one token without a begin token leaves nothing to score", () => {
    const ids = { instructionIds: [5], responseIds: [6, 2] };
    expect(() => rows({ chosen: ids, rejected: { ...ids, responseIds: [7, 2] } })).toThrow(
      /x\.jsonl:1: the instruction of chosen has 1 tokens: its first token is only given/,
    );
  });
});

describe("rationales", () => {
  const record = {
    prompt: "the film is",
    chosen: " a delight",
    rejected: " a mess",
    rationale: "It praises.",
  };
  test("the pair, and the reason under a comparison of both answers", () => {
    const [pair, reason] = shown(rows(record, undefined, { swapComparison: false })[0]);
    expect(pair).toEqual(["<b>the film is", `chosen:  a delight${end}`, `rejected:  a mess${end}`]);
    expect(reason[0]).toMatch(
      /^<b>the film is\n\n.*\nResponse above: "a delight"\nResponse below: "a mess"\nThe response above is better\. Reason:$/,
    );
    expect(reason[1]).toBe(`rationale: It praises.${end}`);
  });
  test("the winner stands above in about half of the records, the same ones each time", () => {
    const places = () =>
      Array.from({ length: 200 }, (_, i) => shown(rows(record, undefined, {}, i + 1)[0])[1][0]).map((q) =>
        q.includes("The response above is better"),
      );
    const above = places().filter(Boolean).length;
    // Binomial with n = 200 and p = ½: outside of 70 to 130 in fewer than 1 of 10,000 seeds; the seed is fixed.
    expect(above).toBeGreaterThan(70);
    expect(above).toBeLessThan(130);
    expect(places()).toEqual(places());
  });
  test("a question of the record's own is taken as it is", () => {
    const [, reason] = shown(rows({ ...record, rationalePrompt: "Why?" })[0]);
    expect(reason).toEqual(["<b>Why?", `rationale: It praises.${end}`]);
  });
});

test("revisions: both answers under three prompts, drafts only given", () => {
  const [row] = rows({ prompt: "the film is", chosen: " a delight", rejected: " a mess" }, "revision");
  const draft = (text: string) => `<b>the film is\nDraft answer: ${text}\nFinal answer:`;
  expect(shown(row)).toEqual([
    [draft("a mess"), `wl:  a delight${end}`, `ll:  a mess${end}`],
    [draft("a delight"), `ww:  a delight${end}`, `lw:  a mess${end}`],
    ["<b>the film is", `w:  a delight${end}`, `l:  a mess${end}`],
  ]);
});

describe("graded copies", () => {
  const text = "The red fox jumps over the lazy dog. The red fox sleeps.";
  const stopWords = new Set(["the", "over"]);

  test("key phrases: worked number 1 of the page", () => {
    const all = keyPhrases(text, { stopWords, topFraction: 1 });
    expect(all.map((p) => [p.words.join(" "), p.score])).toEqual([
      ["red fox jumps", 9],
      ["red fox sleeps", 9],
      ["lazy dog", 4],
    ]);
    // A third of 6 words: 2 phrases
    expect(keyPhrases(text, { stopWords }).map((p) => p.words.join(" "))).toEqual([
      "red fox jumps",
      "red fox sleeps",
    ]);
  });
  test("a copy for each degree: none, one and both phrases removed", () => {
    expect(damagedCopies(text, 3, { stopWords })).toEqual([
      text,
      "The over the lazy dog. The red fox sleeps.",
      "The over the lazy dog. The.",
    ]);
  });
  test("phrases are words, never parts of words", () => {
    const copies = damagedCopies("art is start of art", 2, { topFraction: 0.4 });
    expect(copies?.[1]).toBe("is start of");
  });
  test("copies stand beside the pair, each with its degree; too few phrases: a pair without copies", () => {
    const record = { prompt: "Tell.", chosen: ` ${text}`, rejected: " No." };
    const [row] = rows(record, "graded", {
      degrees: { count: 2, on: "chosen", topFraction: 1, maxPhraseWords: 4 },
    });
    const [, ...branches] = shown(row)[0];
    expect(branches.map((b) => b.split(":")[0])).toEqual(["chosen", "rejected", "copies", "copies"]);
    expect(row.values.copies).toEqual({ degree: [0, 1] });
    const [none] = rows({ ...record, chosen: " Yes." }, "graded");
    expect(shown(none)[0]).toHaveLength(3);
    expect(none.values.copies).toEqual({ degree: [] });
  });
});

test("calibration samples stand beside the pair, as many as there are", () => {
  const record = { prompt: "the film", chosen: " is a delight", rejected: " is a mess" };
  const roles = (calibration: unknown) =>
    shown(rows({ ...record, calibration }, "calibrated")[0])[0]
      .slice(1)
      .map((b) => b.split(":")[0]);
  expect(roles([" one", " two"])).toEqual(["chosen", "rejected", "calibration", "calibration"]);
  expect(roles(" one")).toEqual(["chosen", "rejected", "calibration"]);
  expect(roles(undefined)).toEqual(["chosen", "rejected"]);
});

test("unlearning: the answer to forget and the one to say instead share a prompt, what to keep has its own", () => {
  const record = {
    forget: { prompt: "Who wrote it?", completion: " Ann." },
    retain: { prompt: "Who read it?", completion: " Bo." },
    idk: " I cannot say.",
  };
  expect(shown(rows(record)[0])).toEqual([
    ["<b>Who wrote it?", `forget:  Ann.${end}`, `idk:  I cannot say.${end}`],
    ["<b>Who read it?", `retain:  Bo.${end}`],
  ]);
});

test("a pair is a list of two, scored 1 and 0, with the win rates it has", () => {
  const pair = { prompt: "the film", chosen: " is a delight", rejected: " is a mess" };
  expect(rows(pair, "list")[0].values).toEqual({ completions: { score: [1, 0] } });
  expect(rows({ ...pair, chosenWinRate: 0.8, rejectedWinRate: 0.3 }, "list")[0].values).toEqual({
    completions: { score: [1, 0], winRate: [0.8, 0.3] },
  });
});
