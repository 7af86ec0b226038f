/**
 * Byte-pair encoding (Sennrich et al., arXiv:1508.07909): the characters of a word are merged, always the pair that stands
 * first in the list of merges, of equal ones the leftmost, until no pair can be merged. A queue of pairs keeps it fast for
 * words as long as a whole text, which models without pre-tokenizer have.
 */
import { unitsAt } from "./piece.ts";

export interface Tokens {
  readonly ids: readonly number[];
  /** UTF-16 units [start, end) of the word that each token touches; the bytes of a split character share its units. */
  readonly starts: readonly number[];
  readonly ends: readonly number[];
}

export interface BpeJson {
  /** "left right", or pairs. */
  readonly merges: readonly (string | readonly [string, string])[];
  readonly unk_token?: string | null;
  readonly fuse_unk?: boolean;
  readonly byte_fallback?: boolean;
  readonly ignore_merges?: boolean;
  readonly continuing_subword_prefix?: string | null;
  readonly end_of_word_suffix?: string | null;
}

/** Words that are remembered, and how long they may be. */
const cacheSize = 20_000;
const cachedLength = 256;

export class Bpe {
  readonly #ids: ReadonlyMap<string, number>;
  /** Rank of a pair of ids, by left · vocabulary + right. */
  readonly #ranks = new Map<number, number>();
  /** The id that a merge makes, by its rank. */
  readonly #made: Int32Array;
  readonly #span: number;
  readonly #unknown?: number;
  /** Ids of the byte tokens <0x00> … <0xFF>, where characters without a token become bytes. */
  readonly #bytes?: readonly (number | undefined)[];
  readonly #json: BpeJson;
  readonly #cache = new Map<string, Tokens>();

