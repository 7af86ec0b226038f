/**
 * A training step here and in PyTorch, in one run: forward and all gradients of the same Llama with the same weights on the same
 * tokens, rounds in turns. `node scripts/run.js bench/peers/step.ts --hidden 256,512,768,1024`
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { machine, versions } from "../../src/cli/bench/machine.ts";
import { modelOf, shapeOf } from "../../src/cli/bench/shape.ts";
import { significant, spread } from "../../src/cli/bench/statistics.ts";
import { stepFlops } from "../../src/cli/bench/step-program.ts";
import { table } from "../../src/cli/output.ts";
import { openBackend } from "../../src/engine/backends/open.ts";
import { random } from "../../src/engine/random.ts";
import { saveLanguageModel } from "../../src/models/language-model.ts";
import { python } from "./environment.ts";
import { type Line, own, peer, rounds } from "./rounds.ts";

const { values } = parseArgs({
  options: {
    venv: { type: "string" },
    hidden: { type: "string", default: "256,512,768,1024" },
    rows: { type: "string", default: "4" },
    time: { type: "string", default: "256" },
    rounds: { type: "string", default: "15" },
    /** Of a round. Few: a machine's speed wanders within seconds, and of two neighbouring steps it is the same. */
    steps: { type: "string", default: "1" },
    json: { type: "boolean", default: false },
  },
});
/** 4 layers where 8 would take long. */
const layersOf = (hidden: number) => (hidden > 512 ? 4 : 8);
const batch = { rows: Number(values.rows), time: Number(values.time) };
const program = python(values.venv);
const backend = await openBackend();
const found: Record<string, unknown>[] = [];
for (const hidden of values.hidden.split(",").map(Number)) {
  const folder = mkdtempSync(join(tmpdir(), "prefopt-step-"));
  try {
    const shape = shapeOf({ hidden, layers: layersOf(hidden), vocabulary: 8192 });
    const model = modelOf(shape, backend);
    await saveLanguageModel(model, folder);
    const flops = stepFlops(model, shape, batch);
    const rng = random(1, "tokens");
    const n = batch.rows * batch.time;
    const ids = BigInt64Array.from({ length: 2 * n }, () => BigInt(rng.integer(shape.vocabulary)));
    writeFileSync(join(folder, "ids"), new Uint8Array(ids.buffer));
    backend.free(model.weights.flat.buffer as ArrayBuffer);
    const args = [
      "--model",
      folder,
      "--ids",
      join(folder, "ids"),
      "--rows",
      values.rows,
      "--time",
      values.time,
      "--steps",
      values.steps,
    ];
    const results = await rounds(
      [
        own("prefopt", "step-prefopt.ts", args),
        peer("PyTorch", program, "step_torch.py", [...args, "--threads", String(backend.threads)]),
      ],
      Number(values.rounds),
    );
    const [here, there] = results.map((r) => r.rounds);
    const medians = (lines: readonly Line[]) => lines.map((l) => spread(l.seconds as number[], 15).median);
    const [ours, theirs] = [medians(here), medians(there)];
    const gemm = (lines: readonly Line[]) => spread(lines.map((l) => Number(l.gemmGflops)));
    const agree = (key: string) => Math.abs(Number(here[0][key]) / Number(there[0][key]) - 1);
    found.push({
      hidden,
      layers: shape.layers,
      ratio: spread(
        ours.map((s, i) => theirs[i] / s),
        3,
      ),
      prefopt: {
        gflops: spread(ours.map((s) => flops / s / 1e9)),
        gemmGflops: gemm(here),
        fraction: spread(
          ours.map((s, i) => flops / s / 1e9 / Number(here[i].gemmGflops)),
          3,
        ),
        peakRssMb: here.at(-1)?.peakRssMb,
      },
      torch: {
        version: results[1].ready.torch,
        gflops: spread(theirs.map((s) => flops / s / 1e9)),
        gemmGflops: gemm(there),
        peakRssMb: there.at(-1)?.peakRssMb,
      },
      agreement: { loss: significant(agree("loss"), 2), gradNorm: significant(agree("gradNorm"), 2) },
    });
    if (Math.max(agree("loss"), agree("gradNorm")) > 1e-4)
      throw new Error("the two sides do not do the same work");
  } finally {
    rmSync(folder, { recursive: true });
  }
}
const result = { steps: found, machine: machine(backend), versions: versions() };
if (values.json) console.log(JSON.stringify(result));
else {
  interface Row {
    hidden: number;
    layers: number;
    ratio: { median: number; min: number; max: number };
    prefopt: { gflops: { median: number }; gemmGflops: { median: number }; fraction: { median: number } };
    torch: { gflops: { median: number }; gemmGflops: { median: number } };
  }
  console.log(
    table([
      [
        "hidden",
        "layers",
        "prefopt GFLOP/s",
        "its MatMul",
        "fraction",
        "PyTorch GFLOP/s",
        "its MatMul",
        "prefopt / PyTorch",
      ],
      ...(found as unknown as Row[]).map((f) => [
        String(f.hidden),
        String(f.layers),
        String(f.prefopt.gflops.median),
        String(f.prefopt.gemmGflops.median),
        String(f.prefopt.fraction.median),
        String(f.torch.gflops.median),
        String(f.torch.gemmGflops.median),
        `${f.ratio.median} (${f.ratio.min} to ${f.ratio.max})`,
      ]),
    ]),
  );
  console.log(
    `${result.machine.cpu}, ${result.machine.threads} threads, PyTorch ${String((found[0].torch as { version: string }).version)}`,
  );
}
process.exit(0);
