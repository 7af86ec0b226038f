/**
 * Trains the embedded model on a few preferences of your own and samples from the result.
 * In a clone: `node scripts/run.js examples/train-dpo.ts`; elsewhere: `npm install prefopt --ignore-scripts`, then run it with your TypeScript runner.
 */
import { generate, loadLanguageModel, loadTokenizer, openBackend, packagePath, run } from "prefopt";

const base = packagePath("assets/reviews");
const praise = ["is a delight.", "is wonderful and warm.", "is a triumph of charm."];
const scorn = ["is a mess.", "is dull and cold.", "is a waste of time."];
const subjects = ["The film", "This movie", "The story", "The acting"];
const records = subjects.flatMap((prompt) =>
  praise.map((good, i) => ({ prompt, chosen: ` ${good}`, rejected: ` ${scorn[i]}` })),
);

const training = run(
  {
    method: "dpo",
    options: { beta: 0.1 },
    model: base,
    train: { epochs: 4, batchSize: 6, learningRate: 1e-4 },
  },
  { records, out: process.argv[2] },
);
let folder = "";
for await (const event of training) {
  if (event.type === "step")
    console.log(`step ${event.step} of ${event.steps}: loss ${event.metrics.loss.toFixed(3)}`);
  if (event.type === "end") folder = event.result.run;
}

const model = await loadLanguageModel(`${folder}/model`, await openBackend());
const tokenizer = await loadTokenizer(base);
const prompt = [...tokenizer.prefixIds, ...tokenizer.encode("The story")];
const [samples] = await generate(model, [prompt], { n: 3, maxTokens: 12, seed: 1 });
for (const { ids } of samples) console.log(`The story${tokenizer.decode(ids, { skipSpecialTokens: true })}`);
