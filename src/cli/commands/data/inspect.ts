/** `prefopt data inspect`: what is trained on, token by token, in the terminal, on a page, or as JSON. */
import { openData, readData } from "../../../data/formats/read-data.ts";
import { dataFormats } from "../../../data/formats/table.ts";
import {
  type ShownPart,
  type ShownProblem,
  type ShownRow,
  type ShownToken,
  countsOf,
  inspectRecord,
} from "../../../data/inspect/inspect.ts";
import { inspectPage } from "../../../data/inspect/page.ts";
import { namesUnread, showSource } from "../../../data/load-records.ts";
import { formats } from "../../../data/record-formats.ts";
import { unreadLines } from "../../../data/unread.ts";
import { RequestError } from "../../../errors.ts";
import { writeFileAtomic } from "../../../formats/files.ts";
import type { CommandModule } from "../../command.ts";
import { setOption } from "../../input.ts";
import { dataSource } from "../../data-source.ts";
import { print, printJson, styled } from "../../output.ts";

interface Options {
  model?: string;
  records: readonly [number, number];
  eval?: boolean;
  format?: string;
  set: string[];
  ids?: boolean;
  html?: string;
  json?: boolean;
}

export const command: CommandModule = {
  name: "inspect",
  summary: "Show what is trained on, token by token: what is given, what is learned, end tokens, truncation.",
  example: "prefopt data inspect recipes/sentiment-dpo.yaml --records 1..3",
  configure(command) {
    command
      .argument("<recipe|data>", "recipe (YAML), or data file, here or on the hub")
      .option("--model <model>", "model whose tokenizer is used; a recipe names its own")
      .option("--records <n..m>", "records to show, from 1", range, [1, 3] as const)
      .option("--eval", "of a recipe, the held-out data")
      .option("--format <format>", "format of the data; default: told from the rows")
      .addOption(setOption())
      .option("--ids", "show token ids")
      .option("--html <file>", "write a self-contained page")
      .option("--json", "print the result as one line of JSON")
      .action((name: string, options: Options) => inspect(name, options));
  },
};

async function inspect(name: string, options: Options): Promise<void> {
  const source = await dataSource(name, options);
  const [from, to] = options.records;
  const opened = await openData(source.data, source);
  const rows: (ShownRow | ShownProblem)[] = [];
  const unread = new Map<string, number>();
  let record = 0;
  for await (const row of readData(opened, { kinds: source.kinds, comparing: source.recipe !== undefined })) {
    for (const name of namesUnread(row)) unread.set(name, (unread.get(name) ?? 0) + 1);
    for (const parsed of row.parsed) {
      if (++record < from) continue;
      if (record > to) break;
      if ("problem" in parsed) {
        const { field, why } = parsed.problem;
        rows.push({
          source: row.source,
          problem: [field && `field "${field}":`, why].filter(Boolean).join(" "),
        });
      } else {
        const kind = source.rowKind(formats[parsed.record.format].kind);
        rows.push(...inspectRecord(parsed.record, row.source, source.builder, kind));
      }
    }
    if (record >= to) break;
  }
  if (rows.length === 0) {
    throw new RequestError({
      code: "no-records",
      what: `there is no record ${from}`,
      where: source.data,
      why: `it has ${record}`,
      fix: "Choose others with --records",
    });
  }
  if (source.model === undefined && rows.every((row) => "problem" in row)) {
    throw new RequestError({
      code: "model-missing",
      what: "text becomes tokens with a model's tokenizer",
      where: source.data,
      fix: "Name the model with --model",
    });
  }
  const { format } = opened;
  for (const text of unreadLines(`${source.data}, its first rows`, unread, format.name).warnings)
    process.stderr.write(`prefopt: warning: ${text}\n`);
  const { maxLength, truncation } = source.builder.limits;
  const facts: [string, string][] = [
    ["format", `${dataFormats[format.name].title} (${format.reason})`],
    ...(source.model === undefined ? [] : ([["model", source.model]] as [string, string][])),
    ["most tokens", Number.isFinite(maxLength) ? `${maxLength}, ${truncation} beyond` : "any"],
  ];
  if (options.html !== undefined)
    await writeFileAtomic(options.html, inspectPage({ name: source.data, facts, rows }));
  if (options.json)
    return printJson({
      data: source.data,
      format,
      model: source.model,
      limits: { maxLength, truncation },
      rows,
    });
  const lines = rows.flatMap((row) => ["", ...shown(row, options.ids ?? false)]);
  await print(
    `${facts.map(([label, value]) => `${label.padEnd(12)} ${value}`).join("\n")}\n${legend()}\n${lines.join("\n")}\n`,
  );
  if (options.html !== undefined) await print(`\npage         ${options.html}\n`);
}

