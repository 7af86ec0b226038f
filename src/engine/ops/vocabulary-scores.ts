/**
 * What whole next-token distributions say at given positions: the log-probability of a token, the KL divergence to a reference's
 * distribution in both directions, and the collision probability. Output head and softmax are part of the operation, in chunks of
 * rows that the backward computes again, so that no [tokens, vocabulary] block outlives its chunk.
 */
import { type Tensor, dim, relabel, sameDim, shapeError, showShape } from "../tensor.ts";
import { after } from "../ordering.ts";
import { add, exp, log, mul, neg, sub, tanh } from "./elementwise.ts";
import { logSoftmax, rowSum } from "./normalization.ts";
import { concat, reshape, slice } from "./shape.ts";

/** Rows over the vocabulary that are worked on at once have at most this many elements: 16 MB in float32. */
const blockElements = 1 << 22;

/** Per token: log p(target); KL(ref ‖ p); KL(p ‖ ref); log Σ p² (no gradient). */
export type VocabularyQuantity = "logp" | "kl" | "reverseKl" | "collision";

export interface VocabularyInputs {
  /** [scored, hidden] and [vocabulary, hidden] */
  readonly hidden: Tensor;
  readonly head: Tensor;
  /** [scored] int64 */
  readonly targets: Tensor;
  /** The reference's states and head, constants; needed for the divergences. [scored, width] and [vocabulary, width] */
  readonly referenceHidden?: Tensor;
  readonly referenceHead?: Tensor;
  /** c where logits z become c tanh(z/c), of the policy and of the reference. */
  readonly softcap?: number;
  readonly referenceSoftcap?: number;
}

/** The quantities asked for, [scored] each. `chunkRows` overrides the choice of chunk size. */
export function vocabularyScores(
  inputs: VocabularyInputs,
  wanted: readonly VocabularyQuantity[],
  chunkRows?: number,
): Record<VocabularyQuantity, Tensor | undefined> {
  const { hidden, head, targets, referenceHidden, referenceHead } = inputs;
  const [scored, inner] = hidden.shape;
  const [vocabulary, inner2] = head.shape;
  if (!sameDim(inner, inner2) || targets.shape[0].size !== scored.size) {
    throw shapeError(
      "vocabularyScores",
      `hidden ${showShape(hidden.shape)}, head ${showShape(head.shape)}, targets ${showShape(targets.shape)}`,
    );
  }
  const diverges = wanted.some((q) => q === "kl" || q === "reverseKl");
  if (diverges && (!referenceHidden || !referenceHead))
    throw shapeError("vocabularyScores", "divergences need the reference's states and head");
  const rows = chunkRows ?? Math.max(1, Math.floor(blockElements / vocabulary.size));
  const starts = Array.from({ length: Math.ceil(scored.size / rows) }, (_, i) => i * rows);
  const part = (x: Tensor, start: number) =>
    slice(x, x.shape[0].name, start, Math.min(start + rows, scored.size));
  const { graph } = hidden;

  const packed = graph.untaped(() => {
    const parts: Tensor[][] = wanted.map(() => []);
    let last: Tensor | undefined;
    for (const start of starts) {
      const h = part(hidden, start);
      const block = distributions(inputs, last ? after(h, last) : h, start, part, diverges);
      const found = scoresOf(block, part(targets, start));
      wanted.forEach((q, i) => parts[i].push(found[q]()));
      last = parts[0][parts[0].length - 1];
    }
    return concat(
      parts.map((list) => relabel(concat(list, scored.name), [scored])),
      scored.name,
    );
  });

  const all = graph.record(packed, [hidden, head], (dy, { wants, soFar }) => {
    const column = (q: VocabularyQuantity, start: number) => {
      const i = wanted.indexOf(q);
      if (i < 0) return undefined;
      const own = relabel(slice(dy, scored.name, i * scored.size, (i + 1) * scored.size), [scored]);
      const rowsOf = part(own, start);
      return reshape(rowsOf, [rowsOf.shape[0], dim(vocabulary.name, 1)]);
    };
    const dHiddens: Tensor[] = [];
    let dHead = wants[1] ? soFar(head) : undefined;
    let last: Tensor[] = [dy];
    for (const start of starts) {
      const h = after(part(hidden, start), ...last);
      const block = distributions(inputs, h, start, part, diverges);
      const dLogits = logitsGradient(block, part(targets, start), {
        logp: column("logp", start),
        kl: column("kl", start),
        reverseKl: column("reverseKl", start),
      });
      if (!dLogits) return [undefined, undefined];
      const dHidden = wants[0] ? graph.node("Gemm", [dLogits, head], { shape: h.shape }) : undefined;
      if (wants[1]) {
        const into = dHead ? [dLogits, h, dHead] : [dLogits, h];
        dHead = graph.node("Gemm", into, { shape: head.shape }, { transA: 1 });
      }
      if (dHidden) dHiddens.push(dHidden);
      last = [dHidden, dHead].filter((t) => t !== undefined);
    }
    return [
      wants[0] ? relabel(concat(dHiddens, scored.name), hidden.shape) : undefined,
      dHead && { including: dHead },
    ];
  });
  const result: Partial<Record<VocabularyQuantity, Tensor>> = {};
  wanted.forEach((q, i) => {
    const own = slice(all, scored.name, i * scored.size, (i + 1) * scored.size);
    result[q] = q === "collision" ? graph.detach(own) : own;
  });
  return result as Record<VocabularyQuantity, Tensor | undefined>;
}

