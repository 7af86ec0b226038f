/** Conversion of files: nothing is left out unless that is asked for, and then it is counted; limits; kinds of files; broken rows. */
import { mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { random } from "../../engine/random.ts";
import { RequestError } from "../../errors.ts";
import { writeRows } from "../../formats/rows.ts";
import { loadRecords } from "../load-records.ts";
import { type ConvertOptions, convertFile } from "./convert.ts";
import { dataFormatNames } from "./table.ts";

let folder: string;
let count = 0;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "prefopt-"));
});
afterAll(() => rm(folder, { recursive: true }));

const user = (content: string) => ({ role: "user", content });
const assistant = (content: string) => ({ role: "assistant", content });
const pair = (n = 0) => ({
  prompt: [user(`question ${n}`)],
  chosen: [assistant(`good ${n}`)],
  rejected: [assistant(`bad ${n}`)],
});
const pairs = (n: number) => Array.from({ length: n }, (_, i) => pair(i));

async function file(rows: readonly object[], end = ".jsonl"): Promise<string> {
  const path = join(folder, `in-${count++}${end}`);
  await writeRows(path, rows as Record<string, unknown>[]);
  return path;
}

async function convert(
  rows: readonly object[] | string,
  options: ConvertOptions & { force?: boolean },
  end = ".jsonl",
) {
  const path = typeof rows === "string" ? rows : await file(rows);
  const out = join(folder, `out-${count++}${end}`);
  const result = await convertFile(path, out, options);
  return { ...result, path, out };
}

const rowsIn = async (path: string) =>
  (await readFile(path, "utf8"))
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, unknown>);

describe("what a format cannot carry", () => {
  const rich = [pair(0), { ...pair(1), chosenProb: 0.7, id: 4 }, { ...pair(2), chosenProb: 0.9 }];
  test("is an error that names field and line", async () => {
    await expect(convert(rich, { to: "trl" })).rejects.toThrow(
      /in-\d+\.jsonl:2: field "chosenProb" has no place in TRL\. Give --lossy/,
    );
  });
  test("is left out, counted and listed where that is asked for", async () => {
    const { lost, written, out } = await convert(rich, { to: "trl", lossy: true });
    expect(written).toBe(3);
    expect(lost).toMatchObject([{ what: "chosenProb", count: 2, first: { line: 2 } }]);
    expect(await rowsIn(out)).toEqual([pair(0), { ...pair(1), id: 4 }, pair(2)]);
  });
  test.each<[string, object, string, string]>([
    ["rationale", { prompt: "p", chosen: "a", rejected: "b", rationale: "r" }, "sagemaker", "rationale"],
    ["gold", { prompt: "p", gold: "g", chosen: "a", rejected: "b" }, "trl", "gold"],
    ["tools", { ...pair(), tools: [{ type: "function" }] }, "together", "tools"],
    ["a tie", { ...pair(), chosenProb: 0.5 }, "vertex", "chosenProb"],
    ["names of turns", { ...pair(), prompt: [{ ...user("q"), name: "Ann" }] }, "fireworks", "prompt.name"],
    ["weights", { ...pair(), weight: 2 }, "llama-factory-alpaca", "weight"],
    ["fine scores", { prompt: "p", completions: ["a", "b"], scores: [9.5, 2] }, "nectar", "scores"],
    ["columns that no record knows", { ...pair(), source: "web" }, "nova", "source"],
  ])("%s", async (_, record, to, field) => {
    await expect(convert([record], { to, limits: "warn" })).rejects.toThrow(`field "${field}`);
    const { lost } = await convert([record], { to, limits: "warn", lossy: true });
    expect(lost.map((note) => note.what.split(" ")[0])).toEqual([field]);
  });
  test("records without a form there are an error, or left out and counted", async () => {
    const mixed = [
      { prompt: "p", completion: "c", label: true },
      { promptIds: [1], completionIds: [2], label: false },
      { prompt: [user("a"), user("b")], completion: "c", label: true },
    ];
    await expect(convert(mixed, { to: "llama-factory-alpaca" })).rejects.toThrow(
      /:2: the record cannot be written as LLaMA-Factory alpaca: promptIds: token ids have no form here/,
    );
    const { leftOut, written } = await convert(mixed, { to: "llama-factory-alpaca", lossy: true });
    expect(written).toBe(1);
    expect(leftOut.map((n) => [n.count, n.first.line])).toEqual([
      [1, 2],
      [1, 3],
    ]);
    await expect(convert(mixed.slice(1), { to: "llama-factory-alpaca", lossy: true })).rejects.toThrow(
      "none of its records can be written as LLaMA-Factory alpaca",
    );
  });
  test("columns that no record knows go along where the format lets them", async () => {
    const { out, lost } = await convert([{ ...pair(), source: "web" }], { to: "trl" });
    expect(lost).toEqual([]);
    expect(await rowsIn(out)).toEqual([{ ...pair(), source: "web" }]);
  });
  test("but not where they would mean something else", async () => {
    const row = { ...pair(), input: "more" };
    await expect(convert([row], { to: "llama-factory-alpaca" })).rejects.toThrow('field "input"');
    const { out } = await convert([row], { to: "llama-factory-alpaca", lossy: true });
    expect(await rowsIn(out)).toEqual([
      { instruction: "question 0", input: "", chosen: "good 0", rejected: "bad 0" },
    ]);
  });
});

