/** What chat templates are given, which of several is taken, and what is said when one refuses or is broken. */
import { describe, expect, test } from "vitest";
import { RequestError } from "../errors.ts";
import { type RenderOptions, renderChat } from "./chat.ts";
import { range, strftime } from "./template-functions.ts";
import { makeTokenizer } from "./tokenizer.ts";

const model = { model: { type: "BPE", vocab: { a: 0, "<s>": 1, "</s>": 2, "<unk>": 3 }, merges: [] } };
const config = { bos_token: "<s>", eos_token: { content: "</s>" }, unk_token: "<unk>" };
const withTemplate = (template: unknown, file?: string) =>
  makeTokenizer(model, { ...config, chat_template: template }, file);
const messages = [{ role: "user", content: "Hi" }];
const render = (template: unknown, options: RenderOptions = {}, given: object[] = messages) =>
  renderChat(withTemplate(template), given as typeof messages, options);

describe("a template sees", () => {
  test.each<[string, string, RenderOptions, string]>([
    [
      "messages and the generation prompt",
      "{{ messages[0].content }}{{ 'A' if add_generation_prompt }}",
      {},
      "Hi",
    ],
    ["that an answer is asked for", "{{ 'A' if add_generation_prompt }}", { addGenerationPrompt: true }, "A"],
    ["special tokens", "{{ bos_token }}{{ eos_token }}{{ unk_token }}", {}, "<s></s><unk>"],
    [
      "no tools as none, and not as undefined",
      "{{ 'none' if tools is none and documents is none }}",
      {},
      "none",
    ],
    ["tools", "{{ tools[0].function.name }}", { tools: [{ function: { name: "look" } }] }, "look"],
    ["documents", "{{ documents[0].title }}", { documents: [{ title: "On tea" }] }, "On tea"],
    [
      "further variables",
      "{{ 'no' if not enable_thinking }} {{ date_string }}",
      { variables: { enable_thinking: false, date_string: "1 May" } },
      "no 1 May",
    ],
    ["the date", "{{ strftime_now('%d %b %Y') }}", { now: new Date(2024, 6, 26) }, "26 Jul 2024"],
    [
      "ranges",
      "{% for i in range(3) %}{{ i }}{% endfor %}{% for i in range(4, 0, -2) %}{{ i }}{% endfor %}",
      {},
      "01242",
    ],
  ])("%s", (_, template, options, expected) => expect(render(template, options)).toBe(expected));
  test("whatever else a message has", () => {
    const given = [
      { role: "assistant", content: null, tool_calls: [{ function: { name: "look", arguments: { x: 1 } } }] },
    ];
    const template =
      "{{ 'none' if messages[0].content is none }} {{ messages[0].tool_calls[0].function.arguments | tojson }}";
    expect(render(template, {}, given)).toBe('none {"x": 1}');
  });
  test("the same names in every rendering: nothing is left over from the one before", () => {
    const template = "{{ 'seen' if extra is defined }}{% set extra = 1 %}";
    expect([render(template), render(template)]).toEqual(["", ""]);
  });
});

describe("of several templates", () => {
  const several = [
    { name: "default", template: "plain" },
    { name: "tool_use", template: "tools" },
  ];
  test("the default is taken, with tools the one for them", () => {
    expect(render(several)).toBe("plain");
    expect(render(several, { tools: [] })).toBe("tools");
    expect(render("plain", { tools: [] })).toBe("plain");
  });
  test("a single one needs no name, several without a default are an error that names them", () => {
    expect(render([{ name: "rag", template: "only" }])).toBe("only");
    expect(() =>
      render([
        { name: "rag", template: "a" },
        { name: "tool_use", template: "b" },
      ]),
    ).toThrow("several chat templates and no default: they are named rag, tool_use");
  });
  test("a file of its own wins", () => {
    expect(renderChat(withTemplate(several, "from the file"), messages)).toBe("from the file");
  });
});

describe("errors", () => {
  test.each([
    [
      "its own words",
      "{{ raise_exception('roles must alternate') }}",
      "refuses the conversation: roles must alternate. Change the messages",
    ],
    ["an undefined function", "{{ nowhere(1) }}", "cannot render the conversation"],
    ["a syntax error", "{% if %}", "the chat template cannot be read"],
  ])("%s", (_, template, reason) => {
    expect(() => render(template)).toThrow(RequestError);
    expect(() => render(template)).toThrow(reason);
  });
  test("no template", () => expect(() => render(undefined)).toThrow("the model has no chat template"));
});

describe("dates as Python writes them", () => {
  const date = new Date(2026, 0, 5, 15, 4, 9);
  test.each([
    ["%Y-%m-%d", "2026-01-05"],
    ["%d %B %Y", "05 January 2026"],
    ["%-d %b %y, %A (%a)", "5 Jan 26, Monday (Mon)"],
    ["%H:%M:%S %I %p %j %u%w", "15:04:09 03 PM 005 11"],
    ["%c | %F %T", "Mon Jan  5 15:04:09 2026 | 2026-01-05 15:04:09"],
    ["100%% %Q", "100% %Q"],
  ])("%s", (format, expected) => expect(strftime(date, format)).toBe(expected));
});

test("a range without a step is an error", () => expect(() => range(1, 2, 0)).toThrow("step 0"));
