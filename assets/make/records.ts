/**
 * Makes one small file of records of each kind out of the embedded preference pairs, for recipes, documentation and tests: the same
 * prefixes and completions, with whatever else a kind comes with. Numbers that a model or a person would give are made from the
 * sentiment scores of the pairs; assets/README.md says how.
 *
 *   node scripts/run.js assets/make/records.ts --out assets/records
 */
import { parseArgs } from "node:util";
import { random } from "../../src/engine/random.ts";
import { rewardNamed } from "../../src/feedback/reward.ts";
import { joinPath, makeFolder, packagePath, writeFileAtomic } from "../../src/formats/files.ts";
import { readJsonl } from "../../src/formats/jsonl.ts";
import { answered } from "../../src/data/encode.ts";
import { loadTokenizer } from "../../src/text/tokenizer.ts";

const { values: options } = parseArgs({ options: { out: { type: "string", default: "assets/records" } } });
const count = 64;
const rng = random(11, "records");
const tokenizer = await loadTokenizer(packagePath("assets/reviews"));
const reward = await rewardNamed("sentiment");

interface Pair {
  prompt: string;
  chosen: string;
  rejected: string;
  chosenReward: number;
  rejectedReward: number;
}
const pairs: Pair[] = [];
for await (const { value } of readJsonl(packagePath("assets/preferences/train.jsonl"))) pairs.push(value as Pair);

/** The completions of each prefix, best first, each once. */
const byPrompt = new Map<string, Map<string, number>>();
for (const { prompt, chosen, rejected, chosenReward, rejectedReward } of pairs) {
  const known = byPrompt.get(prompt) ?? new Map<string, number>();
  known.set(chosen, chosenReward).set(rejected, rejectedReward);
  byPrompt.set(prompt, known);
}
const prompts = [...byPrompt].map(([prompt, scores]) => ({
  prompt,
  completions: [...scores].map(([text, score]) => ({ text, score })).sort((a, b) => b.score - a.score),
}));
const several = prompts.filter((p) => p.completions.length >= 3).slice(0, count);
/** Prefixes whose completions all have scores of their own. */
const ordered = prompts.filter(
  ({ completions: c }) => c.length >= 3 && new Set(c.map((one) => one.score)).size === c.length,
);
const single = prompts.slice(0, count).map(({ prompt, completions }) => ({
  prompt,
  best: completions[0],
  worst: completions[completions.length - 1],
}));

const round = (x: number, digits = 3) => Number(x.toFixed(digits));
const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));
/** Probability that a completion of reward a is preferred to one of reward b. */
const prefers = (a: number, b: number) => sigmoid(4 * (a - b));
const pairOf = ({ prompt, best, worst }: (typeof single)[number]) => ({ prompt, chosen: best.text, rejected: worst.text });

/** For each token of a completion, how much the sentiment of the text changes with it, in (-½, ½). */
async function tokenRewards(prompt: string, completion: string): Promise<number[]> {
  const { answers } = answered(prompt, [completion], { tokenizer, endIds: [tokenizer.endId ?? 0] }, { file: "", line: 0 });
  const rewards: number[] = [];
  let before = await reward.score(prompt, "");
  for (let n = 1; n <= answers[0].length; n++) {
    const now = await reward.score(prompt, tokenizer.decode(answers[0].slice(0, n), { skipSpecialTokens: true }));
    rewards.push(round(0.5 * Math.tanh(now - before)));
    before = now;
  }
  return rewards;
}

/** Five noisy readings of which of two completions is better: mean, and the information gain of a look (BALD). */
function estimate(a: number, b: number) {
  const passes = Array.from({ length: 5 }, () => prefers(a + 0.2 * rng.normal(), b));
  const mean = passes.reduce((s, p) => s + p, 0) / passes.length;
  const entropy = (p: number) => -(p * Math.log(p) + (1 - p) * Math.log(1 - p));
  const bald = Math.max(0, entropy(mean) - passes.reduce((s, p) => s + entropy(p), 0) / passes.length);
  return { pMean: round(mean, 4), bald: round(bald, 6) };
}