  /** `ids` is the vocabulary. Throws for a merge of or into something that is no token. */
  constructor(json: BpeJson, ids: ReadonlyMap<string, number>) {
    this.#json = json;
    this.#ids = ids;
    this.#span = ids.size + 1;
    for (const id of ids.values()) this.#span = Math.max(this.#span, id + 1);
    const prefix = json.continuing_subword_prefix?.length ?? 0;
    this.#made = new Int32Array(json.merges.length);
    json.merges.forEach((merge, rank) => {
      const at = typeof merge === "string" ? merge.indexOf(" ", 1) : 0;
      const [left, right] = typeof merge === "string" ? [merge.slice(0, at), merge.slice(at + 1)] : merge;
      const [l, r, made] = [ids.get(left), ids.get(right), ids.get(left + right.slice(prefix))];
      if (l === undefined || r === undefined || made === undefined)
        throw new Error(`merge ${rank}, ${JSON.stringify(merge)}, is of or into something that is no token`);
      const pair = l * this.#span + r;
      if (!this.#ranks.has(pair)) this.#ranks.set(pair, rank);
      this.#made[rank] = made;
    });
    this.#unknown = json.unk_token ? ids.get(json.unk_token) : undefined;
    if (json.byte_fallback) {
      const name = (byte: number) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`;
      this.#bytes = Array.from({ length: 256 }, (_, byte) => ids.get(name(byte)));
    }
  }

  /** The tokens of a word. */
  encode(word: string): Tokens {
    const known = this.#cache.get(word);
    if (known) return known;
    const whole = this.#json.ignore_merges ? this.#ids.get(word) : undefined;
    const tokens =
      whole === undefined ? this.#merged(word) : { ids: [whole], starts: [0], ends: [word.length] };
    if (word.length <= cachedLength) {
      if (this.#cache.size >= cacheSize) this.#cache.clear();
      this.#cache.set(word, tokens);
    }
    return tokens;
  }

  #merged(word: string): Tokens {
    const { ids, starts, ends } = this.#characters(word);
    const count = ids.length;
    const rankAt = (left: number, right: number) => this.#ranks.get(ids[left] * this.#span + ids[right]);
    // A linked list of what is left; 0 … count-1 by the first character of each token.
    const next = Int32Array.from({ length: count }, (_, i) => i + 1);
    const previous = Int32Array.from({ length: count }, (_, i) => i - 1);
    const gone = new Uint8Array(count);
    const queue = new PairQueue();
    const offer = (left: number) => {
      const rank = left >= 0 && next[left] < count ? rankAt(left, next[left]) : undefined;
      if (rank !== undefined) queue.push(rank, left);
    };
    for (let i = 0; i + 1 < count; i++) offer(i);
    for (let pair = queue.pop(); pair; pair = queue.pop()) {
      const { rank, left } = pair;
      const right = next[left];
      // Pairs whose parts have changed since are offered anew under what they are now.
      if (gone[left] || right >= count || rankAt(left, right) !== rank) continue;
      ids[left] = this.#made[rank];
      ends[left] = Math.max(ends[left], ends[right]);
      gone[right] = 1;
      next[left] = next[right];
      if (next[left] < count) previous[next[left]] = left;
      offer(left);
      offer(previous[left]);
    }
    const left = ids.map((_, i) => i).filter((i) => !gone[i]);
    return {
      ids: left.map((i) => ids[i]),
      starts: left.map((i) => starts[i]),
      ends: left.map((i) => ends[i]),
    };
  }

  /** The tokens that merging begins with: characters, else bytes, else the unknown token. */
  #characters(word: string): { ids: number[]; starts: number[]; ends: number[] } {
    const { continuing_subword_prefix: prefix, end_of_word_suffix: suffix, fuse_unk: fuses } = this.#json;
    const [ids, starts, ends]: [number[], number[], number[]] = [[], [], []];
    let unknownBefore = false;
    for (let at = 0; at < word.length;) {
      const end = at + unitsAt(word, at);
      const char = word.slice(at, end);
      const name = (at > 0 && prefix ? prefix : "") + char + (end === word.length && suffix ? suffix : "");
      const add = (id: number) => {
        ids.push(id);
        starts.push(at);
        ends.push(end);
      };
      const id = this.#ids.get(name);
      const bytes = id === undefined ? this.#bytesOf(char) : undefined;
      const isUnknown = id === undefined && bytes === undefined;
      if (id !== undefined) add(id);
      else if (bytes) bytes.forEach(add);
      else if (this.#unknown !== undefined) {
        if (fuses && unknownBefore) ends[ends.length - 1] = end;
        else add(this.#unknown);
      }
      unknownBefore = isUnknown;
      at = end;
    }
    return { ids, starts, ends };
  }

  #bytesOf(char: string): number[] | undefined {
    if (!this.#bytes) return undefined;
    const found: number[] = [];
    for (const byte of new TextEncoder().encode(char)) {
      const id = this.#bytes[byte];
      if (id === undefined) return undefined;
      found.push(id);
    }
    return found;
  }
}

/** Pairs by rank, of equal rank by place: a binary heap of numbers, rank · 2^26 + place. */
class PairQueue {
  readonly #heap: number[] = [];

  push(rank: number, left: number): void {
    const heap = this.#heap;
    const key = rank * places + left;
    let at = heap.push(key) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (heap[parent] <= key) break;
      heap[at] = heap[parent];
      at = parent;
    }
    heap[at] = key;
  }

  pop(): { rank: number; left: number } | undefined {
    const heap = this.#heap;
    const top = heap[0];
    const last = heap.pop();
    if (top === undefined || last === undefined) return undefined;
    if (heap.length > 0) {
      let at = 0;
      for (;;) {
        let child = 2 * at + 1;
        if (child >= heap.length) break;
        if (child + 1 < heap.length && heap[child + 1] < heap[child]) child++;
        if (heap[child] >= last) break;
        heap[at] = heap[child];
        at = child;
      }
      heap[at] = last;
    }
    return { rank: Math.floor(top / places), left: top % places };
  }
}

const places = 2 ** 26;
