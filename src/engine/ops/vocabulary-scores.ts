/**
 * What whole next-token distributions say at given positions: the log-probability of a token, the KL divergence to a reference's
 * distribution in both directions, and the collision probability. Output head and softmax are part of the operation. The forward goes
 * through rows in chunks and keeps one number a row, log Σ e^z; the backward goes through the vocabulary in slices and computes their
 * logits again, so that no [tokens, vocabulary] block is ever there, and the head's gradient is made slice by slice.
 */
import { after } from "../ordering.ts";
import { inPieces } from "../pieces.ts";
import { type Tensor, dim, relabel, sameDim, shapeError, showShape } from "../tensor.ts";
import { add, exp, log, mul, neg, sub, tanh } from "./elementwise.ts";
import { productOnto } from "./matmul.ts";
import { logSoftmax, rowSum } from "./normalization.ts";
import { concat, reshape, slice } from "./shape.ts";

/** Blocks of rows over words that are worked on at once have this many elements or up to twice as many: 16 to 32 MB in float32. */
const blockElements = 1 << 22;

/** Into how many blocks rows over words are cut: a power of two, so that other numbers of rows seldom make another graph. */
const blocksOf = (rows: number, words: number): number =>
  2 ** Math.max(0, Math.floor(Math.log2((rows * words) / blockElements)));

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

export interface BlockSizes {
  /** Rows of a forward chunk. */
  readonly rows?: number;
  /** Words of a backward slice. */
  readonly words?: number;
}

/** The quantities asked for, [scored] each. `sizes` override the choice of blocks. */
export function vocabularyScores(
  inputs: VocabularyInputs,
  wanted: readonly VocabularyQuantity[],
  sizes: BlockSizes = {},
): Record<VocabularyQuantity, Tensor | undefined> {
  const { hidden, head } = inputs;
  check(inputs, wanted);
  const [scored] = hidden.shape;
  const { graph } = hidden;
  const forward = graph.untaped(() => forwardByRows(inputs, wanted, sizes.rows));

  const packed = graph.untaped(() =>
    wanted.length === 1
      ? forward.found[0]
      : concat(
          forward.found.map((t) => relabel(t, [scored])),
          scored.name,
        ),
  );
  const all = graph.record(relabel(packed, packed.shape), [hidden, head], (dy, { wants, soFar }) => {
    const cotangent = (q: VocabularyQuantity) => {
      const i = wanted.indexOf(q);
      if (i < 0) return undefined;
      const own = wanted.length === 1 ? dy : slice(dy, scored.name, i * scored.size, (i + 1) * scored.size);
      return reshape(own, [scored, dim("one", 1)]);
    };
    const c = { logp: cotangent("logp"), kl: cotangent("kl"), reverseKl: cotangent("reverseKl") };
    if (!c.logp && !c.kl && !c.reverseKl) return [undefined, undefined];
    const reverseKl = forward.found[wanted.indexOf("reverseKl")] as Tensor | undefined;
    const before = wants[1] ? soFar(head) : undefined;
    const [dHidden, dHead] = backwardByWords(inputs, { ...forward, reverseKl }, c, wants, {
      sliceWords: sizes.words,
      before,
    });
    return [dHidden, dHead && before ? { including: dHead } : dHead];
  });
  const result: Partial<Record<VocabularyQuantity, Tensor>> = {};
  wanted.forEach((q, i) => {
    const own = wanted.length === 1 ? all : slice(all, scored.name, i * scored.size, (i + 1) * scored.size);
    result[q] = q === "collision" ? graph.detach(own) : own;
  });
  return result as Record<VocabularyQuantity, Tensor | undefined>;
}

function check(
  { hidden, head, targets, referenceHidden, referenceHead }: VocabularyInputs,
  wanted: readonly VocabularyQuantity[],
): void {
  if (!sameDim(hidden.shape[1], head.shape[1]) || targets.shape[0].size !== hidden.shape[0].size) {
    throw shapeError(
      "vocabularyScores",
      `hidden ${showShape(hidden.shape)}, head ${showShape(head.shape)}, targets ${showShape(targets.shape)}`,
    );
  }
  const diverges = wanted.some((q) => q === "kl" || q === "reverseKl");
  if (diverges && (!referenceHidden || !referenceHead))
    throw shapeError("vocabularyScores", "divergences need the reference's states and head");
}

/** Logits after their cap: [rows, words]. */
function logits(hidden: Tensor, head: Tensor, softcap: number | undefined): { z: Tensor; bent?: Tensor } {
  const shape = [hidden.shape[0], head.shape[0]];
  const z = hidden.graph.node("Gemm", [hidden, head], { shape }, { transB: 1 });
  if (softcap === undefined) return { z };
  const bent = tanh(mul(z, 1 / softcap));
  return { z: mul(bent, softcap), bent };
}

