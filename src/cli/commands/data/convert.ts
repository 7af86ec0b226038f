/** `prefopt data convert`: data from one format into another, with a hosted service's limits checked. */
import { type Conversion, Converter, convertFile } from "../../../data/formats/convert.ts";
import type { Note } from "../../../data/formats/notes.ts";
import { pairPolicies } from "../../../data/formats/pairs.ts";
import { dataFormatNames, dataFormats } from "../../../data/formats/table.ts";
import { showSource } from "../../../data/load-records.ts";
import { RequestError } from "../../../errors.ts";
import type { CommandModule } from "../../command.ts";
import { integer } from "../../input.ts";
import { interruptible } from "../../interrupt.ts";
import { print, printJson, styled } from "../../output.ts";
import { ProgressLine } from "../../progress.ts";

interface Options {
  to: string;
  from?: string;
  out?: string;
  pairs?: string;
  unpaired?: boolean;
  lossy?: boolean;
  invalid: "error" | "skip";
  limits: "error" | "warn";
  seed: number;
  force?: boolean;
  json?: boolean;
}

/** One of a few words. */
const oneOf =
  <T extends string>(name: string, ...words: readonly T[]) =>
  (value: string): T => {
    const found = words.find((word) => word === value);
    if (found !== undefined) return found;
    throw new RequestError({
      code: "option-invalid",
      what: `--${name} ${value}`,
      why: `it must be ${words.join(" or ")}`,
    });
  };

export const command: CommandModule = {
  name: "convert",
  summary: "Convert preference data from one format into another; limits of hosted services are checked.",
  example: "prefopt data convert votes.json --to openai --out pairs.jsonl",
  configure(command) {
    command
      .argument("<in>", "data file, here or on the hub (hf://datasets/…)")
      .requiredOption("--to <format>", `format to write: ${dataFormatNames.join(", ")}`)
      .option("--from <format>", "format to read; default: told from the rows")
      .option(
        "--out <file>",
        "file to write (.jsonl, .json, .csv, .tsv, .parquet; text also .gz); default: JSON lines on stdout",
      )
      .option(
        "--pairs <policy>",
        `make pairs of lists with scores: ${Object.entries(pairPolicies)
          .map(([name, { says }]) => `${name} (${says})`)
          .join(", ")}`,
      )
      .option("--unpaired", "make two single answers of each pair, one up and one down")
      .option("--lossy", "leave out what the format cannot carry; it is counted and listed")
      .option(
        "--invalid <what>",
        "records that cannot be used: error, or skip and list them",
        oneOf("invalid", "error", "skip"),
        "error",
      )
      .option(
        "--limits <what>",
        "limits of a hosted service that are broken: error, or warn",
        oneOf("limits", "error", "warn"),
        "error",
      )
      .option("--seed <n>", "seed of what is drawn", integer("seed"), 1)
      .option("--force", "overwrite the file that --out names")
      .option("--json", "print the result as one line of JSON; needs --out")
      .action((path: string, options: Options) => convert(path, options));
  },
};

async function convert(path: string, { out, json, ...options }: Options): Promise<void> {
  if (json && out === undefined) {
    throw new RequestError({
      code: "out-missing",
      what: "--json needs --out",
      why: "without a file the rows themselves are printed",
      fix: "Name a file with --out",
    });
  }
  const progress = new ProgressLine(process.stderr);
  const result = await interruptible("interrupted; nothing was written", async (signal) => {
    const asked = {
      ...options,
      signal,
      onProgress: (rows: number) => rows % 1000 === 0 && progress.update(`${rows} rows converted`),
    };
    if (out !== undefined) return convertFile(path, out, asked);
    const converter = new Converter(path, asked);
    for await (const row of converter.rows()) await print(`${JSON.stringify(row)}\n`);
    return converter.result();
  }).finally(() => progress.clear());
  if (json) return printJson({ ...shown(result), out });
  const text = `${summary(result, out).join("\n")}\n`;
  if (out === undefined) process.stderr.write(text);
  else await print(text);
}

/** What was done, in lines. */
function summary(result: Conversion, out?: string): string[] {
  const { from, to, read, written, bytes, skipped, changed, lost, leftOut, warnings } = result;
  const warning = (text: string) =>
    styled("yellow", text, out === undefined ? process.stderr : process.stdout);
  const lines = [
    `read ${read} rows of ${dataFormats[from.name].title} (${from.reason})`,
    `wrote ${written} rows of ${dataFormats[to].title}${out === undefined ? "" : ` to ${out}`}${bytes === undefined ? "" : `, ${size(bytes)}`}`,
  ];
  const list = (title: string, notes: readonly Note[]) => {
    for (const { what, count, first } of notes)
      lines.push(warning(`${title} ${what}: ${count}, first at ${showSource(first)}`));
  };
  for (const { what, count } of changed) lines.push(`${what}: ${count}`);
  list("left out field", lost);
  list("left out record,", leftOut);
  if (skipped.length > 0) {
    const [{ source, field, why }] = skipped;
    lines.push(
      warning(
        `skipped ${skipped.length} records that cannot be used; the first: ${showSource(source)} ${field} ${why}`,
      ),
    );
  }
  return [...lines, ...warnings.map((text) => warning(`warning: ${text}`))];
}

/** The result as JSON: places as "file:line". */
function shown({ skipped, changed, lost, leftOut, ...rest }: Conversion): object {
  const notes = (list: readonly Note[]) =>
    list.map(({ what, count, first }) => ({ what, count, first: showSource(first) }));
  return {
    ...rest,
    changed: notes(changed),
    lost: notes(lost),
    leftOut: notes(leftOut),
    skipped: skipped.map(({ source, field, why }) => ({ at: showSource(source), field, why })),
  };
}

const size = (bytes: number) =>
  bytes < 1e6 ? `${(bytes / 1e3).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
