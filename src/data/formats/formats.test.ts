/** Formats of others: rows as their documentation shows them are read and recognised, and records come back as they were. */
import { describe, expect, test } from "vitest";
import { parseRecord } from "../records.ts";
import { detectFormat } from "./detect.ts";
import { Fields } from "./fields.ts";
import type { DataFormat } from "./format.ts";
import { interpret } from "./interpret.ts";
import { Notes } from "./notes.ts";
import { portable } from "./portable.ts";
import { type DataFormatName, dataFormatNames, dataFormats } from "./table.ts";

const user = (content: string) => ({ role: "user", content });
const assistant = (content: string) => ({ role: "assistant", content });
const system = (content: string) => ({ role: "system", content });
const human = (value: string) => ({ from: "human", value });
const gpt = (value: string) => ({ from: "gpt", value });

const q = [user("What is the capital of France?")];
const good = [assistant("Paris.")];
const bad = [assistant("Rome.")];
const pair = { prompt: q, chosen: good, rejected: bad };
const briefed = { ...pair, prompt: [system("Be brief."), ...q] };
const long = { ...pair, prompt: [system("Be brief."), user("Hi"), assistant("Hello."), ...q] };
const tool = {
  type: "function",
  function: { name: "look_up", parameters: { type: "object", properties: {} } },
};
const calling = {
  prompt: [...q],
  chosen: [
    {
      role: "assistant",
      content: "",
      tool_calls: [{ type: "function", function: { name: "look_up", arguments: { q: "x" } } }],
    },
  ],
  rejected: bad,
  tools: [tool],
};
const verdict = { prompt: q, completion: good, label: true };
const text = { prompt: "The film is", chosen: " a delight.", rejected: " a mess." };
const list = { prompt: q, completions: [good, bad, [assistant("Lyon.")]], scores: [4.5, 1, 2] };
const textList = { prompt: "Name one.", completions: ["a", "b", "c"], scores: [2, 0, 1] };

