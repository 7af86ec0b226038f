/** Records and rows: what is accepted, what is refused and how, and which tokens are given and which are learned. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { trainByteLevelBpe } from "../text/bpe-trainer.ts";
import { chatMl } from "../text/chatml.ts";
import { makeTokenizer } from "../text/tokenizer.ts";
import { writeRows } from "../formats/rows.ts";
import { loadRecords } from "./load-records.ts";
import { type DataRecord, formats } from "./record-formats.ts";
import { parseRecord } from "./records.ts";
import { type RowBuilder, buildRow } from "./rows.ts";
import { completionsOf, promptOfRow, rolesIn } from "./token-row.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "prefopt-"));
});
afterAll(() => rm(folder, { recursive: true }));

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
  limits: { maxLength: 100, truncation: "error" },
};
const source = { file: "x.jsonl", line: 4 };
const row = (value: object, changes: Partial<RowBuilder> = {}) => {
  const parsed = parseRecord(value);
  if ("problem" in parsed) throw new Error(`${parsed.problem.field}: ${parsed.problem.why}`);
  const built = buildRow(parsed.record, source, { ...builder, ...changes });
  const completions = rolesIn(built).flatMap((role) => completionsOf(built, role));
  return { ...built, prompt: promptOfRow(built), completions };
};
const text = (ids: readonly number[]) => tokenizer.decode(ids);

describe("records", () => {
  const messages = (answer: string) => [
    { role: "user", content: "q" },
    { role: "assistant", content: answer },
  ];
  test.each([
    ["pair", { prompt: "p", chosen: "a", rejected: "b" }],
    [
      "pair",
      {
        prompt: [{ role: "user", content: "q" }],
        chosen: [{ role: "assistant", content: "a" }],
        rejected: [{ role: "assistant", content: "b" }],
      },
    ],
    ["pairImplicit", { chosen: messages("a"), rejected: messages("b") }],
    ["pairIds", { promptIds: [1], chosenIds: [2], rejectedIds: [3], chosenProb: 0.7, weight: 2 }],
    ["triple", { prompt: "p", gold: "g", chosen: "a", rejected: "b" }],
    ["tripleIds", { promptIds: [1], goldIds: [4], chosenIds: [2], rejectedIds: [3] }],
    ["completion", { prompt: "p", completion: "c" }],
    ["completionIds", { promptIds: [1], completionIds: [2] }],
    ["messages", { messages: messages("a") }],
    ["text", { text: "t" }],
    ["stepwise", { prompt: "p", completions: ["a", "b"], labels: [true, false] }],
    ["prompt", { prompt: "p", id: 3 }],
    ["promptIds", { promptIds: [1] }],
  ])("%s", (format, value) => {
    const parsed = parseRecord(value);
    expect("record" in parsed && parsed.record.format).toBe(format);
  });
  test.each([
    ["no rejected", { prompt: "p", chosen: "a" }, "rejected", "it is missing"],
    ["equal completions", { prompt: "p", chosen: "a", rejected: "a" }, "rejected", "equals the chosen one"],
    ["an empty completion", { prompt: "p", chosen: "", rejected: "a" }, "chosen", "it is empty"],
    [
      "a number as text",
      { prompt: "p", chosen: 3, rejected: "a" },
      "chosen",
      "must be text or a list of messages",
    ],
    ["a soft label of 1.5", { prompt: "p", chosen: "a", rejected: "b", chosenProb: 1.5 }, "chosenProb", ""],
    ["a negative weight", { prompt: "p", chosen: "a", rejected: "b", weight: -1 }, "weight", ""],
    ["a negative id", { promptIds: [-1], chosenIds: [1], rejectedIds: [2] }, "promptIds.0", ""],
    ["half an id", { promptIds: [1], chosenIds: [1.5], rejectedIds: [2] }, "chosenIds.0", ""],
    ["a list", [1], "", "not a JSON object"],
    [
      "tools beside plain text",
      { prompt: "p", completion: "c", tools: [{ name: "f" }] },
      "tools",
      "only a chat template can show them",
    ],
    ["steps without verdicts", { prompt: "p", completions: ["a", "b"], labels: [true] }, "labels", "2 steps"],
    [
      "a turn without content",
      { messages: [{ role: "user" }, { role: "assistant", content: "a" }] },
      "messages.0.content",
      "it is missing",
    ],
  ])("refuses %s by name", (_, value, field, why) => {
    const parsed = parseRecord(value);
    expect("problem" in parsed && parsed.problem.field).toBe(field);
    expect("problem" in parsed && parsed.problem.why).toContain(why);
  });
  test("a prompt alone is one only where nothing else of records follows it", () => {
    const parsed = parseRecord({ prompt: "p", chosen: "a" });
    expect("problem" in parsed && parsed.problem).toMatchObject({ field: "rejected", why: "it is missing" });
  });
  test("a record that would do for something else is told for what", () => {
    const parsed = parseRecord({ prompt: "p", completion: "c" }, ["pair"]);
    expect("problem" in parsed && parsed.problem.why).toContain(
      "it would do as a record of prompt and completion",
    );
  });
  test("every format's example that is whole JSON is of that format", () => {
    for (const [name, { example }] of Object.entries(formats)) {
      if (example.includes("…") || example.includes("[the same")) continue;
      const parsed = parseRecord(JSON.parse(example));
      expect("record" in parsed && parsed.record.format).toBe(name);
    }
  });
});

describe("loading", () => {
  const good = '{"prompt":"p","chosen":"a","rejected":"b"}';
  const file = async (lines: string[]) => {
    const path = join(folder, "records.jsonl");
    await writeFile(path, lines.join("\n"));
    return path;
  };
  test("the first bad record is an error with file, line, field, reason and remedy", async () => {
    const path = await file([good, good, '{"prompt":"p","chosen":"a"}']);
    await expect(loadRecords(path)).rejects.toThrow(
      `${path}:3: field "rejected" cannot be used: it is missing. Write for example`,
    );
  });
  test("skip lists and counts", async () => {
    const path = await file([good, '{"prompt":"p","chosen":"a","rejected":"a"}', good]);
    const { records, skipped } = await loadRecords(path, { invalid: "skip" });
    expect(records.map((r) => r.source.line)).toEqual([1, 3]);
    expect(skipped).toMatchObject([{ source: { line: 2 }, field: "rejected" }]);
  });
  test("tables: cells become what the record needs, and text stays text", async () => {
    const path = join(folder, "records.csv");
    const rows = [
      { prompt: "42", chosen: "1.50", rejected: "[1]", weight: 2, chosenProb: "" },
      { prompt: "x", chosen: [{ role: "assistant", content: "a" }], rejected: "null", weight: "" },
    ];
    await writeRows(path, rows);
    const { records } = await loadRecords(path);
    expect(records.map((r) => [r.record, r.source.line])).toEqual([
      [{ format: "pair", prompt: "42", chosen: "1.50", rejected: "[1]", weight: 2 }, 2],
      [{ format: "pair", ...rows[1], weight: undefined }, 3],
    ]);
    await writeRows(path, [{ promptIds: [1, 2], chosenIds: [3], rejectedIds: [4], weight: 0.5 }]);
    expect((await loadRecords(path)).records[0].record).toEqual({
      format: "pairIds",
      promptIds: [1, 2],
      chosenIds: [3],
      rejectedIds: [4],
      weight: 0.5,
    });
    await writeFile(path, "prompt,chosen,rejected\np,a,b\np,,b\n");
    await expect(loadRecords(path)).rejects.toThrow(`${path}:3: field "chosen" cannot be used: it is empty`);
    await writeFile(path, "prompt,chosen,rejected,weight\np,a,b,much\n");
    await expect(loadRecords(path)).rejects.toThrow(`${path}:2: field "weight" cannot be used`);
  });
  test("Parquet: what is null is absent", async () => {
    const path = join(folder, "records.parquet");
    const messages = (content: string) => [{ role: "assistant", content }];
    await writeRows(path, [
      { prompt: [{ role: "user", content: "q" }], chosen: messages("a"), rejected: messages("b"), weight: 2 },
      {
        prompt: [{ role: "user", content: "q" }],
        chosen: messages("a"),
        rejected: messages("b"),
        weight: null,
      },
    ]);
    const { records } = await loadRecords(path);
    expect(records.map((r) => "weight" in r.record)).toEqual([true, false]);
    await writeRows(path, [{ prompt: "p", chosen: "a" }]);
    await expect(loadRecords(path)).rejects.toThrow(
      `${path}:1: field "rejected" cannot be used: it is missing`,
    );
  });
  test("nothing usable is an error, also when skipping", async () => {
    const path = await file(['{"prompt":"p","chosen":"a","rejected":"a"}']);
    await expect(loadRecords(path, { invalid: "skip" })).rejects.toThrow("none of its 1 records can be used");
    await expect(loadRecords([])).rejects.toThrow("has no records");
  });
});

describe("rows", () => {
  test("one begin token, the completion as it follows the prompt, one end token", () => {
    const { prompt, completions } = row({
      prompt: "the film",
      chosen: " is a delight",
      rejected: " is a mess",
    });
    expect(prompt).toEqual([0, ...tokenizer.encode("the film")]);
    expect(completions.map(text)).toEqual([" is a delight<|im_end|>", " is a mess<|im_end|>"]);
    expect([...prompt, ...completions[0]]).toEqual([0, ...tokenizer.encode("the film is a delight"), 2]);
  });
  test("an end token that is there already is not doubled", () => {
    expect(
      row({ prompt: "the", completion: " film<|im_end|>" }).completions[0].filter((id) => id === 2),
    ).toEqual([2]);
  });
  test("where a token would span the seam, the prompt stays as generation writes it", () => {
    const { prompt, completions } = row({ prompt: "the fi", completion: "lm" });
    expect(prompt.slice(1)).toEqual(tokenizer.encode("the fi"));
    expect(completions[0]).toEqual([...tokenizer.encode("lm"), 2]);
  });
  test("text alone is learned from its begin token on", () => {
    const { prompt, completions } = row({ text: "the film" });
    expect([prompt, completions]).toEqual([[0], [[...tokenizer.encode("the film"), 2]]]);
  });
  test("conversations go through the template", () => {
    const { prompt, completions } = row({
      messages: [
        { role: "user", content: "hi" },
        { role: "assistant", content: "the film" },
      ],
    });
    expect(text(prompt)).toBe("<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n");
    expect(text(completions[0])).toBe("the film<|im_end|>");
  });
  test("tools and tool calls reach the template; nulls of turns do not", () => {
    const withTools = makeTokenizer(trained.tokenizerJson, {
      ...trained.tokenizerConfigJson,
      chat_template:
        "{% if tools %}[{{ tools[0].name }}]{% endif %}{% for m in messages %}{{ m.role }}:{% if m.tool_calls is defined %}<{{ m.tool_calls[0].name }}>{% endif %}{{ m.content }};{% endfor %}" +
        "{% if add_generation_prompt %}assistant:{% endif %}",
    });
    const record = {
      prompt: [
        { role: "user", content: "film", name: null },
        { role: "assistant", tool_calls: [{ name: "seek" }] },
        { role: "tool", content: "a mess" },
      ],
      completion: [{ role: "assistant", content: "mess", tool_calls: null }],
      tools: [{ name: "find" }],
    };
    const { prompt, completions } = row(record, { tokenizer: withTools });
    expect(withTools.decode(prompt)).toBe("[find]user:film;assistant:<seek>;tool:a mess;assistant:");
    expect(withTools.decode(completions[0])).toBe("mess;<|im_end|>");
  });
  test("an answer that only calls a tool is one", () => {
    const calls = [{ type: "function", function: { name: "f", arguments: {} } }];
    const parsed = parseRecord({
      prompt: [{ role: "user", content: "q" }],
      chosen: [{ role: "assistant", tool_calls: calls }],
      rejected: [{ role: "assistant", content: "b" }],
    });
    expect("record" in parsed && parsed.record).toMatchObject({
      chosen: [{ content: "", tool_calls: calls }],
    });
  });
  test("steps follow one another, a line each; a prompt alone is asked", () => {
    const steps = row({
      prompt: "the film",
      completions: ["is a delight", "is a mess"],
      labels: [true, false],
    });
    expect(steps.completions.map(text)).toEqual(["is a delight\nis a mess<|im_end|>"]);
    const alone = row({ prompt: [{ role: "user", content: "hi" }] });
    expect([text(alone.prompt), alone.completions]).toEqual([
      "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n",
      [],
    ]);
  });
  test("raw ids are taken as they are", () => {
    const { prompt, completions } = row(
      { promptIds: [5, 6], chosenIds: [7], rejectedIds: [8, 2] },
      { tokenizer: undefined },
    );
    expect([prompt, completions]).toEqual([
      [5, 6],
      [[7], [8, 2]],
    ]);
  });
  const ids = { promptIds: [1, 2, 3, 4, 5, 6], chosenIds: [7, 8], rejectedIds: [9] };
  const cut = (maxLength: number, truncation: RowBuilder["limits"]["truncation"]) =>
    row(ids, { limits: { maxLength, truncation } });
  test("a row that is too long is an error by default, naming both lengths and the remedy", () => {
    expect(() => cut(7, "error")).toThrow("x.jsonl:4: the row has 8 tokens: at most 7 fit");
    expect(() => cut(7, "error")).toThrow("keep-end");
    expect(cut(8, "error").truncated).toBe(0);
  });
  test("truncation removes from the prompt first, from the side that was asked for, and counts", () => {
    expect(cut(5, "keep-end")).toMatchObject({ prompt: [4, 5, 6], completions: [[7, 8], [9]], truncated: 3 });
    expect(cut(5, "keep-start")).toMatchObject({
      prompt: [1, 2, 3],
      completions: [[7, 8], [9]],
      truncated: 3,
    });
    expect(cut(2, "keep-end")).toMatchObject({ prompt: [6], completions: [[7], [9]], truncated: 6 });
    expect(() => cut(1, "keep-end")).toThrow("a completion is empty after truncation");
  });
  test.each([
    [
      "an id beyond the vocabulary",
      { promptIds: [1], completionIds: [290] },
      {},
      "token id 290 does not exist: the model's vocabulary has 290 tokens",
    ],
    [
      "text without a tokenizer",
      { prompt: "a", completion: "b" },
      { tokenizer: undefined },
      "the model has no tokenizer",
    ],
  ])("refuses %s", (_, value, changes, message) => {
    expect(() => row(value, changes)).toThrow(message);
  });
  test("weights and soft labels come along", () => {
    expect(row({ ...ids, weight: 2, chosenProb: 0.6 } satisfies object as DataRecord).fields).toEqual({
      weight: 2,
      chosenProb: 0.6,
    });
  });
});