const why = ({ best, worst }: (typeof single)[number]) =>
  `${best.score > 0 ? "It speaks well of the film" : "It is the milder of the two"}, ` +
  `${worst.score < 0 ? "the other one runs it down" : "the other one has nothing good to say"}.`;

/** Arithmetic, step by step: a right next step against a wrong one. */
const steps = Array.from({ length: count }, () => {
  const numbers = Array.from({ length: 3 + rng.integer(3) }, () => 1 + rng.integer(9));
  const sums = numbers.slice(1).map((_, i) => numbers.slice(0, i + 2).reduce((a, b) => a + b, 0));
  const at = rng.integer(sums.length);
  const line = (i: number, sum = sums[i]) => ` ${i === 0 ? numbers[0] : sums[i - 1]} + ${numbers[i + 1]} = ${sum}`;
  const before = Array.from({ length: at }, (_, i) => `Step ${i + 1}:${line(i)}\n`).join("");
  return {
    prompt: `What is ${numbers.join(" + ")}?\n`,
    prefix: `${before}Step ${at + 1}:`,
    chosen: line(at),
    rejected: line(at, sums[at] + 1 + rng.integer(5)),
  };
});

const files: Record<string, object[]> = {
  pairs: single.map(pairOf),
  "soft-labels": single.map((p) => ({ ...pairOf(p), chosenProb: round(prefers(p.best.score, p.worst.score)) })),
  "rewarded-pairs": single.map((p) => ({
    ...pairOf(p),
    chosenReward: p.best.score,
    rejectedReward: p.worst.score,
    margin: round(p.best.score - p.worst.score),
  })),
  "token-rewards": await Promise.all(
    single.map(async (p) => ({
      ...pairOf(p),
      tokenRewardsChosen: await tokenRewards(p.prompt, p.best.text),
      tokenRewardsRejected: await tokenRewards(p.prompt, p.worst.text),
    })),
  ),
  "explored-pairs": single.map((p) => ({
    ...pairOf(p),
    explored: rng.uniform() < 0.5 ? "chosen" : "rejected",
    chosenReward: p.best.score,
    rejectedReward: p.worst.score,
  })),
  "estimated-pairs": single.map((p) => ({ ...pairOf(p), ...estimate(p.best.score, p.worst.score) })),
  "calibrated-pairs": several.map(({ prompt, completions }) => ({
    prompt,
    chosen: completions[0].text,
    rejected: completions[completions.length - 1].text,
    calibration: completions[1].text,
  })),
  "self-play-pairs": several.map(({ prompt, completions }) => {
    const rate = (score: number) =>
      round(completions.reduce((s, c) => s + prefers(score, c.score), 0) / completions.length);
    const [best, worst] = [completions[0], completions[completions.length - 1]];
    return {
      prompt,
      chosen: best.text,
      rejected: worst.text,
      chosenWinRate: rate(best.score),
      rejectedWinRate: rate(worst.score),
      chosenProb: round(prefers(best.score, worst.score)),
    };
  }),
  triples: several.map(({ prompt, completions }) => ({
    prompt,
    gold: completions[0].text,
    chosen: completions[1].text,
    rejected: completions[completions.length - 1].text,
  })),
  lists: ordered.slice(0, count).map(({ prompt, completions }) => {
      const shuffled = rng.shuffle([...completions]);
      return {
        prompt,
        completions: shuffled.map((c) => c.text),
        scores: shuffled.map((c) => round((c.score + 1) / 2)),
        winRates: shuffled.map((c) =>
          round(completions.reduce((s, o) => s + prefers(c.score, o.score), 0) / completions.length),
        ),
      };
    }),
  unpaired: single.flatMap(({ prompt, best, worst }, i) => [
    i % 2 === 0
      ? { prompt, completion: best.text, label: true }
      : { prompt, completion: worst.text, label: false },
  ]),
  unlearning: single.map(({ prompt, worst }, i) => {
    const keep = single[(i + 1) % single.length];
    return {
      forget: { prompt, completion: worst.text },
      retain: { prompt: keep.prompt, completion: keep.best.text },
      idk: [" is not for me to say.", " has been seen by others.", ", I cannot tell."][i % 3],
    };
  }),
  steps,
  joint: single.map((p, i) => {
    const other = single[(i + 7) % single.length];
    const [good, bad] = p.best.score > other.worst.score ? [p.best, other.worst] : [other.worst, p.best];
    const owner = (c: typeof good) => (c === p.best ? p.prompt : other.prompt);
    return {
      chosen: { instruction: owner(good), response: good.text },
      rejected: { instruction: owner(bad), response: bad.text },
    };
  }),
  rationales: single.map((p) => ({ ...pairOf(p), rationale: ` ${why(p)}` })),
  examples: single.map(({ prompt, best }) => ({ prompt, completion: best.text })),
};

