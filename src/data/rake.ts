/**
 * Key phrases of a text by RAKE (Rose, Engel, Cramer and Cowley, 2010): runs of content words between stop words and punctuation,
 * scored by how long the phrases are in which their words occur.
 */

/** A key phrase, with every place where it stands in the text: [start, end) as string indices. */
export interface KeyPhrase {
  readonly words: readonly string[];
  readonly score: number;
  readonly places: readonly (readonly [number, number])[];
}

export interface RakeOptions {
  readonly stopWords?: ReadonlySet<string>;
  /** Phrases are ⌈distinct content words · this⌉ many. */
  readonly topFraction?: number;
  /** Longer runs are cut into phrases of at most this many words. */
  readonly maxPhraseWords?: number;
}

interface Candidate {
  readonly words: readonly string[];
  readonly start: number;
  readonly end: number;
}

/** The best phrases of a text, best first; of equal ones the earlier. */
export function keyPhrases(text: string, options: RakeOptions = {}): KeyPhrase[] {
  const { stopWords = englishStopWords, topFraction = 1 / 3, maxPhraseWords = Infinity } = options;
  const candidates = candidatesOf(text, stopWords, maxPhraseWords);
  const frequency = new Map<string, number>();
  const degree = new Map<string, number>();
  for (const { words } of candidates) {
    for (const word of words) {
      frequency.set(word, (frequency.get(word) ?? 0) + 1);
      degree.set(word, (degree.get(word) ?? 0) + words.length);
    }
  }
  const score = (word: string) => (degree.get(word) ?? 0) / (frequency.get(word) ?? 1);
  const phrases = new Map<string, { words: readonly string[]; score: number; places: [number, number][] }>();
  for (const { words, start, end } of candidates) {
    const key = words.join(" ");
    const known = phrases.get(key);
    if (known) known.places.push([start, end]);
    else phrases.set(key, { words, score: words.reduce((s, w) => s + score(w), 0), places: [[start, end]] });
  }
  const best = [...phrases.values()].sort((a, b) => b.score - a.score); // stable: ties keep their order
  return best.slice(0, Math.ceil(frequency.size * topFraction - 1e-9));
}

/**
 * The text with its k best phrases removed for each degree d of `degrees`: k = round(d · m / (degrees - 1)) of m phrases, halves up.
 * Degree 0 is the text itself. Undefined where there are fewer phrases than degrees to tell apart.
 */
export function damagedCopies(
  text: string,
  degrees: number,
  options: RakeOptions = {},
): string[] | undefined {
  const phrases = keyPhrases(text, options);
  if (phrases.length < degrees - 1) return undefined;
  return Array.from({ length: degrees }, (_, d) => {
    const removed = Math.floor((d * phrases.length) / (degrees - 1) + 0.5);
    return without(text, phrases.slice(0, removed));
  });
}

/** Removes every place of the phrases and squeezes the white space that is left; the edges get none that was not there. */
function without(text: string, phrases: readonly KeyPhrase[]): string {
  if (phrases.length === 0) return text;
  const places = phrases.flatMap((p) => p.places).sort(([a], [b]) => a - b);
  let out = "";
  let at = 0;
  for (const [start, end] of places) {
    out += text.slice(at, start);
    at = end;
  }
  const squeezed = (out + text.slice(at)).replaceAll(/\s+/g, " ").replaceAll(/\s+([.,;:!?])/g, "$1");
  return /^\s/.test(text) ? squeezed.trimEnd() : squeezed.trim();
}

/** Runs of content words: broken by stop words, by punctuation, and by their greatest length. */
function candidatesOf(text: string, stopWords: ReadonlySet<string>, longest: number): Candidate[] {
  const found: Candidate[] = [];
  let run: { word: string; start: number; end: number }[] = [];
  const close = () => {
    if (run.length > 0)
      found.push({ words: run.map((w) => w.word), start: run[0].start, end: run[run.length - 1].end });
    run = [];
  };
  let previousEnd = 0;
  for (const match of text.matchAll(/[\p{L}\p{N}]+(?:['’-][\p{L}\p{N}]+)*/gu)) {
    const word = match[0].toLowerCase();
    const start = match.index;
    if (/\S/.test(text.slice(previousEnd, start))) close();
    if (stopWords.has(word)) close();
    else {
      if (run.length >= longest) close();
      run.push({ word, start, end: start + match[0].length });
    }
    previousEnd = start + match[0].length;
  }
  close();
  return found;
}

/** Common English words that carry no content of their own. */
export const englishStopWords: ReadonlySet<string> = new Set(
  (
    "a about above after again against all also am an and any are aren't as at be because been before being below between both but by " +
    "can can't cannot could couldn't did didn't do does doesn't doing don't down during each few for from further had hadn't has hasn't " +
    "have haven't having he her here hers herself him himself his how i if in into is isn't it it's its itself just let's me more most " +
    "must my myself no nor not now of off on once only or other our ours ourselves out over own same she should shouldn't so some such " +
    "than that that's the their theirs them themselves then there there's these they this those through to too under until up upon very " +
    "was wasn't we were weren't what when where which while who whom why will with won't would wouldn't you your yours yourself yourselves"
  ).split(" "),
);
