/** `prefopt export`: a model in the format of others, checked against its source before it is called done. */
import { checkTarget, exportModel } from "../../export/export-model.ts";
import { exportFormats } from "../../export/table.ts";
import type { CommandModule } from "../command.ts";
import { interruptible } from "../interrupt.ts";
import { openModel } from "../model.ts";
import { duration, print, printJson } from "../output.ts";
import { ProgressLine } from "../progress.ts";

interface Options {
  to: string;
  out: string;
  dtype?: string;
  overwrite?: boolean;
  json?: boolean;
}

const formats = Object.values(exportFormats);

export const command: CommandModule = {
  name: "export",
  summary:
    "Write a model in a format that others read, and compare its log-probabilities with the model's before it is put in place.",
  example: "prefopt export assets/reviews --to gguf --out reviews.gguf",
  configure(command) {
    command
      .argument("<model>", "model folder or GGUF file")
      .requiredOption("--to <format>", formats.map(({ id, summary }) => `${id}: ${summary}`).join("; "))
      .requiredOption("--out <path>", "folder or file to make")
      .option(
        "--dtype <type>",
        `type of the weights: ${formats.map(({ id, dtypes }) => `${id} ${dtypes.join(", ")}`).join("; ")}`,
      )
      .option("--overwrite", "replace a model that is there")
      .option("--json", "print one line of JSON")
      .action((name: string, options: Options) =>
        interruptible("interrupted; nothing was kept", (signal) => run(name, options, signal)),
      );
  },
};

async function run(name: string, options: Options, signal: AbortSignal): Promise<void> {
  await checkTarget(options);
  const started = performance.now();
  const progress = new ProgressLine();
  progress.update("loading the model");
  const { model } = await openModel(name);
  const { difference, warnings, ...result } = await exportModel(model, {
    ...options,
    consume: true,
    signal,
    onProgress: (doing) => progress.update(doing),
  });
  progress.clear();
  const seconds = (performance.now() - started) / 1000;
  for (const text of warnings) process.stderr.write(`prefopt: warning: ${text}\n`);
  const { tokens, max, mean } = difference;
  if (options.json)
    return printJson({ ...result, tokens, maxDifference: max, meanDifference: mean, seconds, warnings });
  await print(
    `${result.path}: ${result.format}, ${result.dtype}, in ${duration(seconds)}. ` +
      `Log-probabilities of ${tokens} tokens differ from the model's by ${mean.toExponential(1)} in the mean, ${max.toExponential(1)} at most.\n`,
  );
}
