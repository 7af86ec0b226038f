/** `prefopt plan`: what a run will do before it does it. */
import { termsOf } from "../../methods/terms.ts";
import { gigabytes } from "../../training/memory-plan.ts";
import { type RunPlan, planRun } from "../../training/plan.ts";
import { loadRecipe } from "../../training/recipe.ts";
import type { CommandModule } from "../command.ts";
import { setOption } from "../input.ts";
import { duration, print, printJson, table } from "../output.ts";

interface Options {
  set: string[];
  json?: boolean;
}

export const command: CommandModule = {
  name: "plan",
  summary: "Say what a run will do before it does it: records, tokens, steps, peak memory, time.",
  example: "prefopt plan recipes/sentiment-dpo.yaml --set memory=1GB",
  configure(command) {
    command
      .argument("<recipe>", "YAML file")
      .addOption(setOption())
      .option("--json", "print one line of JSON")
      .action(async (path: string, { set, json }: Options) => {
        const recipe = await loadRecipe(path, set);
        const plan = await planRun(recipe, { terms: termsOf(recipe) });
        return json ? printJson(asJson(plan)) : print(asText(plan));
      });
  },
};

function asJson({ prepared, memory, tokens, parameters, seconds, gflops }: RunPlan) {
  const { rows, evalRows, skipped, truncated, steps, recipe, warnings } = prepared;
  return {
    records: rows.length,
    heldOut: evalRows.length,
    skipped: skipped.length,
    truncated,
    tokens,
    steps,
    batchSize: recipe.train.batchSize,
    microBatch: memory.microBatch,
    recompute: memory.recompute,
    parameters,
    peakBytes: Math.round(memory.peak),
    budgetBytes: Number.isFinite(memory.budget) ? Math.round(memory.budget) : undefined,
    memory: Object.fromEntries(Object.entries(memory.parts).map(([k, v]) => [k, Math.round(v)])),
    seconds,
    gflops,
    warnings,
  };
}

function asText({ prepared, memory, tokens, parameters, seconds, gflops }: RunPlan): string {
  const { rows, evalRows, skipped, truncated, steps, recipe, warnings } = prepared;
  const millions = (n: number) => `${(n / 1e6).toFixed(1)}M`;
  const parts = Object.entries(memory.parts).filter(([, bytes]) => bytes > 1e6);
  const lines: [string, string][] = [
    ["records", `${rows.length} to train on, ${evalRows.length} held out, ${skipped.length} skipped`],
    ["truncated", `${truncated.records} records, by ${truncated.tokens} tokens`],
    ["tokens", `${tokens} an epoch, prompts that are shared counted once`],
    ["steps", `${steps} of ${recipe.train.batchSize} records, ${memory.microBatch} at a time`],
    ["parameters", `${millions(parameters.all)}, of which train ${millions(parameters.trained)}`],
    ["recomputation", memory.recompute ? "each layer is computed twice" : "none"],
    [
      "peak memory",
      `about ${gigabytes(memory.peak)}${Number.isFinite(memory.budget) ? ` of ${gigabytes(memory.budget)}` : ""}`,
    ],
    ...parts.map(([name, bytes]): [string, string] => [`  ${names[name] ?? name}`, gigabytes(bytes)]),
    [
      "time",
      `about ${duration(seconds.steps)} of steps, ${duration(seconds.reference)} of reference scores; evaluations come on top (from ${Math.round(gflops)} GFLOP/s, give or take a half)`,
    ],
  ];
  return `${table(lines)}\n${warnings.map((w) => `warning: ${w}\n`).join("")}`;
}

const names: Readonly<Record<string, string>> = {
  resident: "model, gradients, optimizer, the process",
  copies: "models that it is held to",
  sampling: "caches of samples",
  programs: "compiled programs",
  step: "a step",
};
