/**
 * Peak memory of a training step of each objective on a vocabulary of 49,152 words with 1,024 scored tokens: every objective in a process of
 * its own, through its recipe in recipes/objectives, on a model of random weights. Prints a table in Markdown.
 *
 *   node scripts/run.js bench/objective-memory.ts [objective … | objective,option=value … …]
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadRecords } from "../src/data/load-records.ts";
import { buildRows } from "../src/data/rows.ts";
import { formats } from "../src/data/record-formats.ts";
import { completionsOf, rolesIn } from "../src/data/token-row.ts";
import { openBackend } from "../src/engine/backends/open.ts";
import { termsOf } from "../src/methods/terms.ts";
import { newLanguageModel } from "../src/models/language-model.ts";
import { objectives } from "../src/objectives/table.ts";
import { readRows } from "../src/formats/rows.ts";
import { loadTokenizer } from "../src/text/tokenizer.ts";
import { loadRecipe } from "../src/training/recipe.ts";
import { rowKindFor } from "../src/training/requirements.ts";
import { train } from "../src/training/train.ts";

const scoredTokens = 1024;
const config = {
  model_type: "llama",
  vocab_size: 49152,
  hidden_size: 256,
  intermediate_size: 704,
  num_hidden_layers: 4,
  num_attention_heads: 4,
  max_position_embeddings: 512,
  tie_word_embeddings: true,
  eos_token_id: 0,
};

/** High-water mark of this process's resident memory, MB. */
const peak = (): number => process.resourceUsage().maxRSS / 1024;

/** One objective, in this process. */
async function measure(asked: string): Promise<void> {
  const [id, ...options] = asked.split(",");
  const folder = mkdtempSync(join(tmpdir(), "prefopt-"));
  process.env.PREFOPT_CACHE = join(folder, "cache");
  try {
    const settings = [
      "train.steps=2",
      "data.shuffle=false",
      "run.checkpointEvery=1000",
      "evaluate.metrics=[loss]",
      ...options.map((o) => `options.${o}`),
    ];
    const recipe = await loadRecipe(`recipes/objectives/${id}.yaml`, settings);
    const terms = termsOf(recipe);
    const backend = await openBackend();
    const model = newLanguageModel(config, 1, backend);
    const tokenizer = await loadTokenizer(recipe.model);
    const { records } = await loadRecords(recipe.data.train);
    const values: unknown[] = [];
    for await (const { value } of readRows(recipe.data.train)) values.push(value);
    const builder = {
      tokenizer,
      vocabularySize: config.vocab_size,
      endIds: [0],
      limits: { maxLength: 512, truncation: "error" as const },
    };
    // As many records as it takes, the whole file again where it ends.
    const chosen: unknown[] = [];
    let scored = 0;
    for (let i = 0; scored < scoredTokens; i = (i + 1) % records.length) {
      const { record, source } = records[i];
      chosen.push(values[i]);
      const kind = rowKindFor(terms, formats[record.format].kind);
      for (const row of buildRows(record, source, builder, kind))
        for (const role of rolesIn(row))
          scored += completionsOf(row, role).reduce((n, ids) => n + ids.length, 0);
    }
    const before = peak();
    const whole = {
      ...recipe,
      evaluate: undefined,
      train: { ...recipe.train, batchSize: chosen.length, microBatch: chosen.length },
    };
    for await (const event of train({
      recipe: whole,
      terms,
      model,
      tokenizer,
      backend,
      records: chosen,
      out: join(folder, "run"),
    }))
      if (event.type === "step" && !Number.isFinite(event.metrics.loss))
        throw new Error("the loss is not finite");
    console.log(JSON.stringify({ records: chosen.length, scored, before, peak: peak() }));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function all(ids: readonly string[]): void {
  console.log("| objective | records | scored tokens | model alone, MB | peak, MB |");
  console.log("| --- | ---: | ---: | ---: | ---: |");
  for (const id of ids) {
    const child = spawnSync(process.execPath, ["scripts/run.js", "bench/objective-memory.ts", "--one", id], {
      encoding: "utf8",
    });
    const line = child.stdout.trim().split("\n").at(-1) ?? "";
    if (child.status !== 0) throw new Error(`${id}: ${child.stderr}`);
    const { records, scored, before, peak } = JSON.parse(line) as Record<string, number>;
    console.log(`| ${id} | ${records} | ${scored} | ${before.toFixed(0)} | ${peak.toFixed(0)} |`);
  }
}

const [first, ...rest] = process.argv.slice(2);
if (first === "--one") await measure(rest[0]);
else all(first ? [first, ...rest] : objectives().map((o) => o.id));
