/**
 * Attention of full rows, softmax(cap(q kᵀ scale) + mask) v, as one operation with its own backward rule:
 * the row sums of the softmax backward are taken from the output (Σ dO·O) instead of from the [time, time] matrix
 * (Dao et al., FlashAttention, arXiv:2205.14135, Appendix B.2).
 */
import { madeAgain } from "../ordering.ts";
import { type Tensor, relabel, sameDim, shapeError, showShape } from "../tensor.ts";
import { add, mul, sub, tanh } from "./elementwise.ts";
import { matmul } from "./matmul.ts";
import { rowSum, softmax } from "./normalization.ts";
import { reshape } from "./shape.ts";

/**
 * q [rows, kvHeads, group·time, headDim] (the query heads that share a key head stand one after another),
 * k and v [rows, kvHeads, keys, headDim], mask [rows, 1, time, keys] added to the scores → the shape of q. With a soft cap c
 * a score s becomes c tanh(s/c) before the mask.
 */
export function attention(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  mask: Tensor,
  scale: number,
  softcap?: number,
): Tensor {
  const [rows, heads, queries] = q.shape;
  const keys = k.shape[2];
  const time = mask.shape[2];
  if (
    q.rank !== 4 ||
    !sameDim(mask.shape[0], rows) ||
    !sameDim(mask.shape[3], keys) ||
    queries.size % time.size !== 0
  ) {
    throw shapeError(
      "attention",
      `q ${showShape(q.shape)}, k ${showShape(k.shape)}, mask ${showShape(mask.shape)}`,
    );
  }
  const { graph } = q;
  const { p, y, t } = graph.untaped(() => {
    const scores = matmul(q, k, { transposeB: true, scale: scale / (softcap ?? 1) });
    const t = softcap === undefined ? undefined : tanh(scores);
    const p = softmax(masked(softcap === undefined || !t ? scores : mul(t, softcap)));
    return { p, y: matmul(p, v), t };
  });
  return graph.record(y, [q, k, v], (dy, { wants }) => {
    const [k2, v2] = [madeAgain(k, dy), madeAgain(v, dy)];
    const dv = wants[2] ? matmul(p, dy, { transposeA: true }) : undefined;
    const dp = matmul(dy, v2, { transposeB: true });
    const delta = rowSum(mul(dy, y));
    const dCapped = mul(
      p,
      sub(dp, relabel(delta, [...delta.shape.slice(0, 3), { name: keys.name, size: 1 }])),
    );
    const ds = t ? mul(dCapped, sub(1, mul(t, t))) : dCapped; // c tanh(s/c) has the slope 1 - tanh²
    return [
      wants[0] ? matmul(ds, k2, { scale }) : undefined,
      wants[1] ? matmul(ds, q, { transposeA: true, scale }) : undefined,
      dv,
    ];
  });

  /** scores + mask, the mask repeated for every query head of a group. */
  function masked(scores: Tensor): Tensor {
    const one = (name: string) => ({ name, size: 1 });
    if (queries.size === time.size) return add(scores, relabel(mask, [rows, one(heads.name), queries, keys]));
    const group = { name: "group", size: queries.size / time.size };
    const wide = relabel(mask, [rows, one(heads.name), one("group"), time, keys]);
    const grouped = add(reshape(scores, [rows, heads, group, time, keys]), reshape(wide, wide.shape));
    return reshape(grouped, scores.shape);
  }
}
