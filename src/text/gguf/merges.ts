/**
 * SentencePiece-style vocabularies hold a score for every piece and no list of merges. The list that merges alike is rebuilt:
 * each split of a piece into two pieces is a merge, those of the better piece first, of equal ones the longer left part.
 */

type Merge = readonly [left: string, right: string];

/**
 * Merges of models like Llama 2 and Mistral: by score, then by the lengths of left and right part, all descending.
 * `canMerge` says which pieces merging may make.
 */
export function mergesByScore(
  pieces: readonly string[],
  scores: ArrayLike<number>,
  canMerge: (id: number) => boolean,
): Merge[] {
  const ids = idsOf(pieces);
  const order = pieces.flatMap((_, id) => (canMerge(id) ? [id] : []));
  order.sort((a, b) => scores[b] - scores[a]);
  const merges: Merge[] = [];
  for (let i = 0; i < order.length;) {
    const equal: Merge[] = [];
    const score = scores[order[i]];
    const first = i;
    while (i < order.length && scores[order[i]] === score) equal.push(...splits(pieces[order[i++]], ids));
    if (i - first > 1) equal.sort(longerFirst);
    for (const merge of equal) merges.push(merge);
  }
  return merges;
}

/**
 * Merges of Gemma, whose files do not score the runs of one of line feed, tab and space in the order of merging: these come
 * first, then every other piece by its id.
 */
export function mergesOfGemma(pieces: readonly string[], canMerge: (id: number) => boolean): Merge[] {
  const ids = idsOf(pieces);
  const runs: Merge[] = [];
  const others: Merge[] = [];
  pieces.forEach((piece, id) => {
    if (!canMerge(id)) return;
    const list = /^(?:\n+|\t+|▁+)$/.test(piece) ? runs : others;
    for (const merge of splits(piece, ids)) list.push(merge);
  });
  return [...runs.sort(longerFirst), ...others];
}

const idsOf = (pieces: readonly string[]): ReadonlyMap<string, number> =>
  new Map(pieces.map((piece, id) => [piece, id]));

const characters = (text: string) => [...text].length;
const longerFirst = ([a, b]: Merge, [c, d]: Merge): number =>
  characters(c) - characters(a) || characters(d) - characters(b);

/** Every split of a piece into two existing ones, the longest left part first. */
function splits(piece: string, ids: ReadonlyMap<string, number>): Merge[] {
  const found: Merge[] = [];
  for (let at = before(piece, piece.length); at > 0; at = before(piece, at)) {
    const left = piece.slice(0, at);
    if (!ids.has(left)) continue;
    const right = piece.slice(at);
    if (ids.has(right)) found.push([left, right]);
  }
  return found;
}

/** Start of the character that ends at a position: two units back where that is the lower half of a surrogate pair. */
const before = (text: string, at: number): number =>
  at - ((text.charCodeAt(at - 1) & 0xfc00) === 0xdc00 && at > 1 ? 2 : 1);
