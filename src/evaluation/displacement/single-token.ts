/**
 * Where probability goes when a preference loss is followed for answers of one token (Razin et al., arXiv:2410.08847, Theorems 4 and 5):
 * unembedding W and state h move freely, logits are W h. For such pairs CHES is 0 and says nothing; this does.
 */

export interface SingleTokenPair {
  /** Unembedding, a row a token of the vocabulary. */
  readonly W: readonly (readonly number[])[];
  /** The state that predicts the answer. */
  readonly h: readonly number[];
  readonly chosen: number;
  readonly rejected: number;
  readonly beta: number;
  /** log π_ref(y_w) - log π_ref(y_l); 0 where it is left out. */
  readonly referenceLogRatio?: number;
}

export interface Flow {
  /** The next-token distribution. */
  readonly p: number[];
  /** ℓ', the slope of the DPO loss by its margin log π(y_w) - log π(y_l), at most 0. */
  readonly lossSlope: number;
  /** The two parts of d/dt log p(y_w) / -ℓ': m ≥ 0, and what the likeness of tokens takes from it. */
  readonly m: number;
  readonly s: number;
  /** d/dt log p of every token under gradient flow. */
  readonly rate: number[];
}

/** The flow at one moment. */
export function gradientFlow(pair: SingleTokenPair): Flow {
  const { W, h, chosen: w, rejected: l } = pair;
  const p = softmax(W.map((row) => dot(row, h)));
  const lossSlope = slope(pair, p);
  const d = subtract(W[w], W[l]);
  const hh = dot(h, h);
  const spread = 1 - p[w] + p[l];
  const m = (1 - p[w]) * dot(W[w], W[w]) + p[l] * dot(W[l], W[l]) + spread * hh;
  const others = W.reduce((total, row, z) => total + (z === w || z === l ? 0 : p[z] * dot(row, d)), 0);
  const s = -spread * dot(W[w], W[l]) - others;
  // For every token: ⟨W_z, d⟩ + (1 if z is w, -1 if l)·‖h‖² + c; for w this is m + s.
  const c = (p[l] - p[w]) * hh - W.reduce((total, row, z) => total + p[z] * dot(row, d), 0);
  const rate = W.map((row, z) => -lossSlope * (dot(row, d) + (z === w ? hh : z === l ? -hh : 0) + c));
  return { p, lossSlope, m, s, rate };
}

export interface Descent {
  /** The distribution after each reported number of steps. */
  readonly p: Readonly<Record<string, number[]>>;
  /** The largest fall of the chosen token's probability from one step to any later one. */
  readonly largestDrop: number;
  /** The token whose probability grew most from start to end. */
  readonly topGain: number;
}

/** Gradient descent on W and h at once with the start as reference. */
export function descend(
  pair: Omit<SingleTokenPair, "referenceLogRatio">,
  options: { learningRate: number; steps: number; report?: readonly number[] },
): Descent {
  const { chosen: w, rejected: l } = pair;
  const W = pair.W.map((row) => [...row]);
  let h = [...pair.h];
  const distribution = () => softmax(W.map((row) => dot(row, h)));
  const start = distribution();
  const referenceLogRatio = Math.log(start[w]) - Math.log(start[l]);
  const p: Record<string, number[]> = {};
  let [highest, largestDrop] = [start[w], 0];
  for (let step = 1; step <= options.steps; step++) {
    const pull = -options.learningRate * slope({ ...pair, W, h, referenceLogRatio }, distribution());
    const d = subtract(W[w], W[l]);
    for (const [token, sign] of [
      [w, 1],
      [l, -1],
    ])
      W[token] = W[token].map((x, i) => x + sign * pull * h[i]);
    h = h.map((x, i) => x + pull * d[i]);
    const now = distribution();
    largestDrop = Math.max(largestDrop, highest - now[w]);
    highest = Math.max(highest, now[w]);
    if (options.report?.includes(step)) p[step] = now;
  }
  const gains = distribution().map((x, z) => x - start[z]);
  return { p, largestDrop, topGain: gains.indexOf(Math.max(...gains)) };
}

export interface UnembeddingMetrics {
  readonly chosenNorm: number;
  readonly rejectedNorm: number;
  readonly inner: number;
  /** ⟨W_w, W_l⟩ / ‖W_w‖ */
  readonly projection: number;
  /** Norm of what of W_l is orthogonal to W_w. */
  readonly orthogonal: number;
}

/** How the unembeddings of two answers of one token lie to one another. */
export function unembeddingMetrics(
  chosen: readonly number[],
  rejected: readonly number[],
): UnembeddingMetrics {
  const [chosenNorm, inner] = [Math.sqrt(dot(chosen, chosen)), dot(chosen, rejected)];
  const along = inner / dot(chosen, chosen);
  const rest = rejected.map((x, i) => x - along * chosen[i]);
  return {
    chosenNorm,
    rejectedNorm: Math.sqrt(dot(rejected, rejected)),
    inner,
    projection: inner / chosenNorm,
    orthogonal: Math.sqrt(dot(rest, rest)),
  };
}

/** -β σ(-β (log-ratio - reference's)) */
function slope({ beta, chosen, rejected, referenceLogRatio = 0 }: SingleTokenPair, p: readonly number[]) {
  const margin = beta * (Math.log(p[chosen]) - Math.log(p[rejected]) - referenceLogRatio);
  return -beta / (1 + Math.exp(margin));
}

function softmax(logits: readonly number[]): number[] {
  const top = Math.max(...logits);
  const e = logits.map((x) => Math.exp(x - top));
  const total = e.reduce((a, b) => a + b, 0);
  return e.map((x) => x / total);
}

const dot = (a: readonly number[], b: readonly number[]) => a.reduce((total, x, i) => total + x * b[i], 0);
const subtract = (a: readonly number[], b: readonly number[]) => a.map((x, i) => x - b[i]);
