/**
 * The text that the embedded model learns from: rated sentences of movie and product reviews and tweets, and WordNet's
 * example sentences. Movie sentences are split by a hash of their id; the held-out part is in no training of any kind.
 */
import { readText, joinPath } from "../../src/formats/files.ts";
import { readJsonl } from "../../src/formats/jsonl.ts";
import { random } from "../../src/engine/random.ts";

export interface Corpus {
  /** Sentences of movie reviews to train on. */
  readonly movies: readonly string[];
  /** Movie sentences that nothing is trained on. */
  readonly heldOut: readonly string[];
  readonly products: readonly string[];
  readonly tweets: readonly string[];
  readonly examples: readonly string[];
}

/** Share of the movie sentences that is held out. */
const heldOutShare = 0.08;

/** Reads `ratings/*.jsonl` and `wordnet/examples.txt` of a folder. */
export async function readCorpus(folder: string): Promise<Corpus> {
  const rated = async (name: string) => {
    const list: { id: string; text: string }[] = [];
    for await (const { value } of readJsonl(joinPath(folder, "ratings", `${name}.jsonl`))) list.push(value as { id: string; text: string });
    return list;
  };
  const movies = await rated("movies");
  const isHeldOut = (id: string) => random(1, "held out", id).uniform() < heldOutShare;
  const tidy = (texts: readonly { text: string }[]) => [...new Set(texts.map((t) => t.text.trim()).filter((t) => t.length > 0))];
  const heldOut = tidy(movies.filter((m) => isHeldOut(m.id)));
  const kept = new Set(heldOut);
  return {
    heldOut,
    movies: tidy(movies.filter((m) => !isHeldOut(m.id))).filter((t) => !kept.has(t)),
    products: tidy(await rated("products")),
    // Links and names of people are not what a reviewer writes.
    tweets: tidy(await rated("tweets")).filter((t) => !/https?:|@|#|\bRT\b/.test(t)),
    examples: (await readText(joinPath(folder, "wordnet", "examples.txt"))).split("\n").filter(Boolean),
  };
}
