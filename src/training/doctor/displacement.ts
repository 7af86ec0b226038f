/**
 * Likelihood displacement (Razin et al., arXiv:2410.08847, Definition 1): the loss falls and yet the chosen answers become less likely than
 * they were. Their probability goes somewhere else, often to answers as good, sometimes to the opposite of what was preferred.
 */
import type { Check } from "./doctor.ts";

/** Steps over which a run without held-out data is judged, at its start and at its end. */
const span = 20;

/** A fall of the mean log-probability below this many nats is not worth a word. */
const noise = 0.05;

export interface Displacement {
  /** Share of records whose log π is lower than before. */
  readonly share: number;
  /** Mean change of log π, nats. */
  readonly change: number;
}

/** How summed log-probabilities changed, record by record. NaN without records. */
export function displacement(before: readonly number[], now: readonly number[]): Displacement {
  const changes = now.map((x, i) => x - before[i]);
  const mean = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / values.length;
  return { share: mean(changes.map((c) => Number(c < 0))), change: mean(changes) };
}

export const displacedShare = "displacement/chosen";
export const chosenChange = "displacement/chosen_change";
export const rejectedChange = "displacement/rejected_change";

export const likelihoodDisplacement: Check = ({ steps, evaluations }) => {
  const first = evaluations.find((e) => e.step === 0);
  const last = evaluations.at(-1);
  if (first && last && last !== first && first["eval/loss"] !== undefined) {
    return judge({
      data: "held-out records",
      since: `since the start, after ${last.step} steps`,
      lossFell: last["eval/loss"] < first["eval/loss"],
      share: last[`eval/${displacedShare}`],
      change: last[`eval/${chosenChange}`],
      rejected: last[`eval/${rejectedChange}`],
    });
  }
  if (steps.length < 2 * span) return undefined;
  const [early, late] = [steps.slice(0, span), steps.slice(-span)];
  return judge({
    data: `records of the last ${span} steps`,
    since: "against the reference",
    lossFell: mean(late, "loss") < mean(early, "loss"),
    share: mean(late, displacedShare),
    change: mean(late, chosenChange),
    rejected: mean(late, rejectedChange),
  });
};

function judge(seen: {
  data: string;
  since: string;
  lossFell: boolean;
  share: number;
  change: number;
  rejected: number;
}) {
  const { share, change, rejected } = seen;
  if (!seen.lossFell || !(share > 0.5) || !(change < -noise)) return undefined;
  return {
    id: "likelihood-displacement",
    text:
      `the chosen answers have become less likely ${seen.since}: ${(100 * share).toFixed(0)} % of the ${seen.data}, ` +
      `log-probability ${change.toFixed(2)} on average (rejected ${rejected.toFixed(2)}), though the loss fell. ` +
      "Preference losses often do this without harm; look at the samples for where the probability went. " +
      "If they got worse: leave out the pairs whose answers are most alike (prefopt data check --ches), " +
      "add a likelihood term (options.rpoAlpha: 1), or train less (a lower learningRate, a higher beta)",
  };
}

const mean = (lines: readonly Readonly<Record<string, unknown>>[], key: string) =>
  lines.reduce((total, line) => total + Number(line[key]), 0) / lines.length;