/** "3", "1..5" or "1-5" */
function range(text: string): readonly [number, number] {
  const found = /^(\d+)(?:(?:\.\.|-)(\d+))?$/.exec(text);
  const [from, to] = [Number(found?.[1]), Number(found?.[2] ?? found?.[1])];
  if (found && from >= 1 && to >= from) return [from, to];
  throw new RequestError({
    code: "option-invalid",
    what: `--records ${text}`,
    why: "it must be a number from 1, or two of them",
    fix: "Write for example --records 1..5",
  });
}

function shown(row: ShownRow | ShownProblem, ids: boolean): string[] {
  const at = styled("bold", showSource(row.source));
  if ("problem" in row) return [`${at}  ${styled("red", row.problem)}`];
  const counts = countsOf(row);
  const about = [
    row.kind,
    `${counts.prompt} given`,
    `${counts.trained + counts.end} learned`,
    counts.truncated > 0 && styled("red", `${counts.truncated} truncated`),
    ...Object.entries(row.fields).map(([name, value]) => `${name} ${value}`),
  ].filter(Boolean);
  const warning = row.warning === undefined ? [] : [styled("yellow", row.warning)];
  const parts = row.trees.flatMap(({ prompt, branches }) => [
    { role: "prompt", tokens: prompt },
    ...branches.flat(),
  ]);
  const width = Math.max(...parts.map((part) => part.role.length)) + 2;
  return [`${at}  ${about.join(" · ")}`, ...warning, ...parts.map((part) => partLine(part, width, ids))];
}

/** A part's tokens with their boundaries; further lines stand under the first. */
function partLine({ role, tokens }: ShownPart, width: number, ids: boolean): string {
  const edge = styled("dim", "│");
  const text = tokens.map((token) => tokenText(token, ids)).join(edge);
  return `${styled("dim", role.padEnd(width))}${edge}${text}${edge}`.replaceAll(
    "\n",
    `\n${" ".repeat(width)}`,
  );
}

type Style = Parameters<typeof styled>[0];
const styles: Readonly<Record<ShownToken["mask"], Style>> = {
  prompt: "reset",
  trained: "green",
  end: ["bold", "magenta"],
  truncated: ["red", "strikethrough"],
};
/** How masks are told apart where there are no colours. */
const marks: Readonly<Record<ShownToken["mask"], readonly [string, string]>> = {
  prompt: ["", ""],
  trained: ["", ""],
  end: ["[", "]"],
  truncated: ["~", "~"],
};

function tokenText({ id, text, mask, special }: ShownToken, ids: boolean): string {
  const name = (text ?? String(id)).replaceAll("\r", "␍").replaceAll("\t", "→").replaceAll("\n", "↵\n");
  const style = special && mask === "prompt" ? "cyan" : styles[mask];
  // Each line is styled by itself: a style does not go on over the indent.
  const coloured = name
    .split("\n")
    .map((line) => (line === "" ? "" : styled(style, line)))
    .join("\n");
  const [before, after] = coloured === name ? marks[mask] : ["", ""];
  return `${before}${coloured}${after}${ids && text !== undefined ? styled("dim", `(${id})`) : ""}`;
}

function legend(): string {
  const items: [ShownToken["mask"], string][] = [
    ["prompt", "given"],
    ["trained", "learned"],
    ["end", "end token, learned"],
    ["truncated", "truncated"],
  ];
  return `${"tokens".padEnd(12)} ${items.map(([mask, says]) => tokenText({ id: 0, text: says, mask }, false)).join("  ")}`;
}
