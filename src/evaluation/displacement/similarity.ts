/**
 * How alike a model finds the two answers of a pair (Razin et al., arXiv:2410.08847, Definitions 2 and 3, Theorem 6): the more alike,
 * the more a preference loss lowers the probability of the chosen answer with that of the rejected one. Sums of long answers are large and nearly
 * cancel, so everything is added in float64.
 */

/** What a model says of one answer: one row for each of its tokens, the end token included. */
export interface AnswerStates {
  /** The state that predicts each token, after the last norm: that of the prompt's last token, then of all answer tokens but the last. */
  readonly states: readonly ArrayLike<number>[];
  /** Its tokens without the end token, for the edit distance. */
  readonly tokens?: readonly number[];
}

/** What is predicted at each state of an answer: its token, and the distribution over the vocabulary. */
export interface Predictions {
  readonly targets: readonly number[];
  readonly distributions: readonly ArrayLike<number>[];
}

/** The coefficients of Theorem 6, in [-2, 2]: a row for each state of the chosen answer. */
export interface Coefficients {
  /** α⁻, a column for each state of the rejected answer. */
  readonly rejected: readonly ArrayLike<number>[];
  /** α⁺, a column for each state of the chosen answer. */
  readonly chosen: readonly ArrayLike<number>[];
}

export const similarityMeasures = ["ches", "lnChes", "minusEdit", "lastHidden", "chesExact"] as const;

/** All are oriented alike: higher is more similar. */
export type SimilarityMeasure = (typeof similarityMeasures)[number];

export type Similarities = Partial<Record<SimilarityMeasure, number>>;

/** The rows that predict an answer: `hidden` has one row a token of prompt, answer and end token. */
export function predictingStates<Row>(hidden: readonly Row[], promptLength: number): Row[] {
  return hidden.slice(promptLength - 1, -1);
}

/** The measures that the given numbers allow. */
export function similarities(
  chosen: AnswerStates,
  rejected: AnswerStates,
  coefficients?: Coefficients,
): Similarities {
  const [w, l] = [chosen.states, rejected.states];
  const [sumW, sumL] = [sum(w), sum(l)];
  return {
    ches: dot(sumW, sumL) - dot(sumW, sumW),
    lnChes: dot(sumW, sumL) / (w.length * l.length) - dot(sumW, sumW) / w.length ** 2,
    lastHidden: dot(w[w.length - 1], l[l.length - 1]),
    ...(chosen.tokens && rejected.tokens && { minusEdit: minusEdit(chosen.tokens, rejected.tokens) }),
    // ⟨∇ log π(y_w), ∇ log π(y_l)⟩ - ‖∇ log π(y_w)‖², gradients by the unembedding
    ...(coefficients && {
      chesExact: weighted(coefficients.rejected, w, l) - weighted(coefficients.chosen, w, w),
    }),
  };
}

/** α_kk' = ⟨e_{y_k} - π_k, e_{y'_k'} - π'_k'⟩ of two answers. */
export function coefficientsOf(a: Predictions, b: Predictions): number[][] {
  return a.targets.map((y, k) =>
    b.targets.map(
      (z, j) =>
        Number(y === z) -
        b.distributions[j][y] -
        a.distributions[k][z] +
        dot(a.distributions[k], b.distributions[j]),
    ),
  );
}

/** Minus the token edit distance as a share of the longer answer, in [-1, 0]; 0 for two empty ones. */
export function minusEdit(a: readonly number[], b: readonly number[]): number {
  const longest = Math.max(a.length, b.length);
  return longest === 0 ? 0 : -editDistance(a, b) / longest;
}

/** Insertions, deletions and substitutions from one list of tokens to the other (Levenshtein, 1966). */
export function editDistance(a: readonly number[], b: readonly number[]): number {
  let row = Uint32Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = new Uint32Array(b.length + 1);
    next[0] = i;
    for (let j = 1; j <= b.length; j++)
      next[j] = Math.min(next[j - 1] + 1, row[j] + 1, row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1));
    row = next;
  }
  return row[b.length];
}

/** Σ α_kk' ⟨h_k, h_k'⟩ */
function weighted(
  alpha: readonly ArrayLike<number>[],
  a: readonly ArrayLike<number>[],
  b: readonly ArrayLike<number>[],
): number {
  let total = 0;
  a.forEach((h, k) => b.forEach((g, j) => (total += alpha[k][j] * dot(h, g))));
  return total;
}

function sum(rows: readonly ArrayLike<number>[]): Float64Array {
  const total = new Float64Array(rows[0]?.length ?? 0);
  for (const row of rows) for (let i = 0; i < total.length; i++) total[i] += row[i];
  return total;
}

function dot(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let total = 0;
  for (let i = 0; i < a.length; i++) total += a[i] * b[i];
  return total;
}