/** Rows as documentation shows them, what they are recognised as, and the records that they hold. */
const rows: readonly [DataFormatName, string, object, object, seen?: DataFormatName][] = [
  [
    "openai",
    "has input.messages, preferred_output and non_preferred_output",
    {
      input: { messages: q, tools: [], parallel_tool_calls: true },
      preferred_output: good,
      non_preferred_output: bad,
    },
    pair,
  ],
  [
    "openai",
    "has input.messages",
    {
      input: {
        messages: [
          {
            role: "user",
            content: [
              { type: "text", text: "What is" },
              { type: "text", text: " it?" },
            ],
          },
        ],
        tools: [tool],
      },
      preferred_output: good,
      non_preferred_output: bad,
    },
    { ...pair, prompt: [user("What is it?")], tools: [tool] },
  ],
  [
    "vertex",
    "has contents and completions",
    {
      system_instruction: { parts: [{ text: "Be brief." }] },
      contents: [{ role: "user", parts: [{ text: q[0].content }] }],
      completions: [
        { score: 0, completion: { role: "model", parts: [{ text: "Rome." }] } },
        { score: 1, completion: { role: "model", parts: [{ text: "Paris." }] } },
      ],
    },
    briefed,
  ],
  [
    "nova",
    "has messages and candidates",
    {
      schemaVersion: "bedrock-conversation-2024",
      system: [{ text: "Be brief." }],
      messages: [
        { role: "user", content: [{ text: q[0].content }] },
        {
          role: "assistant",
          candidates: [
            { content: [{ text: "Paris." }], preferenceLabel: "preferred" },
            { content: [{ text: "Rome." }], preferenceLabel: "non-preferred" },
          ],
        },
      ],
    },
    briefed,
  ],
  [
    "llama-factory-alpaca",
    "has instruction, chosen and rejected",
    { instruction: "Translate.", input: "Hallo", chosen: "Hello", rejected: "Bye" },
    { prompt: [user("Translate.\nHallo")], chosen: [assistant("Hello")], rejected: [assistant("Bye")] },
  ],
  [
    "llama-factory-alpaca",
    "has instruction, output and kto_tag",
    { instruction: "Hi", input: "", output: "Hello", kto_tag: false, history: [["a", "b"]], system: "S" },
    {
      prompt: [system("S"), user("a"), assistant("b"), user("Hi")],
      completion: [assistant("Hello")],
      label: false,
    },
  ],
  [
    "llama-factory-sharegpt",
    "has conversations, chosen and rejected",
    {
      conversations: [human("Hi"), gpt("Hello."), human(q[0].content)],
      chosen: gpt("Paris."),
      rejected: gpt("Rome."),
      system: "Be brief.",
    },
    long,
  ],
  [
    "llama-factory-sharegpt",
    "has conversations and kto_tag",
    {
      conversations: [
        human("Hi"),
        { from: "function_call", value: '{"name": "look_up", "arguments": {"q": 1}}' },
        { from: "observation", value: "42" },
        gpt("It is 42."),
      ],
      kto_tag: true,
      tools: JSON.stringify([tool]),
    },
    {
      prompt: [
        user("Hi"),
        {
          role: "assistant",
          content: "",
          tool_calls: [{ type: "function", function: { name: "look_up", arguments: { q: 1 } } }],
        },
        { role: "tool", content: "42" },
      ],
      completion: [assistant("It is 42.")],
      label: true,
      tools: [tool],
    },
  ],
  [
    "axolotl-intel",
    "has question, chosen and rejected",
    { system: "Be brief.", question: q[0].content, chosen: "Paris.", rejected: "Rome." },
    briefed,
  ],
  [
    "axolotl-intel",
    "has question, completion and label",
    { question: q[0].content, completion: "Paris.", label: true },
    verdict,
  ],
  [
    "axolotl-icr",
    "has input, chosen and rejected",
    { input: q[0].content, chosen: "Paris.", rejected: "Rome." },
    pair,
  ],
  [
    "axolotl-prompt-pairs",
    "has prompt, chosen and rejected",
    { system: "Be brief.", prompt: q[0].content, chosen: "Paris.", rejected: "Rome." },
    briefed,
  ],
  [
    "axolotl-argilla",
    "has instruction, chosen_response and rejected_response",
    { instruction: q[0].content, chosen_response: "Paris.", rejected_response: "Rome." },
    pair,
  ],
  [
    "axolotl-ultra",
    "the latter two repeating the prompt",
    { prompt: q[0].content, chosen: [...q, ...good], rejected: [...q, ...bad] },
    pair,
  ],
  [
    "axolotl-chat-template",
    "has messages, chosen and rejected",
    { messages: long.prompt, chosen: good[0], rejected: bad[0] },
    long,
  ],
  [
    "ultrafeedback-binarized",
    "score_chosen and score_rejected",
    {
      prompt: q[0].content,
      prompt_id: "f00",
      chosen: [...q, ...good],
      rejected: [...q, ...bad],
      messages: [...q, ...good],
      score_chosen: 8.5,
      score_rejected: 5,
    },
    { ...pair, chosenReward: 8.5, rejectedReward: 5, id: "f00" },
  ],
  [
    "ultrafeedback",
    "has instruction and completions with responses",
    {
      instruction: q[0].content,
      completions: [
        { response: "Paris.", overall_score: 9 },
        { response: "Rome.", overall_score: 1 },
      ],
    },
    { prompt: q, completions: [good, bad], scores: [9, 1] },
  ],
  [
    "ultrafeedback",
    "has instruction, generations and ratings",
    { instruction: q[0].content, generations: ["Paris.", "Rome."], ratings: ["5", 1] },
    { prompt: q, completions: [good, bad], scores: [5, 1] },
  ],
  [
    "nectar",
    "has prompt and answers with ranks",
    {
      prompt: "p",
      answers: [
        { answer: "b", rank: 2 },
        { answer: "a", rank: 1 },
      ],
    },
    { prompt: "p", completions: ["b", "a"], scores: [-2, -1] },
  ],
  [
    "arena",
    "has conversation_a, conversation_b and winner",
    { question_id: "x1", winner: "model_b", conversation_a: [...q, ...bad], conversation_b: [...q, ...good] },
    { ...pair, id: "x1" },
  ],
  [
    "arena",
    "has conversation_a, conversation_b and winner",
    { winner: "tie (bothbad)", conversation_a: [...q, ...bad], conversation_b: [...q, ...good] },
    { prompt: q, chosen: bad, rejected: good, chosenProb: 0.5 },
  ],
  [
    "arena",
    "has response_a, response_b and winner_model_a",
    {
      id: 7,
      prompt: [q[0].content],
      response_a: ["Paris."],
      response_b: ["Rome."],
      winner_model_a: 0,
      winner_model_b: 0,
      winner_tie: 1,
    },
    { ...pair, chosenProb: 0.5, id: 7 },
  ],
  [
    "hh-rlhf",
    "as transcripts of Human and Assistant",
    { chosen: "\n\nHuman: Hi\n\nAssistant: Hello", rejected: "\n\nHuman: Hi\n\nAssistant: Go away" },
    { prompt: "\n\nHuman: Hi\n\nAssistant:", chosen: " Hello", rejected: " Go away" },
  ],
  [
    "trl",
    "has chosen and rejected as text without a prompt",
    { chosen: "The sky is blue.", rejected: "The sky is green." },
    { prompt: "The sky is", chosen: " blue.", rejected: " green." },
  ],
  [
    "label-studio",
    "has data and annotations",
    {
      id: 3,
      data: { prompt: "p", answer1: "a", answer2: "b" },
      annotations: [
        {
          id: 1,
          completed_by: 2,
          result: [
            { from_name: "pw", to_name: "answer1,answer2", type: "pairwise", value: { selected: "right" } },
          ],
        },
      ],
    },
    { prompt: "p", chosen: "b", rejected: "a", id: 3 },
  ],
  [
    "label-studio",
    "has data and annotations",
    {
      data: {
        question: "p",
        items: [
          { id: "x", body: "a" },
          { id: "y", body: "b" },
          { id: "z", body: "c" },
        ],
      },
      annotations: [
        { was_cancelled: true, result: [] },
        {
          result: [
            {
              from_name: "rank",
              to_name: "items",
              type: "ranker",
              value: { ranker: { rank: ["z", "x", "y"] } },
            },
          ],
        },
      ],
    },
    { prompt: "p", completions: ["a", "b", "c"], scores: [1, 0, 2] },
  ],
  [
    "argilla",
    "has fields and responses",
    {
      id: "r1",
      status: "completed",
      fields: { instruction: "p", reply_1: "a", reply_2: "b" },
      metadata: {},
      suggestions: {},
      responses: {
        ranking: [
          { value: ["reply_2", "reply_1"], user_id: "u1" },
          { value: ["reply_2", "reply_1"], user_id: "u2" },
          { value: ["reply_1", "reply_2"], user_id: "u3" },
          { value: ["reply_1", "reply_2"], user_id: "u4", status: "discarded" },
        ],
      },
    },
    { prompt: "p", chosen: "b", rejected: "a", chosenProb: 2 / 3, id: "r1" },
  ],
  [
    "argilla",
    "has ranking.responses",
    {
      prompt: "p",
      reply_1: "a",
      reply_2: "b",
      "ranking.responses": [["reply_1", "reply_2"]],
      "ranking.responses.users": ["u"],
      "ranking.responses.status": ["submitted"],
    },
    { prompt: "p", chosen: "a", rejected: "b" },
  ],
  [
    "argilla",
    "has reply-ranking with rankings of users",
    {
      prompt: "p",
      reply_1: "a",
      reply_2: "b",
      reply_3: "c",
      "reply-ranking": [
        {
          user_id: "u",
          value: { rank: [1, 1, 3], value: ["reply_2", "reply_3", "reply_1"] },
          status: "submitted",
        },
      ],
    },
    { prompt: "p", completions: ["a", "b", "c"], scores: [0, 1, 1] },
  ],
  ["sagemaker", "has prompt, chosen and rejected", text, text, "prefopt"],
  [
    "together",
    "has input.messages",
    { input: { messages: q }, preferred_output: good, non_preferred_output: bad },
    pair,
    "openai",
  ],
  [
    "fireworks",
    "has input.messages",
    { input: { messages: q }, preferred_output: good, non_preferred_output: bad },
    pair,
    "openai",
  ],
  ["axolotl-user-defined", "has prompt, chosen and rejected", text, text, "prefopt"],
  [
    "hh-rlhf-turns",
    "as transcripts",
    { chosen: "\n\nHuman: Hi\n\nAssistant: Hello", rejected: "\n\nHuman: Hi\n\nAssistant: Go away" },
    { prompt: [user("Hi")], chosen: [assistant("Hello")], rejected: [assistant("Go away")] },
    "hh-rlhf",
  ],
  ["prefopt", "has prompt, chosen and rejected", { ...text, chosenProb: 0.7 }, { ...text, chosenProb: 0.7 }],
];

