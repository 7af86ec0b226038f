/**
 * Log-probabilities of given tokens: output head, log-softmax and lookup as one operation. Large vocabularies are
 * done in chunks of rows whose logits are recomputed in the backward, so that no [tokens, vocabulary] block outlives its chunk.
 */
import { type Tensor, dim, relabel, sameDim, shapeError, showShape } from "../tensor.ts";
import { after } from "../ordering.ts";
import { exp, mul, neg, sub, tanh } from "./elementwise.ts";
import { logSoftmax } from "./normalization.ts";
import { concat, reshape, slice } from "./shape.ts";

/** Logits of at most this many elements are kept for the backward; above it rows are chunked. 64 MB in float32. */
const keptElements = 1 << 24;

/**
 * log softmax(h Wᵀ)[target]: hidden [scored, hidden], head [vocabulary, hidden], targets [scored] int64 → [scored].
 * `chunkRows` overrides the choice of chunk size; with a soft cap c, logits z are c tanh(z/c) first.
 */
export function tokenLogProbs(
  hidden: Tensor,
  head: Tensor,
  targets: Tensor,
  chunkRows?: number,
  softcap?: number,
): Tensor {
  const [scored, inner] = hidden.shape;
  const [vocabulary, inner2] = head.shape;
  if (!sameDim(inner, inner2) || targets.shape[0].size !== scored.size) {
    throw shapeError(
      "tokenLogProbs",
      `hidden ${showShape(hidden.shape)}, head ${showShape(head.shape)}, targets ${showShape(targets.shape)}`,
    );
  }
  const fits = scored.size * vocabulary.size <= keptElements;
  const rows =
    chunkRows ?? (fits ? scored.size : Math.max(1, Math.floor(keptElements / 2 / vocabulary.size)));
  return rows >= scored.size
    ? whole(hidden, head, targets, softcap)
    : chunked(hidden, head, targets, rows, softcap);
}

interface Block {
  logp: Tensor;
  logSoftmax: Tensor;
  column: Tensor;
  /** tanh(z/c) of soft-capped logits. */
  bent?: Tensor;
}

function forward(hidden: Tensor, head: Tensor, targets: Tensor, softcap: number | undefined): Block {
  const { graph } = hidden;
  const [n] = hidden.shape;
  const logits = graph.node("Gemm", [hidden, head], { shape: [n, head.shape[0]] }, { transB: 1 });
  const bent = softcap === undefined ? undefined : tanh(mul(logits, 1 / softcap));
  const all = logSoftmax(softcap === undefined || !bent ? logits : mul(bent, softcap));
  const column = reshape(targets, [n, dim("one", 1)]);
  const picked = graph.node("GatherElements", [all, column], { shape: column.shape }, { axis: 1 });
  return { logp: reshape(picked, [n]), logSoftmax: all, column, bent };
}

/**
 * With c = dL/d(logp): dL/d(logits) = diag(c) (onehot - softmax). The factor c is applied to the narrow
 * [rows, hidden] sides of the two products and never to the wide block: with r = softmax - onehot,
 * dH = -diag(c) (r W) and dW = -rᵀ diag(c) H. Where logits are capped, r is multiplied by the slope of the cap, 1 - tanh².
 */
function backward(
  block: Block,
  hidden: Tensor,
  head: Tensor,
  dy: Tensor,
  wants: readonly boolean[],
  soFar?: Tensor,
) {
  const { graph } = hidden;
  const [n] = hidden.shape;
  const minusOne = graph.node("Expand", [graph.scalar(-1), graph.integers([n.size, 1])], {
    shape: block.column.shape,
  });
  const residual = graph.node(
    "ScatterElements",
    [exp(block.logSoftmax), block.column, minusOne],
    { shape: block.logSoftmax.shape },
    { axis: 1, reduction: "add" },
  );
  const r = block.bent ? mul(residual, sub(1, mul(block.bent, block.bent))) : residual;
  const c = neg(reshape(dy, [n, dim(hidden.shape[1].name, 1)]));
  return {
    dHidden: wants[0] ? mul(graph.node("Gemm", [r, head], { shape: hidden.shape }), c) : undefined,
    dHead: wants[1]
      ? graph.node(
          "Gemm",
          soFar ? [r, mul(hidden, c), soFar] : [r, mul(hidden, c)],
          { shape: head.shape },
          { transA: 1 },
        )
      : undefined,
  };
}

function whole(hidden: Tensor, head: Tensor, targets: Tensor, softcap: number | undefined): Tensor {
  const { graph } = hidden;
  const block = graph.untaped(() => forward(hidden, head, targets, softcap));
  return graph.record(block.logp, [hidden, head], (dy, { wants, soFar }) => {
    const { dHidden, dHead } = backward(block, hidden, head, dy, wants, soFar(head));
    return [dHidden, dHead && { including: dHead }];
  });
}

function chunked(
  hidden: Tensor,
  head: Tensor,
  targets: Tensor,
  rows: number,
  softcap: number | undefined,
): Tensor {
  const { graph } = hidden;
  const [scored] = hidden.shape;
  const starts = Array.from({ length: Math.ceil(scored.size / rows) }, (_, i) => i * rows);
  const part = (x: Tensor, start: number) =>
    slice(x, scored.name, start, Math.min(start + rows, scored.size));

  const y = graph.untaped(() => {
    const parts: Tensor[] = [];
    for (const start of starts) {
      const h = part(hidden, start);
      parts.push(
        forward(parts.length ? after(h, parts[parts.length - 1]) : h, head, part(targets, start), softcap)
          .logp,
      );
    }
    return relabel(concat(parts, scored.name), [scored]);
  });
  return graph.record(y, [hidden, head], (dy, { wants, soFar }) => {
    const dHiddens: Tensor[] = [];
    let dHead = wants[1] ? soFar(head) : undefined;
    let last: Tensor[] = [dy];
    for (const start of starts) {
      const h = after(part(hidden, start), ...last);
      const block = forward(h, head, part(targets, start), softcap);
      const given = backward(block, h, head, part(dy, start), wants, dHead);
      dHead = given.dHead;
      if (given.dHidden) dHiddens.push(given.dHidden);
      last = [given.dHidden, given.dHead].filter((t) => t !== undefined);
    }
    return [
      wants[0] ? relabel(concat(dHiddens, scored.name), hidden.shape) : undefined,
      dHead && { including: dHead },
    ];
  });
}
