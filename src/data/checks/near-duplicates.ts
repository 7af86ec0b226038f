/**
 * Texts that are nearly the same: sets of word shingles whose Jaccard index is at least a threshold. Candidates come from MinHash with
 * banding (Broder, 1997; Leskovec, Rajaraman and Ullman, Mining of Massive Datasets, ch. 3); every candidate is then compared.
 */
import { wordsOf } from "./records.ts";
import { hash32 } from "./statistics.ts";

/** Words of a shingle. */
const width = 4;
const bands = 16;
const rowsOfBand = 4;
/** Entries of a bucket that are compared: a bucket of very many is one text again and again. */
const mostOfBucket = 8;

export interface Near<T> {
  readonly item: T;
  /** Jaccard index. */
  readonly likeness: number;
}

/** The shingles of a text, as sorted hashes. */
function shinglesOf(text: string): Uint32Array {
  const words = wordsOf(text);
  const found = new Set<number>();
  const n = Math.min(width, words.length);
  for (let i = 0; n > 0 && i + n <= words.length; i++) found.add(hash32(words.slice(i, i + n).join(" ")));
  return Uint32Array.from(found).sort();
}

export class NearDuplicates<T> {
  readonly #threshold: number;
  readonly #buckets = new Map<number, number[]>();
  readonly #items: { readonly item: T; readonly shingles: Uint32Array }[] = [];

  constructor(threshold = 0.8) {
    this.#threshold = threshold;
  }

  /** The most alike of the texts that were added; undefined where none is alike enough. Adds the text unless told not to. */
  find(text: string, item: T, add = true): Near<T> | undefined {
    const shingles = shinglesOf(text);
    const keys = bandKeys(shingles);
    let best: Near<T> | undefined;
    const seen = new Set<number>();
    for (const key of keys) {
      for (const index of this.#buckets.get(key) ?? []) {
        if (seen.has(index)) continue;
        seen.add(index);
        const other = this.#items[index];
        const likeness = jaccard(shingles, other.shingles);
        if (likeness >= this.#threshold && likeness > (best?.likeness ?? 0))
          best = { item: other.item, likeness };
      }
    }
    if (add) {
      const index = this.#items.push({ item, shingles }) - 1;
      for (const key of keys) {
        const bucket = this.#buckets.get(key);
        if (!bucket) this.#buckets.set(key, [index]);
        else if (bucket.length < mostOfBucket) bucket.push(index);
      }
    }
    return best;
  }
}

/** Multipliers and summands of the hash functions: odd numbers and others out of a linear congruence. */
const functions = (() => {
  const made = new Uint32Array(2 * bands * rowsOfBand);
  let state = 12345;
  for (let i = 0; i < made.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    made[i] = i % 2 === 0 ? state | 1 : state;
  }
  return made;
})();

/** A key for each band: texts that share one are candidates. */
function bandKeys(shingles: Uint32Array): number[] {
  if (shingles.length === 0) return [];
  const keys: number[] = [];
  for (let band = 0; band < bands; band++) {
    let key = band + 1;
    for (let row = 0; row < rowsOfBand; row++) {
      const at = 2 * (band * rowsOfBand + row);
      const [a, b] = [functions[at], functions[at + 1]];
      let least = 0xffffffff;
      for (const shingle of shingles) {
        let h = Math.imul(shingle, a) + b;
        h = (h ^ (h >>> 16)) >>> 0;
        if (h < least) least = h;
      }
      key = (Math.imul(key, 0x9e3779b1) ^ least) >>> 0;
    }
    keys.push(key * 32 + band);
  }
  return keys;
}

function jaccard(a: Uint32Array, b: Uint32Array): number {
  let [i, j, both] = [0, 0, 0];
  while (i < a.length && j < b.length) {
    if (a[i] === b[j]) {
      both++;
      i++;
      j++;
    } else if (a[i] < b[j]) i++;
    else j++;
  }
  return both / (a.length + b.length - both);
}