describe("rows of others", () => {
  test.each(rows)("%s: %s", (name, reason, row, record, seen = name) => {
    const detected = detectFormat([row]);
    expect(detected.name).toBe(seen);
    expect(detected.reason).toContain(reason);
    const { parsed, rest, unread } = interpret(row, { format: name, cells: false });
    expect(parsed).toHaveLength(1);
    const expected = parseRecord(record);
    expect("record" in expected).toBe(true);
    expect(parsed[0]).toEqual(expected);
    expect([rest, unread]).toEqual([{}, []]);
  });
  test("every format is among them", () => {
    expect(new Set(rows.map(([name]) => name))).toEqual(new Set(dataFormatNames));
  });
});

/** Records that each format carries whole. */
const carried: Readonly<Record<DataFormatName, readonly object[]>> = {
  openai: [pair, briefed, long, calling],
  together: [pair, briefed, long],
  fireworks: [pair, briefed, long],
  vertex: [pair, briefed, long],
  nova: [pair, briefed, long],
  sagemaker: [pair, long, text],
  "label-studio": [text, { ...long, id: 5 }, textList],
  argilla: [text, { ...long, id: "a1" }, textList, { ...list, scores: [2, 0, 1] }],
  arena: [pair, long, { ...briefed, chosenProb: 0.5, id: "q1" }],
  "ultrafeedback-binarized": [{ ...pair, chosenReward: 8, rejectedReward: 2, id: "x" }],
  ultrafeedback: [list, { ...list, id: "l" }],
  nectar: [{ prompt: "p", completions: ["a", "b", "c"], scores: [-1, -3, -2] }],
  "hh-rlhf": [{ prompt: "\n\nHuman: Hi\n\nAssistant:", chosen: " Hello", rejected: " Go away" }],
  "hh-rlhf-turns": [pair, { ...pair, prompt: [user("Hi"), assistant("Hello."), ...q] }],
  "llama-factory-alpaca": [pair, briefed, { ...long, id: 9 }, verdict, { prompt: q, completion: good }],
  "llama-factory-sharegpt": [
    pair,
    briefed,
    { ...long, id: 9 },
    verdict,
    calling,
    { messages: [...long.prompt, ...good] },
  ],
  "axolotl-argilla": [pair, briefed, { ...verdict, id: "v" }],
  "axolotl-intel": [pair, briefed, verdict],
  "axolotl-icr": [pair, briefed, verdict],
  "axolotl-prompt-pairs": [briefed, verdict],
  "axolotl-ultra": [pair, { ...briefed, id: 1 }],
  "axolotl-chat-template": [pair, long],
  "axolotl-user-defined": [text, { prompt: "p", completion: "c", label: false }],
  trl: [
    text,
    { ...pair, margin: 0.5 },
    calling,
    verdict,
    { prompt: "p", completion: "c", label: false },
    { prompt: q, completion: good },
    { prompt: "p", completion: "c" },
    { text: "t" },
    { messages: [...q, ...good], tools: [tool] },
    { prompt: "p" },
    { prompt: q },
    { chosen: [...q, ...good], rejected: [...q, ...bad] },
    { prompt: "p", completions: ["a", "b"], labels: [true, false] },
  ],
  prefopt: [
    text,
    { ...calling, chosenProb: 0.6, weight: 2, id: 3, margin: 1 },
    list,
    { prompt: "p", gold: "g", chosen: "a", rejected: "b" },
    { promptIds: [1], chosenIds: [2], rejectedIds: [3] },
    { prompt: "p", chosen: "a", rejected: "b", rationale: "r" },
    { forget: { prompt: "p", completion: "c" }, idk: "no" },
    { chosen: { instruction: "i", response: "r" }, rejected: { instruction: "j", response: "s" } },
  ],
};

