/** Each check on data with a planted problem, which it finds, counts and places; and on data without it, where it is silent. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { random } from "../../engine/random.ts";
import { trainByteLevelBpe } from "../../text/bpe-trainer.ts";
import { chatMl } from "../../text/chatml.ts";
import { type Tokenizer, makeTokenizer } from "../../text/tokenizer.ts";
import type { RowBuilder } from "../rows.ts";
import type { Check } from "./check.ts";
import { NearDuplicates } from "./near-duplicates.ts";
import { checkPage } from "./page.ts";
import { type CheckOptions, checkData } from "./run-checks.ts";
import { interval, quantile } from "./statistics.ts";
import { lint } from "./template-lint.ts";

let folder: string;
let count = 0;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "prefopt-"));
});
afterAll(() => rm(folder, { recursive: true }));

const vocabulary =
  "film plot actor scene music light ending story camera voice comedy drama winter house river city".split(
    " ",
  );
const trained = trainByteLevelBpe([vocabulary.join(" "), "good bad Qalpha Aalpha user assistant"], {
  vocabularySize: 330,
  specialTokens: ["<b>", "<|im_start|>", "<|im_end|>"],
  beginToken: "<b>",
  endToken: "<|im_end|>",
});
const withTemplate = (template?: string): Tokenizer =>
  makeTokenizer(trained.tokenizerJson, {
    ...trained.tokenizerConfigJson,
    ...(template !== undefined && { chat_template: template }),
  });
const builder = (tokenizer?: Tokenizer): RowBuilder => ({
  tokenizer,
  vocabularySize: 330,
  endIds: [2],
  limits: { maxLength: 2048, truncation: "error" },
});

/** Sentences of random words, none like another. */
function writer(seed: number) {
  const rng = random(seed, "sentences");
  return (words: number) =>
    Array.from({ length: words }, () => vocabulary[rng.integer(vocabulary.length)]).join(" ");
}
/** Pairs in which nothing is wrong: answers of alike words and lengths, preferred by the toss of a coin. */
function pairs(n: number, seed = 1): { prompt: string; chosen: string; rejected: string }[] {
  const say = writer(seed);
  const rng = random(seed, "lengths");
  return Array.from({ length: n }, (_, i) => ({
    prompt: `${say(24)} ${i}`,
    chosen: ` ${say(10 + rng.integer(10))}`,
    rejected: ` ${say(10 + rng.integer(10))}`,
  }));
}

async function file(rows: readonly object[]): Promise<string> {
  const path = join(folder, `data-${count++}.jsonl`);
  await writeFile(path, rows.map((row) => JSON.stringify(row)).join("\n"));
  return path;
}

async function check(
  rows: readonly object[],
  options: Partial<CheckOptions> & { held?: readonly object[] } = {},
) {
  const { held, ...rest } = options;
  const against = held && (await file(held));
  const report = await checkData(await file(rows), {
    builder: builder(),
    ...(against && { against }),
    ...rest,
  });
  return (id: string) => {
    const found = report.checks.find((c) => c.id === id);
    if (!found) throw new Error(`no check ${id}`);
    return found;
  };
}

const lines = (examples: readonly { at: string }[]) => examples.map(({ at }) => Number(at.split(":").at(-1)));

describe("data in which nothing is wrong", () => {
  test("gives no finding", async () => {
    const of = await check(pairs(400), { builder: builder(withTemplate(chatMl)), held: pairs(50, 2) });
    for (const id of [
      "unusable",
      "fields",
      "duplicates",
      "leakage",
      "equal-sides",
      "length",
      "separable",
      "noise",
      "tokens",
      "special-tokens",
    ]) {
      expect(of(id).findings, id).toEqual([]);
      expect(of(id).status, id).toBe("ok");
    }
    expect(of("separable").numbers["probe accuracy"]).toBeGreaterThan(0.38);
    expect(of("separable").numbers["probe accuracy"]).toBeLessThan(0.62);
  });
  test("questions that cannot be asked say why", async () => {
    const of = await check([{ prompt: "p", completion: "c" }]);
    const why = [
      "leakage",
      "equal-sides",
      "length",
      "separable",
      "noise",
      "tokens",
      "special-tokens",
      "template",
    ].map((id) => [of(id).status, of(id).leftOut]);
    for (const [status, leftOut] of why) expect([status, typeof leftOut]).toEqual(["left out", "string"]);
  });
});

