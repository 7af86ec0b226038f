/** `prefopt data check`: one report on a data set, in the terminal, on a page, and as JSON. */
import type { Severity } from "../../../data/checks/check.ts";
import { checkPage, shownNumber } from "../../../data/checks/page.ts";
import { type CheckedQuestion, type DataReport, checkData } from "../../../data/checks/run-checks.ts";
import { dataFormats } from "../../../data/formats/table.ts";
import { WorkError } from "../../../errors.ts";
import { writeFileAtomic } from "../../../formats/files.ts";
import type { CommandModule } from "../../command.ts";
import { dataSource } from "../../data-source.ts";
import { integer, setOption } from "../../input.ts";
import { interruptible } from "../../interrupt.ts";
import { print, printJson, styled } from "../../output.ts";
import { ProgressLine } from "../../progress.ts";
import { type DisplacementCommandOptions, displacement } from "./displacement.ts";
import type { Followed, ModelCheck } from "./model-check.ts";

export interface CheckCommandOptions extends DisplacementCommandOptions {
  model?: string;
  against?: string;
  format?: string;
  set: string[];
  seed: number;
  html?: string;
  strict?: boolean;
  json?: boolean;
}

/** Checks that need a model, asked for by options of their own: one line a check. */
const modelChecks: readonly ModelCheck<CheckCommandOptions>[] = [displacement];

export const command: CommandModule = {
  name: "check",
  summary:
    "Check preference data: duplicates, leakage, equal sides, length bias, trivially separable pairs, label noise, tokens, chat template; with a model, likelihood displacement (--ches).",
  example: "prefopt data check recipes/sentiment-dpo.yaml --html check.html",
  configure(command) {
    command
      .argument("<recipe|data>", "recipe (YAML), or data file, here or on the hub")
      .option("--model <model>", "model whose tokenizer and template are checked; a recipe names its own")
      .option("--against <held-out>", "held-out data that must not be in it; a recipe names its own")
      .option("--format <format>", "format of the data; default: told from the rows")
      .addOption(setOption())
      .option("--seed <n>", "seed of what is drawn", integer("seed"), 1)
      .option("--html <file>", "write a self-contained page")
      .option("--strict", "exit with status 1 where there are errors")
      .option("--json", "print the result as one line of JSON");
    for (const { flag, says, parse } of modelChecks.flatMap((c) => c.options)) {
      if (parse) command.option(flag, says, parse);
      else command.option(flag, says);
    }
    command.action((name: string, options: CheckCommandOptions) => check(name, options));
  },
};

async function check(name: string, options: CheckCommandOptions): Promise<void> {
  const source = await dataSource(name, options);
  const prepared = (await Promise.all(modelChecks.map((c) => c.prepare(source, options)))).filter(
    (p) => p !== undefined,
  );
  const progress = new ProgressLine(process.stderr);
  const { report, followed } = await interruptible("interrupted; nothing was written", async (signal) => {
    const found = await checkData(source.data, {
      against: options.against ?? source.held,
      format: source.format,
      kinds: source.kinds,
      rowKind: source.rowKind,
      builder: source.builder,
      seed: options.seed,
      checks: prepared.map(({ check }) => check),
      signal,
      onProgress: (text) => progress.update(text),
    });
    const all: Followed[] = [];
    for (const { finish } of prepared) {
      const one = await finish(found, signal);
      if (one) all.push(one);
    }
    return { report: found, followed: all };
  }).finally(() => progress.clear());
  if (options.html !== undefined) await writeFileAtomic(options.html, checkPage(report));
  if (options.json) await printJson(followed.reduce((all, { json }) => ({ ...all, ...json }), { ...report }));
  else {
    const last = [
      ...followed.flatMap(({ lines: told }) => told),
      ...(options.html === undefined ? [] : [`page  ${options.html}`]),
    ];
    await print([...shown(report), ...(last.length > 0 ? ["", ...last] : []), ""].join("\n"));
  }
  const errors = report.checks.filter((c) => c.status === "error").length;
  if (options.strict && errors > 0) {
    throw new WorkError({
      code: "data-not-good",
      what: `${errors} of ${report.checks.length} checks found errors`,
      where: report.data,
    });
  }
}

const colours: Readonly<Record<CheckedQuestion["status"], Parameters<typeof styled>[0]>> = {
  error: ["bold", "red"],
  warning: "yellow",
  note: "cyan",
  ok: "green",
  "left out": "dim",
};
const signs: Readonly<Record<Severity, string>> = { error: "✗", warning: "!", note: "·" };

function shown({ data, against, format, records, checks }: DataReport): string[] {
  const head = [
    `${data}: ${records} records of ${dataFormats[format.name].title} (${format.reason})`,
    ...(against === undefined ? [] : [`held out: ${against}`]),
  ];
  return [...head, ...checks.flatMap((c) => ["", ...lines(c)])];
}

function lines({ title, status, findings, numbers, leftOut }: CheckedQuestion): string[] {
  const head = `${styled("bold", title)}  ${styled(colours[status], status)}${leftOut === undefined ? "" : styled("dim", `  ${leftOut}`)}`;
  const facts = Object.entries(numbers).map(([name, value]) => `${name} ${shownNumber(value)}`);
  const told = findings.flatMap(({ severity, title: what, why, remedy, examples }) => [
    `  ${styled(colours[severity], `${signs[severity]} ${what}`)}`,
    `    ${why}. ${remedy}.`,
    ...examples
      .slice(0, 3)
      .map(({ at, text }) => styled("dim", `    ${at}${text === undefined ? "" : `  ${text}`}`)),
  ]);
  return [head, ...(facts.length > 0 ? [styled("dim", `  ${facts.join(" · ")}`)] : []), ...told];
}
