/**
 * Makes the embedded preference pairs: controlled sentiment at small scale (Rafailov et al., arXiv:2305.18290, section 6.1).
 * Prefixes are the first words of real review sentences; the base model completes each four times, a sentiment scorer labels
 * all pairs of different score. Train and test are split by prefix: test prefixes begin held-out sentences.
 *
 *   node scripts/run.js assets/make/preferences.ts --data DATA --model assets/reviews --out assets/preferences
 */
import { parseArgs } from "node:util";
import { openBackend } from "../../src/engine/backends/open.ts";
import { random } from "../../src/engine/random.ts";
import { sampleModel } from "../../src/evaluation/samples.ts";
import { mean } from "../../src/evaluation/text-metrics.ts";
import { rewardNamed } from "../../src/feedback/reward.ts";
import { joinPath, makeFolder, writeFileAtomic } from "../../src/formats/files.ts";
import { loadLanguageModel } from "../../src/models/language-model.ts";
import { loadTokenizer } from "../../src/text/tokenizer.ts";
import { promptIds } from "../../src/data/rows.ts";
import { readCorpus } from "./corpus.ts";

const { values: options } = parseArgs({
  options: {
    data: { type: "string" },
    model: { type: "string", default: "assets/reviews" },
    out: { type: "string", default: "assets/preferences" },
    trainPrefixes: { type: "string", default: "1600" },
    testPrefixes: { type: "string", default: "256" },
  },
});
if (!options.data) throw new Error("name the data's folder: --data DIR (assets/README.md says where to get it)");

const samplesPerPrefix = 4;
/** Short completions: each pair says more about sentiment and less about length. */
const maxTokens = 12;
/** Pairs whose scores differ by less are near-ties of the scorer and are left out. */
const smallestGap = 0.2;
const corpus = await readCorpus(options.data);
const model = await loadLanguageModel(options.model, await openBackend());
const tokenizer = await loadTokenizer(options.model);
const reward = await rewardNamed("sentiment");

/** The first two to six words of sentences, each prefix once, in a shuffled order. */
function prefixesOf(sentences: readonly string[], name: string, taken: ReadonlySet<string>): string[] {
  const rng = random(1, "prefixes", name);
  const found = new Set<string>();
  for (const sentence of rng.shuffle([...sentences])) {
    const words = sentence.split(/\s+/);
    const count = 2 + rng.integer(5);
    if (words.length < count + 3) continue;
    const prefix = words.slice(0, count).join(" ");
    if (!taken.has(prefix)) found.add(prefix);
  }
  return [...found];
}

const test = prefixesOf(corpus.heldOut, "test", new Set()).slice(0, Number(options.testPrefixes));
const train = prefixesOf(corpus.movies, "train", new Set(test)).slice(0, Number(options.trainPrefixes));

/** All pairs of completions of a prefix whose rewards differ, the better one chosen. */
async function pairsOf(prefixes: readonly string[], seed: number): Promise<object[]> {
  const prompts = prefixes.flatMap((prefix) => Array.from({ length: samplesPerPrefix }, () => promptIds(prefix, tokenizer)));
  const samples = await sampleModel(model, tokenizer, prompts, { reward, maxTokens, seed });
  console.log(`${samples.length} samples, mean reward ${mean(samples.map((s) => s.reward)).toFixed(3)}`);
  return prefixes.flatMap((prompt, p) => {
    const of = samples.slice(p * samplesPerPrefix, (p + 1) * samplesPerPrefix);
    const pairs: object[] = [];
    for (const [i, a] of of.entries()) {
      for (const b of of.slice(i + 1)) {
        if (Math.abs(a.reward - b.reward) <= smallestGap || a.completion === "" || b.completion === "") continue;
        const [chosen, rejected] = a.reward > b.reward ? [a, b] : [b, a];
        pairs.push({ prompt, chosen: chosen.completion, rejected: rejected.completion, chosenReward: chosen.reward, rejectedReward: rejected.reward });
      }
    }
    return pairs;
  });
}

await makeFolder(options.out);
for (const [name, prefixes, seed] of [["train", train, 1], ["test", test, 2]] as const) {
  const pairs = await pairsOf(prefixes, seed);
  await writeFileAtomic(joinPath(options.out, `${name}.jsonl`), pairs.map((p) => `${JSON.stringify(p)}\n`).join(""));
  console.log(`${name}: ${pairs.length} pairs of ${prefixes.length} prefixes`);
}