describe("kinds of records", () => {
  const list = {
    prompt: [user("q")],
    completions: ["a", "b", "c", "d"].map((text) => [assistant(text)]),
    scores: [2, 9, 1, 2],
  };
  test.each([
    ["best-worst", ["bc"]],
    ["best-each", ["ba", "bd", "bc"]],
    ["adjacent", ["ba", "dc"]], // a and d score alike
    ["all", ["ba", "bd", "bc", "ac", "dc"]],
  ])("lists become pairs: %s", async (policy, expected) => {
    const { out } = await convert([list], { to: "prefopt", pairs: policy });
    const made = (await rowsIn(out)) as { chosen: { content: string }[]; rejected: { content: string }[] }[];
    expect(made.map((p) => p.chosen[0].content + p.rejected[0].content)).toEqual(expected);
    expect(made[0]).toMatchObject({ chosenReward: 9 });
  });
  test("drawn pairs depend on the seed alone", async () => {
    const many = Array.from({ length: 40 }, () => list);
    const read = async (seed: number) =>
      readFile((await convert(many, { to: "prefopt", pairs: "best-random", seed })).out, "utf8");
    expect(await read(1)).toBe(await read(1));
    expect(await read(1)).not.toBe(await read(2));
  });
  test("lists need a policy, and lists of equal scores give no pair", async () => {
    await expect(convert([list], { to: "openai" })).rejects.toThrow("--pairs best-worst");
    await expect(convert([list], { to: "trl", pairs: "best-wurst" })).rejects.toThrow(
      "Did you mean best-worst?",
    );
    const even = { ...list, scores: [1, 1, 1, 1] };
    const { leftOut, written } = await convert([even, list], { to: "trl", pairs: "all", lossy: true });
    expect(written).toBe(5);
    expect(leftOut).toMatchObject([{ what: "lists whose scores do not differ give no pair", count: 1 }]);
  });
  test("pairs become single answers", async () => {
    const { out, written, changed } = await convert([pair()], { to: "axolotl-intel", unpaired: true });
    expect(written).toBe(2);
    expect(changed).toMatchObject([{ count: 1 }]);
    expect(await rowsIn(out)).toEqual([
      { question: "question 0", completion: "good 0", label: true },
      { question: "question 0", completion: "bad 0", label: false },
    ]);
  });
  test("transcripts become turns, and turns transcripts", async () => {
    const hh = {
      chosen: "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant: d",
      rejected: "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant: e",
    };
    const { out, changed, from } = await convert([hh], { to: "axolotl-chat-template" });
    expect(from.reason).toContain("transcripts");
    expect(changed).toMatchObject([{ what: "a transcript with Human and Assistant was written as turns" }]);
    expect(await rowsIn(out)).toEqual([
      { messages: [user("a"), assistant("b"), user("c")], chosen: assistant("d"), rejected: assistant("e") },
    ]);
    expect(await rowsIn((await convert(out, { to: "hh-rlhf" })).out)).toEqual([hh]);
  });
});

