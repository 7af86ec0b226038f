/**
 * DPO here and with TRL's DPOTrainer, in one run: the same weights, pairs and order, reference log-probs precomputed in both,
 * epochs in turns after one that warms up. `node scripts/run.js bench/peers/dpo.ts`
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { machine, versions } from "../../src/cli/bench/machine.ts";
import { millions, modelOf, shapeOf } from "../../src/cli/bench/shape.ts";
import { significant, spread } from "../../src/cli/bench/statistics.ts";
import { table } from "../../src/cli/output.ts";
import { openBackend } from "../../src/engine/backends/open.ts";
import { random } from "../../src/engine/random.ts";
import { saveLanguageModel } from "../../src/models/language-model.ts";
import { python } from "./environment.ts";
import { own, peer, rounds } from "./rounds.ts";

/** Settings of TRL, by name. */
const settings: Readonly<Record<string, readonly string[]>> = {
  "fp32, 1 pair x 8": ["--micro", "1"],
  "fp32, 2 pairs x 4": ["--micro", "2"],
  "fp32, 4 pairs x 2": ["--micro", "4"],
  "fp32, 8 pairs": ["--micro", "8"],
  "fp32, 2 pairs x 4, padding-free": ["--micro", "2", "--paddingFree"],
  "bf16, 1 pair x 8": ["--micro", "1", "--bf16"],
  "bf16, 4 pairs x 2": ["--micro", "4", "--bf16"],
};
const standard = ["fp32, 1 pair x 8", "bf16, 1 pair x 8"];

const { values } = parseArgs({
  options: {
    venv: { type: "string" },
    hidden: { type: "string", default: "512" },
    layers: { type: "string", default: "8" },
    vocabulary: { type: "string", default: "8192" },
    pairs: { type: "string", default: "48" },
    rounds: { type: "string", default: "3" },
    micro: { type: "string", default: "auto" },
    settings: { type: "string", default: standard.join(";") },
    rate: { type: "string", default: "1e-4" },
    beta: { type: "string", default: "0.1" },
    json: { type: "boolean", default: false },
  },
});
const wanted = values.settings === "all" ? Object.keys(settings) : values.settings.split(";");
const program = python(values.venv);
const backend = await openBackend();
const folder = mkdtempSync(join(tmpdir(), "prefopt-dpo-"));
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));

const shape = shapeOf({
  hidden: Number(values.hidden),
  layers: Number(values.layers),
  vocabulary: Number(values.vocabulary),
});
const model = modelOf(shape, backend);
await saveLanguageModel(model, folder);

/** Rows of 64 to 256 tokens, half of each the prompt; a completion ends with token 1, the end token. */
const rng = random(1, "pairs");
const ids = (n: number) => Array.from({ length: n }, () => 2 + rng.integer(shape.vocabulary - 2));
const pairs = Array.from({ length: Number(values.pairs) }, () => {
  const half = 32 + rng.integer(97);
  const completion = () => [...ids(half - 1), 1];
  return { promptIds: ids(half), chosenIds: completion(), rejectedIds: completion() };
});
const file = join(folder, "pairs.jsonl");
writeFileSync(file, pairs.map((p) => `${JSON.stringify(p)}\n`).join(""));
/** Of both rows of every pair, without padding. */
const tokens = pairs.reduce(
  (n, p) => n + 2 * p.promptIds.length + p.chosenIds.length + p.rejectedIds.length,
  0,
);

const count = Number(values.rounds) + 1;
const shared = [
  "--model",
  folder,
  "--pairs",
  file,
  "--epochs",
  String(count),
  "--rate",
  values.rate,
  "--beta",
  values.beta,
];
const results = await rounds(
  [
    own("prefopt", "dpo-prefopt.ts", [...shared, "--micro", values.micro]),
    ...wanted.map((name) => {
      if (!Object.hasOwn(settings, name))
        throw new Error(`no setting "${name}": ${Object.keys(settings).join("; ")}`);
      return peer(`TRL ${name}`, program, "dpo_trl.py", [
        ...shared,
        "--threads",
        String(backend.threads),
        ...settings[name],
      ]);
    }),
  ],
  count,
);

const measured = results.map(({ ready, rounds: all }, i) => {
  const counted = all.slice(1);
  const rates = counted.map((r) => tokens / Number(r.seconds));
  return {
    name: i === 0 ? `prefopt, ${String(all[0].microBatch)} pairs at a time` : `TRL ${wanted[i - 1]}`,
    bestTokensPerSecond: significant(Math.max(...rates)),
    tokensPerSecond: spread(rates),
    peakRssMb: Number(all.at(-1)?.peakRssMb),
    gemmGflops: spread(counted.map((r) => Number(r.gemmGflops))),
    losses: all.flatMap((r) => r.losses as number[]),
    versions: ready,
  };
});
const [ours, ...theirs] = measured;
const compared = theirs.map((t) => ({
  against: t.name,
  speed: significant(ours.bestTokensPerSecond / t.bestTokensPerSecond, 3),
  /** Round against the round beside it. */
  speedByRound: spread(
    results[0].rounds.slice(1).map((r, i) => {
      const other = results[1 + theirs.indexOf(t)].rounds[i + 1];
      return Number(other.seconds) / Number(r.seconds);
    }),
    3,
  ),
  memory: significant(ours.peakRssMb / t.peakRssMb, 3),
  lossDifference: significant(Math.max(...t.losses.map((l, i) => Math.abs(l - ours.losses[i]))), 2),
}));
const result = {
  model: millions(model),
  pairs: pairs.length,
  tokens,
  measured,
  compared,
  machine: machine(backend),
  versions: versions(),
};
if (values.json) console.log(JSON.stringify(result));
else {
  const rows = measured.map((m, i) => {
    const c = i === 0 ? undefined : compared[i - 1];
    return [
      m.name,
      String(m.bestTokensPerSecond),
      `${m.peakRssMb} MB`,
      String(m.gemmGflops.median),
      c ? `${c.speed} (${c.speedByRound.min} to ${c.speedByRound.max})` : "",
      c ? String(c.memory) : "",
      c ? String(c.lossDifference) : "",
    ];
  });
  const head = [
    "",
    "tokens/s, best",
    "peak memory",
    "MatMul GFLOP/s",
    "prefopt / it, speed",
    "memory",
    "losses differ by",
  ];
  console.log(table([head, ...rows]));
  const { torch, trl } = theirs[0].versions;
  console.log(
    `${result.model} parameters, ${pairs.length} pairs, ${tokens} tokens a round, best of ${count - 1}; losses of ${ours.losses.length} steps, ` +
      `the first ${ours.losses[0].toFixed(4)}, the last ${ours.losses.at(-1)?.toFixed(4)}`,
  );
  console.log(
    `${result.machine.cpu}, ${result.machine.threads} threads, PyTorch ${String(torch)}, TRL ${String(trl)}`,
  );
}
// float32 on both sides is the same work, up to rounding.
const wrong = compared.find((c) => c.against.includes("fp32") && c.lossDifference > 5e-3);
if (wrong) {
  console.error(`the losses differ by ${wrong.lossDifference}: not the same work as ${wrong.against}`);
  process.exit(1);
}
process.exit(0);