/** Log-distributions of a chunk: the policy's and, where divergences are asked for, the reference's. [rows, vocabulary] */
interface Block {
  readonly policy: Tensor;
  readonly reference?: Tensor;
  /** tanh(z/c) of the policy's capped logits. */
  readonly bent?: Tensor;
}

function distributions(
  { head, referenceHidden, referenceHead, softcap, referenceSoftcap }: VocabularyInputs,
  hidden: Tensor,
  start: number,
  part: (x: Tensor, start: number) => Tensor,
  diverges: boolean,
): Block {
  const { graph } = hidden;
  const logits = (h: Tensor, w: Tensor) =>
    graph.node("Gemm", [h, w], { shape: [h.shape[0], head.shape[0]] }, { transB: 1 });
  const capped = (z: Tensor, c: number | undefined) => {
    const bent = c === undefined ? undefined : tanh(mul(z, 1 / c));
    return { bent, logs: logSoftmax(c === undefined || !bent ? z : mul(bent, c)) };
  };
  const { logs: policy, bent } = capped(logits(hidden, head), softcap);
  if (!diverges || !referenceHidden || !referenceHead) return { policy, bent };
  const other = after(part(referenceHidden, start), policy);
  return {
    policy,
    bent,
    reference: relabel(capped(logits(other, referenceHead), referenceSoftcap).logs, policy.shape),
  };
}

function scoresOf({ policy, reference }: Block, targets: Tensor): Record<VocabularyQuantity, () => Tensor> {
  const { graph } = policy;
  const [n] = policy.shape;
  const flat = (x: Tensor) => reshape(x, [n]);
  const divergence = (p: Tensor, q: Tensor) => flat(rowSum(mul(exp(p), sub(p, q))));
  const other = () => {
    if (!reference) throw shapeError("vocabularyScores", "no reference");
    return reference;
  };
  return {
    logp: () => {
      const column = reshape(targets, [n, dim("one", 1)]);
      return flat(graph.node("GatherElements", [policy, column], { shape: column.shape }, { axis: 1 }));
    },
    kl: () => divergence(other(), policy),
    reverseKl: () => divergence(policy, other()),
    collision: () => log(flat(rowSum(exp(mul(2, policy))))),
  };
}

/**
 * d/d(logits) for cotangents c of each row: log p(y): c (onehot - p); KL(ref ‖ p): c (p - r);
 * KL(p ‖ ref): c p ((log p - log r) - KL).
 */
function logitsGradient(
  { policy, reference, bent }: Block,
  targets: Tensor,
  c: { logp?: Tensor; kl?: Tensor; reverseKl?: Tensor },
): Tensor | undefined {
  const { graph } = policy;
  const p = exp(policy);
  const parts: Tensor[] = [];
  const narrow = c.kl && c.logp ? sub(c.kl, c.logp) : (c.kl ?? (c.logp && neg(c.logp)));
  if (narrow) parts.push(mul(p, narrow));
  if (c.kl && reference) parts.push(neg(mul(exp(reference), c.kl)));
  if (c.reverseKl && reference) {
    const ratio = sub(policy, reference);
    const kl = rowSum(mul(p, ratio));
    parts.push(mul(mul(p, sub(ratio, kl)), c.reverseKl));
  }
  if (parts.length === 0) return undefined;
  const total = parts.reduce((a, b) => add(a, b));
  // Where logits are capped, their slope is 1 - tanh².
  const sloped = (x: Tensor) => (bent ? mul(x, sub(1, mul(bent, bent))) : x);
  if (!c.logp) return sloped(total);
  const column = reshape(targets, [policy.shape[0], dim("one", 1)]);
  const all = graph.node(
    "ScatterElements",
    [total, column, relabel(c.logp, column.shape)],
    { shape: policy.shape },
    { axis: 1, reduction: "add" },
  );
  return sloped(all);
}