describe("files", () => {
  test("are never overwritten unasked, and appear whole or not at all", async () => {
    const path = await file(pairs(3));
    const out = join(folder, "kept.jsonl");
    await writeFile(out, "mine\n");
    await expect(convertFile(path, out, { to: "trl" })).rejects.toThrow("the file is there already");
    await expect(convertFile(path, out, { to: "openai", force: true })).rejects.toThrow(
      "at least 10 examples",
    );
    expect(await readFile(out, "utf8")).toBe("mine\n");
    await convertFile(path, out, { to: "trl", force: true });
    expect(await rowsIn(out)).toEqual(pairs(3));
    expect((await readdir(folder)).filter((name) => name.includes("partial"))).toEqual([]);
  });
  test.each([".jsonl", ".json", ".csv", ".tsv", ".parquet", ".jsonl.gz", ".csv.gz"])(
    "%s: every format whose records fit comes back as it was",
    async (end) => {
      const rows = pairs(12);
      const before = (await loadRecords(await file(rows))).records.map((r) => r.record);
      for (const to of dataFormatNames) {
        // Lists only, plain text only, prompts told by a system message, and votes that always have a score.
        if (
          [
            "ultrafeedback",
            "nectar",
            "axolotl-user-defined",
            "hh-rlhf",
            "axolotl-prompt-pairs",
            "ultrafeedback-binarized",
          ].includes(to)
        )
          continue;
        const { out, written } = await convert(rows, { to, limits: "warn" }, end);
        expect(written).toBe(12);
        const { records } = await loadRecords(out, { format: to });
        expect(
          records.map((r) => r.record),
          to,
        ).toEqual(before);
        if (["together", "fireworks", "sagemaker", "hh-rlhf-turns", "trl"].includes(to)) continue; // alike in form
        expect((await loadRecords(out)).format.name, to).toBe(to);
      }
    },
    60_000,
  );
  test("of mixed formats name both, at the first row that does not fit", async () => {
    const openai = {
      input: { messages: pair().prompt },
      preferred_output: pair().chosen,
      non_preferred_output: pair().rejected,
    };
    const rows = [...new Array<object>(40).fill(openai), pair()];
    await expect(convert(rows, { to: "trl" })).rejects.toThrow(
      /:41: field "input" cannot be used: it is missing; the row looks like prefopt records \(has prompt, chosen and rejected\), the file like OpenAI preference fine-tuning\. Keep rows of one format/,
    );
    const { skipped, written } = await convert(rows, { to: "trl", invalid: "skip" });
    expect([skipped.length, written]).toEqual([1, 40]);
  });
  test("a format that is named is taken, and its errors use its own words", async () => {
    await expect(convert(pairs(1), { from: "openai", to: "trl" })).rejects.toThrow(':1: field "input"');
    const equal = {
      input: { messages: pair().prompt },
      preferred_output: pair().chosen,
      non_preferred_output: pair().chosen,
    };
    await expect(convert([equal], { to: "trl" })).rejects.toThrow(
      'field "non_preferred_output" cannot be used: it equals',
    );
    await expect(convert(pairs(1), { from: "opnai", to: "trl" })).rejects.toThrow("Did you mean openai?");
  });
});

