/**
 * Log-probabilities of given tokens: output head, log-softmax and lookup as one operation. Where all logits are few they are kept for the
 * backward; for large vocabularies they never are all there at once (`vocabulary-scores.ts`).
 */
import { type Tensor, dim, sameDim, shapeError, showShape } from "../tensor.ts";
import { exp, mul, neg, sub, tanh } from "./elementwise.ts";
import { weightGradient } from "./matmul.ts";
import { logSoftmax } from "./normalization.ts";
import { reshape } from "./shape.ts";
import { type BlockSizes, vocabularyScores } from "./vocabulary-scores.ts";

/** Logits of at most this many elements are kept for the backward: 64 MB in float32. */
const keptElements = 1 << 24;

/**
 * log softmax(h Wᵀ)[target]: hidden [scored, hidden], head [vocabulary, hidden], targets [scored] int64 → [scored].
 * With a soft cap c, logits z are c tanh(z/c) first. `sizes` set the blocks of large vocabularies, for any.
 */
export function tokenLogProbs(
  hidden: Tensor,
  head: Tensor,
  targets: Tensor,
  softcap?: number,
  sizes?: BlockSizes,
): Tensor {
  const [scored, inner] = hidden.shape;
  const [vocabulary, inner2] = head.shape;
  if (!sameDim(inner, inner2) || targets.shape[0].size !== scored.size) {
    throw shapeError(
      "tokenLogProbs",
      `hidden ${showShape(hidden.shape)}, head ${showShape(head.shape)}, targets ${showShape(targets.shape)}`,
    );
  }
  if (!sizes && scored.size * vocabulary.size <= keptElements) return whole(hidden, head, targets, softcap);
  const { logp } = vocabularyScores({ hidden, head, targets, softcap }, ["logp"], sizes);
  if (!logp) throw new TypeError("log-probabilities were asked for");
  return logp;
}

/**
 * With c = dL/d(logp): dL/d(logits) = diag(c) (onehot - softmax). The factor c is applied to the narrow
 * [rows, hidden] sides of the two products and never to the wide block: with r = softmax - onehot,
 * dH = -diag(c) (r W) and dW = -rᵀ diag(c) H. Where logits are capped, r is multiplied by the slope of the cap, 1 - tanh².
 */
function whole(hidden: Tensor, head: Tensor, targets: Tensor, softcap: number | undefined): Tensor {
  const { graph } = hidden;
  const [n] = hidden.shape;
  const column = reshape(targets, [n, dim("one", 1)]);
  const { bent, logs, logp } = graph.untaped(() => {
    const logits = graph.node("Gemm", [hidden, head], { shape: [n, head.shape[0]] }, { transB: 1 });
    const bent = softcap === undefined ? undefined : tanh(mul(logits, 1 / softcap));
    const logs = logSoftmax(softcap === undefined || !bent ? logits : mul(bent, softcap));
    const picked = graph.node("GatherElements", [logs, column], { shape: column.shape }, { axis: 1 });
    return { bent, logs, logp: reshape(picked, [n]) };
  });
  return graph.record(logp, [hidden, head], (dy, { wants, soFar }) => {
    const minusOne = graph.node("Expand", [graph.scalar(-1), graph.integers([n.size, 1])], {
      shape: column.shape,
    });
    const residual = graph.node(
      "ScatterElements",
      [exp(logs), column, minusOne],
      { shape: logs.shape },
      { axis: 1, reduction: "add" },
    );
    const r = bent ? mul(residual, sub(1, mul(bent, bent))) : residual;
    const c = neg(reshape(dy, [n, dim(hidden.shape[1].name, 1)]));
    return [
      wants[0] ? mul(graph.node("Gemm", [r, head], { shape: hidden.shape }), c) : undefined,
      wants[1] ? weightGradient([r, mul(hidden, c)], head, soFar(head), { tight: true }) : undefined,
    ];
  });
}