describe("record, row, record", () => {
  const cases = dataFormatNames.flatMap((name) =>
    carried[name].map((record, i): [string, DataFormatName, object] => [`${name} ${i}`, name, record]),
  );
  test.each(cases)("%s", (_, name, value) => {
    const parsed = parseRecord(value);
    if ("problem" in parsed) throw new Error(`${parsed.problem.field} ${parsed.problem.why}`);
    const format: DataFormat = dataFormats[name];
    const notes = new Notes();
    const [given] = portable(parsed.record, notes, { writer: format.writer, line: 1 });
    const fields = new Fields(given);
    const row = format.writer.write(fields, notes);
    expect([fields.rest(), fields.unreadInside(), notes.lost, notes.changed]).toEqual([{}, [], [], []]);
    const back = interpret(JSON.parse(JSON.stringify(row)), { format: name, cells: false });
    expect([back.rest, back.unread]).toEqual([{}, []]);
    const [again] = back.parsed;
    if ("problem" in again) throw new Error(`${again.problem.field} ${again.problem.why}`);
    // A conversation whose last turn is learned may come back with its prompt apart.
    const [same] = portable(again.record, new Notes(), { writer: format.writer, line: 1 });
    expect(same).toEqual(given);
    if (name !== "llama-factory-sharegpt") expect(again.record).toEqual(parsed.record);
    for (const limit of format.limits ?? []) expect(limit.row?.(row), limit.what).toBeUndefined();
  });
});