describe("planted problems", () => {
  test("records that cannot be used", async () => {
    const of = await check([
      ...pairs(3),
      { prompt: "p", chosen: "a" },
      { prompt: "p", chosen: "", rejected: "b" },
    ]);
    const [finding] = of("unusable").findings;
    expect([finding.severity, finding.count, finding.of]).toEqual(["error", 2, 5]);
    expect(lines(finding.examples)).toEqual([4, 5]);
  });
  test("duplicates: word for word, normalised, nearly", async () => {
    const rows = pairs(40);
    const changed = { ...rows[2], chosen: rows[2].chosen.replace(/ \S+$/, " otherwise") };
    const of = await check([
      ...rows,
      rows[0],
      { ...rows[1], chosen: rows[1].chosen.toUpperCase() + "!" },
      changed,
    ]);
    expect(of("duplicates").numbers).toMatchObject({ exact: 1, normalised: 1, near: 1 });
    expect(of("duplicates").findings.map((f) => lines(f.examples))).toEqual([[41], [42], [43]]);
    expect(of("duplicates").findings[0].examples[0].text).toContain("like line 1");
  });
  test("leakage: whole records, near ones, prompts", async () => {
    const rows = pairs(60);
    const held = [
      { ...rows[7], prompt: rows[7].prompt.toUpperCase() },
      { ...rows[8], chosen: rows[8].chosen.replace(/ \S+$/, " otherwise") },
      { ...pairs(1, 9)[0], prompt: rows[9].prompt },
      ...pairs(10, 5),
    ];
    const of = await check(rows, { held });
    expect(of("leakage").numbers).toEqual({ held: 13, whole: 1, near: 1, prompts: 3 });
    expect(of("leakage").findings.map((f) => f.severity)).toEqual(["error", "warning", "warning"]);
  });
  test("equal sides: as written, normalised, as tokens after truncation", async () => {
    const begin = " " + writer(3)(40);
    const rows = [
      ...pairs(5),
      { prompt: "a b", chosen: "same", rejected: "same" },
      { prompt: "c d", chosen: "same", rejected: " Same." },
      { prompt: "e f", chosen: `${begin} good`, rejected: `${begin} bad` },
    ];
    const limits = { maxLength: 30, truncation: "keep-end" } as const;
    const of = await check(rows, { builder: { ...builder(withTemplate()), limits } });
    expect(of("equal-sides").numbers).toEqual({ pairs: 8, written: 1, normalised: 1, tokens: 1 });
    expect(of("equal-sides").findings.map((f) => [f.severity, ...lines(f.examples)])).toEqual([
      ["error", 6],
      ["warning", 7],
      ["error", 8],
    ]);
  });
  test.each([
    [9, "longer"],
    [-9, "shorter"],
  ])("length bias, %d words", async (more, word) => {
    const say = writer(4);
    const rows = pairs(300).map((row, i) => ({
      ...row,
      chosen: ` ${say(i % 10 === 0 ? 12 : 12 + more)}`,
      rejected: ` ${say(i % 10 === 0 ? 12 + more : 12)}`,
    }));
    const of = await check(rows);
    const { numbers, findings } = of("length");
    expect(numbers["choose the longer, accuracy"]).toBeCloseTo(more > 0 ? 0.9 : 0.1);
    expect(findings[0].severity).toBe("warning");
    expect(findings[0].title).toMatch(
      new RegExp(
        `^choosing the ${word} answer is right in 270 of 300 pairs \\(90 %\\), 95 %: 86\\.\\d % to 9\\d\\.\\d %$`,
      ),
    );
  });
  test("pairs that a phrase gives away", async () => {
    const rows = pairs(300).map((row) => ({
      ...row,
      chosen: `${row.chosen} certainly`,
      rejected: `Sorry${row.rejected}`,
    }));
    const { findings, numbers } = (await check(rows))("separable");
    expect(numbers["probe accuracy"]).toBeGreaterThan(0.99);
    expect(findings[0].severity).toBe("error");
    expect(findings[0].why).toMatch(/For an answer: certainly.*Against: sorry/);
  });
  test("labels: contradictions, and what a probe doubts", async () => {
    const rows = pairs(600).map((row, i) => {
      const flipped = i % 20 === 0;
      const [a, b] = [`${row.chosen} good`, `${row.rejected} bad`];
      return { ...row, chosen: flipped ? b : a, rejected: flipped ? a : b };
    });
    const swapped = { ...rows[3], chosen: rows[3].rejected, rejected: rows[3].chosen };
    const { findings, numbers } = (await check([...rows, swapped]))("noise");
    expect(numbers.contradictions).toBe(1);
    expect(findings[0].examples[0]).toMatchObject({
      at: expect.stringMatching(/:601$/) as string,
      text: expect.stringContaining("line 4") as string,
    });
    // 31 of 601 are flipped.
    expect(numbers["estimated noise"]).toBeGreaterThan(0.03);
    expect(numbers["estimated noise"]).toBeLessThan(0.08);
    expect(lines(findings[1].examples).every((line) => line % 20 === 1)).toBe(true);
  });
  test("verdicts that contradict each other", async () => {
    const { numbers } = (
      await check([
        { prompt: "p", completion: "c", label: true },
        { prompt: "P", completion: "c.", label: false },
      ])
    )("noise");
    expect(numbers.contradictions).toBe(1);
  });
  test("rows that are too long, records without tokens, unknown tokens", async () => {
    const rows = [
      ...pairs(4),
      { ...pairs(1)[0], prompt: writer(1)(300) },
      { promptIds: [999], chosenIds: [1], rejectedIds: [2] },
    ];
    const limits = { maxLength: 250, truncation: "error" } as const;
    const { findings, numbers } = (await check(rows, { builder: { ...builder(withTemplate()), limits } }))(
      "tokens",
    );
    expect(findings.map((f) => [f.severity, f.count, ...lines(f.examples)])).toEqual([
      ["error", 1, 6],
      ["error", 1, 5],
    ]);
    expect(numbers["row longest"]).toBeGreaterThan(250);
    expect(numbers["prompt median"]).toBeLessThan(250);
  });
  test("special tokens in texts", async () => {
    const rows = [
      ...pairs(3),
      { prompt: "<b>film", chosen: " good", rejected: " bad" },
      { prompt: "film", chosen: " good<|im_end|>", rejected: " bad<|im_start|>user" },
      { prompt: "film <b and> [INST] <html>", chosen: " good", rejected: " bad" },
    ];
    const { findings } = (await check(rows, { builder: builder(withTemplate()) }))("special-tokens");
    expect(findings.map((f) => [f.severity, ...lines(f.examples)])).toEqual([
      ["error", 4],
      ["warning", 4, 5],
    ]);
  });
});

