/**
 * An objective of one's own, as a plain function: a hinge on the log-ratio margin that also asks the chosen answer not to lose
 * probability. It trains the embedded model for a few steps; then both models are measured on held-out prompts.
 * In a clone: `node scripts/run.js examples/own-objective.ts`.
 */
import { maximum, mul, sub, add, objectiveOf, packagePath, run } from "prefopt";

const careful = objectiveOf(({ chosen, rejected }) => {
  const gain = sub(chosen.policy.logp, chosen.reference.logp); // [records]
  const loss = sub(rejected.policy.logp, rejected.reference.logp);
  const hinge = maximum(sub(1, mul(0.1, sub(gain, loss))), 0);
  const kept = maximum(mul(-0.05, gain), 0);
  return add(hinge, kept);
}, "careful-hinge");

const result = await run(
  {
    model: packagePath("assets/reviews"),
    data: {
      train: packagePath("assets/preferences/train.jsonl"),
      eval: packagePath("assets/preferences/test.jsonl"),
    },
    train: { steps: Number(process.argv[3] ?? 30), learningRate: 2e-4 },
    evaluate: { every: 1000, prompts: 64 },
  },
  {
    objective: careful,
    out: process.argv[2],
    onEvent: (event) => {
      if (event.type === "step" && event.step % 5 === 0)
        console.log(`step ${event.step}: loss ${event.metrics.loss.toFixed(3)}`);
    },
  },
);
console.log(
  `reward ${result.rewardBefore?.toFixed(3)} → ${result.rewardAfter?.toFixed(3)}, KL ${result.kl?.toFixed(2)} nats, in ${result.run}`,
);