/** What the forward keeps: the quantities, and log Σ e^z of policy and reference, [scored] each. */
interface Forward {
  readonly found: readonly Tensor[];
  readonly logSum: Tensor;
  readonly referenceLogSum?: Tensor;
}

function forwardByRows(
  inputs: VocabularyInputs,
  wanted: readonly VocabularyQuantity[],
  chunkRows: number | undefined,
): Forward {
  const { hidden, head, targets, referenceHidden, referenceHead } = inputs;
  const [scored] = hidden.shape;
  const rows = chunkRows ?? Math.ceil(scored.size / blocksOf(scored.size, head.shape[0].size));
  const part = (x: Tensor, start: number) =>
    slice(x, x.shape[0].name, start, Math.min(start + rows, scored.size));
  const diverges = wanted.some((q) => q === "kl" || q === "reverseKl");
  const found: Tensor[][] = wanted.map(() => []);
  const sums: Tensor[][] = [[], []];
  // Everything of a chunk before the next one begins: what is left for later keeps its block alive.
  let last: Tensor[] = [];
  for (let start = 0; start < scored.size; start += rows) {
    const { z } = logits(after(part(hidden, start), ...last), head, inputs.softcap);
    const policy = logSoftmax(z);
    sums[0].push(logSumOf(z, policy));
    let reference: Tensor | undefined;
    if (diverges && referenceHidden && referenceHead) {
      const other = logits(
        after(part(referenceHidden, start), policy),
        referenceHead,
        inputs.referenceSoftcap,
      );
      reference = relabel(logSoftmax(other.z), policy.shape);
      sums[1].push(logSumOf(other.z, reference));
    }
    const scores = scoresOf(policy, reference, part(targets, start));
    wanted.forEach((q, i) => found[i].push(scores[q]()));
    last = [...found, ...sums].flatMap((list) => list.at(-1) ?? []);
  }
  const joined = (list: readonly Tensor[]) => relabel(concat(list, scored.name), [scored]);
  return {
    found: found.map(joined),
    logSum: joined(sums[0]),
    referenceLogSum: sums[1].length > 0 ? joined(sums[1]) : undefined,
  };
}

/** log Σ e^z of each row: what the log-softmax took from its first logit. */
function logSumOf(z: Tensor, logs: Tensor): Tensor {
  const first = (x: Tensor) => slice(x, x.shape[1].name, 0, 1);
  return reshape(sub(first(z), first(logs)), [z.shape[0]]);
}

function scoresOf(
  policy: Tensor,
  reference: Tensor | undefined,
  targets: Tensor,
): Record<VocabularyQuantity, () => Tensor> {
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
      return flat(
        policy.graph.node("GatherElements", [policy, column], { shape: column.shape }, { axis: 1 }),
      );
    },
    kl: () => divergence(other(), policy),
    reverseKl: () => divergence(policy, other()),
    collision: () => log(flat(rowSum(exp(mul(2, policy))))),
  };
}

/** Cotangents of each row, [scored, 1]. */
interface Cotangents {
  readonly logp?: Tensor;
  readonly kl?: Tensor;
  readonly reverseKl?: Tensor;
}