describe("the template linter", () => {
  const turn = "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n";
  const ask = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";
  const each = (body: string, before = "{{ bos_token }}", after = ask) =>
    `${before}{% for m in messages %}${body}{% endfor %}${after}`;
  const titles = (template: string, endIds = [2]) =>
    lint(withTemplate(template), endIds).map((f) => `${f.severity}: ${f.title}`);
  const itself = "note: the template writes <b> itself";
  test("a template in order", () => {
    expect(titles(each(turn))).toEqual([itself]);
  });
  test.each<[string, string, string[], number[]?]>([
    [
      "two begin tokens",
      each(turn, "{{ bos_token }}<b>"),
      ["error: the template writes <b> 2 times at the beginning"],
    ],
    [
      "no begin token",
      each(turn, ""),
      ["warning: the template writes no <b>, which the tokenizer puts before every text"],
    ],
    [
      "no way of asking",
      each(turn, "{{ bos_token }}", ""),
      ["warning: the template does not ask for an answer", itself],
    ],
    [
      "an answer written otherwise than asked for",
      each(turn, "{{ bos_token }}", "{% if add_generation_prompt %}<|im_start|>model\n{% endif %}"),
      ["warning: an answered conversation does not begin with how its answer is asked for", itself],
    ],
    [
      "earlier turns dropped",
      each(`{% if loop.last or messages|length < 3 %}${turn}{% endif %}`),
      [
        "note: the template drops the system message once there is an answer",
        "error: the template drops earlier turns of the user",
        itself,
      ],
    ],
    [
      "thinking dropped, and with it the beginning changed",
      each(
        "<|im_start|>{{ m.role }}\n{{ m.content.split('</think>')[-1] if not loop.last else m.content }}<|im_end|>\n",
      ),
      ["note: the template drops the thinking of earlier answers", itself],
    ],
    [
      "earlier turns rewritten",
      each("<|im_start|>{{ m.role }}{% if loop.last %} now{% endif %}\n{{ m.content }}<|im_end|>\n"),
      [
        "warning: an answered conversation does not begin with how its answer is asked for",
        "note: the template rewrites earlier turns when others follow",
        itself,
      ],
    ],
    [
      "system messages refused",
      `{% if messages[0].role == 'system' %}{{ raise_exception('no') }}{% endif %}${each(turn)}`,
      ["note: the template refuses system messages", itself],
    ],
    [
      "everything refused",
      "{{ raise_exception('no') }}",
      ["error: the template refuses a question and its answer"],
    ],
    [
      "system messages dropped",
      each(`{% if m.role != 'system' %}${turn}{% endif %}`),
      ["error: the template drops system messages", itself],
    ],
    [
      "system messages dropped once there is an answer",
      each(`{% if m.role != 'system' or messages[-1].role == 'user' %}${turn}{% endif %}`),
      ["note: the template drops the system message once there is an answer", itself],
    ],
    [
      "a header after every answer",
      `{{ bos_token }}{% for m in messages %}${turn}{% endfor %}<|im_start|>assistant\n`,
      ["note: the template goes on after an answer, as if another were asked for", itself],
    ],
    [
      "another end token",
      each(turn),
      [itself, "warning: the template ends answers with <|im_end|>, which is no end token of the model"],
      [],
    ],
  ])("%s", (_, template, expected, endIds = [2]) => {
    expect(titles(template, endIds)).toEqual(expected);
  });
  test("conversations without a template are an error", async () => {
    const chat = { prompt: [{ role: "user", content: "film" }], chosen: "good", rejected: "bad" };
    const { status, findings } = (await check([chat], { builder: builder(withTemplate()) }))("template");
    expect([status, findings[0].count]).toEqual(["error", 1]);
  });
});