describe("limits of services", () => {
  const turns = (...roles: string[]) => roles.map((role) => ({ role, content: role }));
  test.each<[string, string, object[], string]>([
    ["openai", "few examples", pairs(9), "at least 10 examples: there are 9"],
    [
      "openai",
      "two turns",
      [...pairs(9), { ...pair(), chosen: turns("assistant", "assistant") }],
      ":10: OpenAI preference fine-tuning takes: each output is one turn of the assistant: preferred_output has 2 turns",
    ],
    ["openai", "roles", [...pairs(9), { ...pair(), prompt: turns("critic") }], "it has a turn of critic"],
    [
      "together",
      "roles",
      [{ ...pair(), prompt: turns("developer", "user") }],
      "roles of input.messages are system, user, assistant",
    ],
    ["fireworks", "few examples", pairs(2), "at least 3 examples"],
    [
      "vertex",
      "last turn",
      [{ ...pair(), prompt: turns("user", "assistant") }],
      "the last turn is not the user's",
    ],
    [
      "nova",
      "first turn",
      [{ ...pair(), prompt: turns("assistant", "user") }],
      "the first turn is of assistant",
    ],
    ["nova", "reserved words", [{ ...pair(), prompt: [user("User: hi")] }], "it has User:"],
  ])("%s: %s", async (to, _, rows, message) => {
    await expect(convert(rows, { to })).rejects.toThrow(message);
    const { warnings } = await convert(rows, { to, limits: "warn" });
    expect(warnings.join("\n")).toContain("https://");
  });
  test("advice is a warning", async () => {
    const { warnings } = await convert(pairs(2), { to: "nova" });
    expect(warnings).toEqual([
      expect.stringMatching(/recommends: at least 1,000 examples; there are 2 \(https:/),
    ]);
  });
  test("other kinds of files than JSON lines", async () => {
    await expect(convert(pairs(12), { to: "openai" }, ".csv")).rejects.toThrow("files are JSON lines");
  });
});

test("500 broken rows of every format: read or refused by name, never anything else", async () => {
  const whole: string[] = [];
  for (const to of dataFormatNames) {
    const lists = ["ultrafeedback", "nectar"].includes(to);
    const plain = ["nectar", "axolotl-user-defined", "hh-rlhf", "hh-rlhf-turns"].includes(to);
    const answer = (text: string) => (plain ? text : [assistant(text)]);
    const prompt = plain ? "q" : [{ role: "system", content: "s" }, user("q")];
    const rows = lists
      ? [{ prompt, completions: [answer("a"), answer("b")], scores: [2, 1] }]
      : [{ prompt, chosen: answer("a"), rejected: answer("b") }];
    whole.push(await readFile((await convert(rows, { to, limits: "warn", lossy: true })).out, "utf8"));
  }
  const pieces = [
    "null",
    "[]",
    "{}",
    "true",
    '""',
    "-1",
    "1e400",
    "NaN",
    '"\\ud800"',
    "[[[[[[]]]]]]",
    '{"role": 1}',
    '"x"',
    "[{}]",
  ];
  let [read, refused] = [0, 0];
  for (let seed = 0; seed < 500; seed++) {
    const rng = random(seed, "formats");
    let text = whole[seed % whole.length];
    for (let k = 0; k <= rng.integer(3); k++) {
      const at = rng.integer(text.length);
      const values = [...text.matchAll(/"[^"]*"|\[|\{|\d+/g)];
      const { index, 0: value } = values[rng.integer(values.length)];
      text = [
        () => text.slice(0, at) + text.slice(at + 1 + rng.integer(12)), // a part removed
        () => text.slice(0, index) + pieces[rng.integer(pieces.length)] + text.slice(index + value.length), // another value
        () => text.slice(0, at) + '{}[]",:\n0'[rng.integer(9)] + text.slice(at + 1), // signs of JSON
        () => text.slice(0, index) + '"'.repeat(2) + text.slice(index + value.length), // emptied
      ][rng.integer(4)]();
    }
    const path = join(folder, "broken.jsonl");
    await writeFile(path, text);
    try {
      const to = seed % 2 ? "prefopt" : dataFormatNames[rng.integer(dataFormatNames.length)];
      await convertFile(path, join(folder, "broken-out.jsonl"), {
        to,
        force: true,
        lossy: true,
        limits: "warn",
        pairs: "all",
      });
      read++;
    } catch (error) {
      expect(error, `seed ${seed}: ${text}`).toBeInstanceOf(RequestError);
      expect((error as RequestError).message, text).not.toMatch(/undefined|\[object/);
      refused++;
    }
  }
  expect(refused).toBeGreaterThan(150);
  expect(read).toBeGreaterThan(20);
}, 60_000);