function backwardByWords(
  inputs: VocabularyInputs,
  forward: Forward & { reverseKl?: Tensor },
  c: Cotangents,
  wants: readonly boolean[],
  { sliceWords, before }: { sliceWords: number | undefined; before: Tensor | undefined },
): [Tensor | undefined, Tensor | undefined] {
  const { hidden, head, targets, referenceHidden, referenceHead } = inputs;
  const { graph } = hidden;
  const [[scored], [vocabulary]] = [hidden.shape, head.shape];
  const words = sliceWords ?? Math.ceil(vocabulary.size / blocksOf(scored.size, vocabulary.size));
  const column = (x: Tensor) => reshape(x, [scored, dim("one", 1)]);
  const part = (x: Tensor, start: number) =>
    slice(x, x.shape[0].name, start, Math.min(start + words, vocabulary.size));
  // With log-probabilities alone, dz = c (onehot - p): the factor goes to the narrow sides of both products and never to the block.
  const narrow = c.logp && !c.kl && !c.reverseKl ? c.logp : undefined;
  const used: Cotangents = narrow ? { logp: column(ones(targets)) } : c;
  const scaled = narrow ? mul(hidden, relabel(narrow, [scored, dim(hidden.shape[1].name, 1)])) : hidden;

  const dHeads: Tensor[] = [];
  let dHidden: Tensor | undefined;
  let last = [c.logp, c.kl, c.reverseKl].filter((t) => t !== undefined);
  for (let start = 0; start < vocabulary.size; start += words) {
    const w = part(head, start);
    const { z, bent } = logits(after(hidden, ...last), w, inputs.softcap);
    const policy = sub(z, relabel(column(forward.logSum), [scored, dim(vocabulary.name, 1)]));
    let reference: Tensor | undefined;
    if ((used.kl || used.reverseKl) && referenceHidden && referenceHead && forward.referenceLogSum) {
      const other = logits(
        after(referenceHidden, policy),
        part(referenceHead, start),
        inputs.referenceSoftcap,
      );
      const logSum = relabel(column(forward.referenceLogSum), [scored, dim(vocabulary.name, 1)]);
      reference = relabel(sub(relabel(other.z, policy.shape), logSum), policy.shape);
    }
    const dz = logitsGradient(
      { policy, reference, bent, reverseKl: forward.reverseKl },
      targets,
      start,
      used,
    );
    if (wants[0]) {
      const into = dHidden ? [dz, w, dHidden] : [dz, w];
      dHidden = graph.node("Gemm", into, { shape: hidden.shape });
    }
    const dHead = wants[1]
      ? productOnto([dz, scaled], w, before && part(before, start), { tight: true })
      : undefined;
    if (dHead) dHeads.push(dHead);
    last = [dHidden, dHead].filter((t) => t !== undefined);
  }
  const factor = narrow && relabel(narrow, [scored, dim(hidden.shape[1].name, 1)]);
  return [
    dHidden && factor ? mul(dHidden, factor) : dHidden,
    wants[1] ? inPieces(dHeads, head.shape) : undefined,
  ];
}

const ones = (targets: Tensor) =>
  targets.graph.node("Expand", [targets.graph.scalar(1), targets.graph.integers([targets.elements])], {
    shape: targets.shape,
  });

/** Log-distributions over a slice of words, and what else their gradient takes. */
interface SliceOfWords {
  /** [scored, words] */
  readonly policy: Tensor;
  readonly reference?: Tensor;
  /** tanh(z/c) of the policy's capped logits. */
  readonly bent?: Tensor;
  /** KL(p ‖ ref) of each row, [scored]. */
  readonly reverseKl?: Tensor;
}

/**
 * d/d(logits) of a slice that begins at word `start`, for cotangents c of each row: log p(y): c (onehot - p); KL(ref ‖ p): c (p - r);
 * KL(p ‖ ref): c p ((log p - log r) - KL).
 */
function logitsGradient(
  { policy, reference, bent, reverseKl }: SliceOfWords,
  targets: Tensor,
  start: number,
  c: Cotangents,
): Tensor {
  const [scored, words] = policy.shape;
  const wide = (x: Tensor) => relabel(x, [scored, dim(words.name, 1)]);
  const p = exp(policy);
  const parts: Tensor[] = [];
  const direct = c.kl && c.logp ? sub(c.kl, c.logp) : (c.kl ?? (c.logp && neg(c.logp)));
  if (direct) parts.push(mul(p, wide(direct)));
  if (c.kl && reference) parts.push(neg(mul(exp(reference), wide(c.kl))));
  if (c.reverseKl && reference && reverseKl) {
    const ratio = sub(sub(policy, reference), reshape(reverseKl, [scored, dim(words.name, 1)]));
    parts.push(mul(mul(p, ratio), wide(c.reverseKl)));
  }
  const total = parts.reduce((a, b) => add(a, b));
  const all = c.logp ? addAtTargets(total, targets, start, c.logp) : total;
  // Where logits are capped, their slope is 1 - tanh².
  return bent ? mul(all, sub(1, mul(bent, bent))) : all;
}

/** x[i, target[i] - start] += value[i], for the targets that are in the slice. */
function addAtTargets(x: Tensor, targets: Tensor, start: number, values: Tensor): Tensor {
  const { graph } = x;
  const [scored, words] = x.shape;
  const shape = [scored, dim("one", 1)];
  const own = graph.node("Sub", [reshape(targets, shape), graph.scalar(start, "int64")], {
    dtype: "int64",
    shape,
  });
  const compared = (type: string, bound: number) =>
    graph.node(type, [own, graph.scalar(bound, "int64")], { dtype: "bool", shape });
  const inside = graph.node("And", [compared("GreaterOrEqual", 0), compared("Less", words.size)], {
    dtype: "bool",
    shape,
  });
  // What belongs to another slice adds 0 to the first word.
  const place = graph.node("Where", [inside, own, graph.scalar(0, "int64")], { dtype: "int64", shape });
  const value = graph.node("Where", [inside, relabel(values, shape), graph.scalar(0)], { shape });
  return graph.node("ScatterElements", [x, place, value], { shape: x.shape }, { axis: 1, reduction: "add" });
}
