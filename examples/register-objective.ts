/**
 * An objective under a name of its own, a squared hinge on DPO's margin: from then on recipes, `run` and `calculate` know it.
 * In a clone: `node scripts/run.js examples/register-objective.ts`.
 */
import { calculate, logRatio, maximum, mul, objective, objectiveNamed, openBackend } from "prefopt";
import { packagePath, positive, registerObjective, run, square, sub } from "prefopt";

registerObjective(
  objective({
    id: "squared-hinge",
    record: "pair",
    options: { beta: positive(0.1) },
    loss: ({ chosen, rejected }, { beta }) =>
      square(maximum(sub(1, mul(beta, sub(logRatio(chosen), logRatio(rejected)))), 0)),
  }),
);

// By hand: log-ratios 1 and -2, so (1 - 0.1 · 3)² = 0.49.
const given = { chosen: { policy: [-1], reference: [-2] }, rejected: { policy: [-4], reference: [-2] } };
const { loss } = await calculate(await openBackend(), objectiveNamed("squared-hinge").with(), {
  examples: [given],
});
console.log(`loss ${loss}`);

await run(
  {
    objective: "squared-hinge",
    model: packagePath("assets/reviews"),
    data: { train: packagePath("assets/preferences/train.jsonl") },
    train: { steps: 5, batchSize: 8, learningRate: 2e-4 },
  },
  {
    out: process.argv[2],
    onEvent: (e) => e.type === "step" && console.log(`step ${e.step}: loss ${e.metrics.loss.toFixed(3)}`),
  },
);