/** Ids of a prompt and its completions, as training makes them. */
const idsOf = (prompt: string, completions: readonly string[]) =>
  answered(prompt, completions, { tokenizer, endIds: [tokenizer.endId ?? 0] }, { file: "", line: 0 });

/** One record of each other way to write the same: conversations, turns that are shared, bare text, token ids. */
function forms(): object[] {
  const [{ prompt, best, worst }, next] = single;
  const [first] = ordered;
  const user = { role: "user", content: `Go on: ${prompt}` };
  const said = (text: string) => ({ role: "assistant", content: text.trim() });
  const pair = idsOf(prompt, [best.text, worst.text]);
  const three = idsOf(first.prompt, first.completions.slice(0, 3).map((c) => c.text));
  const kept = idsOf(next.prompt, [next.best.text]);
  const [refusal] = idsOf(prompt, [" is not for me to say."]).answers;
  return [
    { prompt: [user], chosen: [said(best.text)], rejected: [said(worst.text)] },
    { chosen: [user, said(best.text)], rejected: [user, said(worst.text)] },
    { messages: [user, said(best.text)] },
    { text: `${prompt}${best.text}` },
    { promptIds: pair.prompt, chosenIds: pair.answers[0], rejectedIds: pair.answers[1] },
    {
      promptIds: three.prompt,
      chosenIds: three.answers[0],
      rejectedIds: three.answers[2],
      calibrationIds: [three.answers[1]],
    },
    { promptIds: three.prompt, goldIds: three.answers[0], chosenIds: three.answers[1], rejectedIds: three.answers[2] },
    {
      promptIds: three.prompt,
      completionsIds: three.answers,
      scores: first.completions.slice(0, 3).map((c) => round((c.score + 1) / 2)),
    },
    { promptIds: pair.prompt, completionIds: pair.answers[0], label: true },
    { promptIds: pair.prompt, completionIds: pair.answers[0] },
    {
      forget: { promptIds: pair.prompt, completionIds: pair.answers[1] },
      retain: { promptIds: kept.prompt, completionIds: kept.answers[0] },
      idk: refusal,
    },
    {
      chosen: { instructionIds: pair.prompt, responseIds: pair.answers[0] },
      rejected: { instructionIds: kept.prompt, responseIds: kept.answers[0] },
    },
    {
      ...pairOf(single[0]),
      rationale: ` ${why(single[0])}`,
      rationalePrompt: `${prompt} … Which ending is the kinder one, and why?`,
    },
    {
      prompt: "What is 3 + 4 + 5?",
      completions: ["3 + 4 = 7.", "7 + 5 = 11."],
      labels: [true, false],
    },
    { prompt },
    { promptIds: pair.prompt },
  ];
}

files.forms = forms();

await makeFolder(options.out);
for (const [name, records] of Object.entries(files)) {
  const lines = records.map((r) => `${JSON.stringify(r)}\n`).join("");
  await writeFileAtomic(joinPath(options.out, `${name}.jsonl`), lines);
}
console.log(Object.entries(files).map(([name, records]) => `${name}: ${records.length}`).join("\n"));
