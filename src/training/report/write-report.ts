/** Writes a run's report.html: what was run, what it came to, curves, and samples side by side. */
import type { Sample } from "../../evaluation/samples.ts";
import { writeFileAtomic } from "../../formats/files.ts";
import { truncateJsonl } from "../../formats/jsonl.ts";
import { readPackageText } from "../../formats/package-text.ts";
import type { Finding } from "../doctor/doctor.ts";
import type { Evaluation } from "../evaluation.ts";
import type { Prepared } from "../prepare.ts";
import { recipeToYaml } from "../recipe.ts";
import { parameterCounts } from "../../models/declare.ts";
import type { RunResult } from "../result.ts";
import type { RunFolder } from "../run-folder.ts";
import { curves } from "./curves.ts";
import { chartPlaces, escape, renderPage } from "./page.ts";

export interface ReportSource {
  readonly prepared: Prepared;
  readonly result: RunResult;
  readonly evaluations: readonly Evaluation[];
  /** What went wrong without an error. */
  readonly findings: readonly Finding[];
  readonly samples: { readonly before?: readonly Sample[]; readonly after?: readonly Sample[] };
}

export async function writeReport(folder: RunFolder, source: ReportSource): Promise<void> {
  const steps = await truncateJsonl(folder.metrics, () => true);
  const uplot = {
    script: readPackageText("uplot", "dist/uPlot.iife.min.js"),
    style: readPackageText("uplot", "dist/uPlot.min.css"),
  };
  await writeFileAtomic(folder.report, report(steps, source, uplot));
}

/** The page. `steps` are the lines of metrics.jsonl. */
export function report(
  steps: readonly Record<string, unknown>[],
  source: ReportSource,
  uplot: { script: string; style: string },
): string {
  const { prepared, result, evaluations, samples, findings } = source;
  const charts = curves(steps, evaluations);
  const name = prepared.recipe.method ?? prepared.terms.map((t) => t.objective.id).join(" + ");
  const body = [
    `<h1>${escape(name)} on ${escape(lastPart(prepared.recipe.model))}</h1>`,
    facts(prepared, result),
    tiles(result),
    findings.length > 0
      ? `<h2>What to look at</h2>${findings.map(({ text }) => `<p>${escape(sentence(text))}</p>`).join("")}`
      : "",
    charts.length > 0 ? `<h2>Curves</h2>${chartPlaces(charts)}` : "",
    beforeAfter(result),
    sideBySide(samples, prepared.recipe.evaluate?.samples ?? 0),
    `<h2>Recipe</h2><details><summary>as it was resolved</summary><pre>${escape(recipeToYaml(prepared.recipe))}</pre></details>`,
  ];
  return renderPage({ title: `prefopt: ${name}`, body: body.join("\n"), charts, uplot });
}

function facts(
  { model, rows, evalRows, recipe, truncated, skipped, warnings }: Prepared,
  result: RunResult,
): string {
  const counts = parameterCounts(model);
  const millions = (n: number) => `${(n / 1e6).toFixed(2)} M`;
  const items: [string, string][] = [
    ["parameters", millions(counts.all)],
    ...(model.adapter ? [["of its adapter trained", millions(counts.trained)] as [string, string]] : []),
    ["records", String(rows.length)],
    ["held out", String(evalRows.length)],
    [`steps of ${recipe.train.batchSize}`, String(result.steps)],
    ["seconds", String(result.seconds)],
    ["seed", String(recipe.train.seed)],
    ["truncated", `${truncated.records} records`],
    ["skipped", `${skipped.length} records`],
  ];
  const list = `<ul class="facts">${items.map(([k, v]) => `<li><b>${escape(v)}</b> ${escape(k)}</li>`).join("")}</ul>`;
  return list + warnings.map((w) => `<p class="down">${escape(w)}</p>`).join("");
}

const fixed = (value: number | undefined, digits: number) =>
  value === undefined ? "–" : value.toFixed(digits);
const percent = (value: number) => `${(100 * value).toFixed(1)} %`;

function tiles(r: RunResult): string {
  if (r.rewardAfter === undefined) return "";
  const tile = (label: string, value: string, note: string) =>
    `<div class="tile"><div class="label">${label}</div><div class="value">${value}</div><div class="note">${note}</div></div>`;
  return `<div class="tiles">${[
    tile(
      "mean reward",
      `${fixed(r.rewardBefore, 3)} → ${fixed(r.rewardAfter, 3)}`,
      "held-out prompts, before and after",
    ),
    r.winRate
      ? tile(
          "win rate",
          percent(r.winRate.mean),
          `95 %: ${percent(r.winRate.low)} to ${percent(r.winRate.high)}`,
        )
      : "",
    r.kl === undefined ? "" : tile("KL to the reference", fixed(r.kl, 2), "nats a sequence"),
    tile(
      "distinct-2",
      `${fixed(r.distinct2Before, 2)} → ${fixed(r.distinct2After, 2)}`,
      "variety of the samples",
    ),
  ].join("")}</div>`;
}

function beforeAfter(r: RunResult): string {
  if (r.rewardAfter === undefined) return "";
  const rows: [string, string, string][] = [
    ["mean reward", fixed(r.rewardBefore, 3), fixed(r.rewardAfter, 3)],
    [
      "win rate against the reference",
      "",
      r.winRate
        ? `${percent(r.winRate.mean)} (${percent(r.winRate.low)} to ${percent(r.winRate.high)})`
        : "–",
    ],
    ["KL to the reference, nats", "", fixed(r.kl, 2)],
    ["length, tokens", fixed(r.lengthBefore, 1), fixed(r.lengthAfter, 1)],
    ["repetition", fixed(r.repetitionBefore, 3), fixed(r.repetitionAfter, 3)],
    ["distinct-1", fixed(r.distinct1Before, 3), fixed(r.distinct1After, 3)],
    ["distinct-2", fixed(r.distinct2Before, 3), fixed(r.distinct2After, 3)],
  ];
  const cells = rows.map((row) => `<tr>${row.map((c) => `<td>${escape(c)}</td>`).join("")}</tr>`).join("");
  return `<h2>Before and after</h2><table><thead><tr><th></th><th>before</th><th>after</th></tr></thead><tbody>${cells}</tbody></table>`;
}

function sideBySide({ before = [], after = [] }: ReportSource["samples"], count: number): string {
  if (after.length === 0 || count === 0) return "";
  const cell = (s: Sample | undefined) =>
    s
      ? `<div><span class="score ${s.reward >= 0 ? "up" : "down"}">${s.reward >= 0 ? "+" : ""}${s.reward.toFixed(2)}</span><span class="prefix">${escape(s.prompt)}</span>${escape(s.completion)}</div>`
      : "<div></div>";
  const rows = after.slice(0, count).map((a, i) => `<div class="sample">${cell(before[i])}${cell(a)}</div>`);
  return `<h2>Samples: before and after</h2>${rows.join("\n")}`;
}

const sentence = (text: string) => `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
const lastPart = (path: string): string => path.split(/[\\/]/).filter(Boolean).at(-1) ?? path;
