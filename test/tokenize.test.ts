/** `prefopt tokenize` against other implementations: every expected value of every tokenizer that is here, line by line. */
import { cp, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Expected, expectedOf, families, installed } from "../src/text/testing.ts";
import { jsonLines, prefopt, root } from "./command.ts";
import { sharedFile, smolLm2 } from "./shared.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "prefopt-tokenize-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const lines = (values: readonly object[]) => values.map((v) => `${JSON.stringify(v)}\n`).join("");

async function expectAll(model: string, { tokenization, chat }: Expected): Promise<void> {
  const conversations = chat ?? [];
  const input = lines([
    ...tokenization.map(({ text }) => ({ text })),
    ...tokenization.map(({ text }) => ({ text, addSpecialTokens: true })),
    ...conversations.map(({ messages, tools, addGenerationPrompt }) => ({
      messages,
      tools,
      addGenerationPrompt,
    })),
  ]);
  const { status, stdout, stderr } = await prefopt(["tokenize", model], { input });
  expect(stderr).toBe("");
  expect(status).toBe(0);
  const given = jsonLines(stdout);
  const plain = tokenization.map(({ ids, offsets, decoded }) => ({ ids, offsets, decoded }));
  expect(given.slice(0, plain.length)).toEqual(plain);
  tokenization.forEach(({ ids, idsWithSpecialTokens = ids }, i) => {
    expect(given[plain.length + i]).toMatchObject({ ids: idsWithSpecialTokens });
  });
  conversations.forEach(({ text, ids }, i) => {
    expect(given[2 * plain.length + i]).toMatchObject({ text, ids, decoded: text });
  });
  expect(given).toHaveLength(2 * plain.length + conversations.length);
}

describe("expected values", () => {
  test.each(families)("%s", async (name) => {
    const found = await installed(name);
    if (!found) return; // which has been said
    await expectAll(found.folder, found.expected);
  });
  const smol = sharedFile(smolLm2);
  test.skipIf(!smol)("SmolLM2's GGUF file", async () => expectAll(smol ?? "", await expectedOf("smollm2")));
});

describe("prefopt tokenize", () => {
  const own = join(root, "assets/reviews");
  test("needs only the tokenizer's files", async () => {
    for (const name of ["tokenizer.json", "tokenizer_config.json"])
      await cp(join(own, name), join(folder, name));
    const { stdout } = await prefopt(["tokenize", folder], { input: lines([{ text: "a 😀" }]) });
    const [{ ids, offsets, decoded }] = jsonLines(stdout) as {
      ids: number[];
      offsets: number[][];
      decoded: string;
    }[];
    expect(decoded).toBe("a 😀");
    expect(ids).toHaveLength(offsets.length);
    expect(offsets.at(-1)).toEqual([2, 4]);
  });
  test("passes tools, documents and variables to the template", async () => {
    const template = "{{ tools[0].name }} {{ documents[0] }} {{ mood }} {{ messages[0].name }}";
    await writeFile(join(folder, "chat_template.jinja"), template);
    const line = {
      messages: [{ role: "user", content: "Hi", name: "Ann" }],
      tools: [{ name: "look" }],
      documents: ["On tea"],
      variables: { mood: "calm" },
    };
    const { stdout } = await prefopt(["tokenize", folder], { input: lines([line]) });
    expect(jsonLines(stdout)).toMatchObject([{ text: "look On tea calm Ann" }]);
  });
  test.each([
    [
      "neither text nor messages",
      { txt: "a" },
      "standard input:2: cannot be tokenized: it has neither text nor messages",
    ],
    ["both", { text: "a", messages: [] }, "it has both text and messages"],
    [
      "an unknown key",
      { text: "a", addSpecialToken: true },
      'unknown key "addSpecialToken". Did you mean addSpecialTokens?',
    ],
    ["text that is none", { text: 1 }, '"text": '],
    ["no messages", { messages: [] }, '"messages": '],
    ["a message without a role", { messages: [{ content: "a" }] }, '"messages.0.role"'],
  ])("%s: an error with its line", async (_, line, reason) => {
    const { status, stdout, stderr } = await prefopt(["tokenize", own], {
      input: lines([{ text: "good" }, line]),
    });
    expect([status, stderr.trim().split("\n").length]).toEqual([2, 1]);
    expect(stderr).toContain(reason);
    expect(jsonLines(stdout)).toHaveLength(1); // the good line was answered
  });
  test("a template that refuses names the line", async () => {
    await writeFile(join(folder, "chat_template.jinja"), "{{ raise_exception('no system role') }}");
    const { status, stderr } = await prefopt(["tokenize", folder], {
      input: lines([{ messages: [{ role: "system", content: "x" }] }]),
    });
    expect(status).toBe(2);
    expect(stderr).toContain("standard input:1: the chat template refuses the conversation: no system role");
  });
  test("without a tokenizer there is an error that says so", async () => {
    const gguf = join(root, "test/fixtures/models/gguf/llama3.gguf");
    for (const [model, part] of [
      [gguf, "llama3.gguf: the file has no tokenizer"],
      ["nowhere", "nowhere: there is no tokenizer.json"],
    ]) {
      const { status, stderr } = await prefopt(["tokenize", model], { input: lines([{ text: "a" }]) });
      expect(status).toBe(2);
      expect(stderr).toContain(part);
    }
  });
});
