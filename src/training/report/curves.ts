/** The curves of a run: each chart takes what it finds in the logs and is left out where it finds nothing. */
import type { Evaluation } from "../evaluation.ts";
import type { Chart } from "./page.ts";

type Line = Readonly<Record<string, unknown>>;

/** Most points of a curve; longer logs are thinned evenly. */
const mostPoints = 1000;

interface Wanted {
  readonly title: string;
  /** Label and key, of the step log or of the evaluations. */
  readonly series: readonly (readonly [label: string, key: string, from: "steps" | "evaluations"])[];
}

const wanted: readonly Wanted[] = [
  {
    title: "Loss",
    series: [
      ["training", "loss", "steps"],
      ["held out", "eval/loss", "evaluations"],
    ],
  },
  {
    title: "Accuracy of the implicit reward",
    series: [
      ["training", "rewards/accuracies", "steps"],
      ["held out", "eval/rewards/accuracies", "evaluations"],
    ],
  },
  {
    title: "Reward margin",
    series: [
      ["training", "rewards/margins", "steps"],
      ["held out", "eval/rewards/margins", "evaluations"],
    ],
  },
  {
    title: "Implicit rewards",
    series: [
      ["chosen", "rewards/chosen", "steps"],
      ["rejected", "rewards/rejected", "steps"],
    ],
  },
  {
    title: "Log-probabilities",
    series: [
      ["chosen", "logps/chosen", "steps"],
      ["rejected", "logps/rejected", "steps"],
      ["completion", "logps/completion", "steps"],
    ],
  },
  {
    title: "Change of log-probability since the start, held out",
    series: [
      ["chosen", "eval/displacement/chosen_change", "evaluations"],
      ["rejected", "eval/displacement/rejected_change", "evaluations"],
    ],
  },
  { title: "Mean reward of samples", series: [["held-out prompts", "reward", "evaluations"]] },
  { title: "KL to the reference, nats a sequence", series: [["policy", "kl", "evaluations"]] },
  { title: "Gradient norm", series: [["before clipping", "grad_norm", "steps"]] },
  { title: "Learning rate", series: [["lr", "lr", "steps"]] },
];

export function curves(steps: readonly Line[], evaluations: readonly Evaluation[]): Chart[] {
  const logs = { steps: thinned(steps), evaluations: evaluations as readonly Line[] };
  const charts = wanted.flatMap(({ title, series }): Chart[] => {
    const found = series.flatMap(([label, key, from]) => {
      const points = new Map(
        logs[from].flatMap((line) => (isNumber(line[key]) ? [[Number(line.step), line[key]] as const] : [])),
      );
      return points.size > 0 ? [{ label, points }] : [];
    });
    if (found.length === 0) return [];
    const xs = [...new Set(found.flatMap((s) => [...s.points.keys()]))].sort((a, b) => a - b);
    return [
      {
        title,
        x: "step",
        xs,
        series: found.map(({ label, points }) => ({ label, values: xs.map((x) => points.get(x) ?? null) })),
      },
    ];
  });
  const frontier = evaluations
    .filter((e) => isNumber(e.kl) && isNumber(e.reward))
    .sort((a, b) => Number(a.kl) - Number(b.kl));
  if (frontier.length > 1) {
    charts.push({
      title: "Reward against KL",
      x: "KL, nats",
      xs: frontier.map((e) => Number(e.kl)),
      series: [{ label: "reward", values: frontier.map((e) => Number(e.reward)) }],
      scatter: true,
    });
  }
  return charts;
}

function thinned(lines: readonly Line[]): readonly Line[] {
  const every = Math.ceil(lines.length / mostPoints);
  return lines.filter((_, i) => i % every === 0 || i === lines.length - 1);
}

function isNumber(value: unknown): value is number {
  return typeof value === "number" && Number.isFinite(value);
}