test("further checks stand beside those of the table, with the same source", async () => {
  const own: Check = {
    id: "own",
    title: "Own",
    says: "how many there are",
    run: ({ records }) => ({ findings: [], numbers: { n: records.length } }),
  };
  expect((await check(pairs(3), { checks: [own] }))("own")).toMatchObject({
    status: "ok",
    numbers: { n: 3 },
  });
});

test("the page is whole in itself and escapes text", async () => {
  const rows = [
    ...pairs(2),
    { prompt: "<script>x</script>", chosen: "same", rejected: "same" },
    { chosen: 3 },
  ];
  const page = checkPage(await checkData(await file(rows), { builder: builder() }));
  expect(page).not.toMatch(/<script|https?:|src=|url\(/);
  expect(page).toContain('<section id="equal-sides">');
  expect(page).toContain("prefers-color-scheme: dark");
});

test("reports depend on data and seed alone", async () => {
  const path = await file(pairs(200));
  const once = async () => JSON.stringify(await checkData(path, { builder: builder(withTemplate(chatMl)) }));
  expect(await once()).toBe(await once());
});

test("near duplicates are found by their Jaccard index, and others are not", () => {
  const say = writer(7);
  const near = new NearDuplicates<number>(0.8);
  const texts = Array.from({ length: 300 }, () => say(60));
  texts.forEach((text, i) => expect(near.find(text, i)).toBeUndefined());
  // One word of 60 changed: 4 of 57 shingles differ on each side, 53 / 61 = 0.87.
  const changed = texts.map((text) => text.split(" ").with(30, "otherwise").join(" "));
  const found = changed.map((text) => near.find(text, -1, false));
  expect(found.filter((f, i) => f?.item === i).length).toBeGreaterThan(295);
  expect(found.find((f) => f)?.likeness).toBeCloseTo(53 / 61, 2);
  expect(near.find("", -1)).toBeUndefined();
});

test("Wilson's interval and quantiles", () => {
  // 8 of 10: Wilson (1927) as tabulated, 0.490 to 0.943.
  expect(interval(8, 10).low).toBeCloseTo(0.4902, 4);
  expect(interval(8, 10).high).toBeCloseTo(0.9433, 4);
  expect(interval(0, 0)).toEqual({ low: 0, high: 1 });
  expect([quantile([3, 1, 2], 0.5), quantile([1, 2, 3, 4], 0.95), quantile([], 0.5)]).toEqual([2, 4, 0]);
});
