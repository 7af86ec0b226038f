/**
 * Rotary position embedding in the half-split form of Hugging Face checkpoints (Su et al., arXiv:2104.09864):
 * (u_i, u_{i+d/2}) → (u_i cos - u_{i+d/2} sin, u_{i+d/2} cos + u_i sin). The angles come as tables with one row a
 * token, so packed rows, restarted positions and scaled frequencies all look alike here.
 */
import { type Tensor, shapeError, showShape } from "../tensor.ts";
import { add, mul, neg } from "./elementwise.ts";
import { concat, reshape, slice } from "./shape.ts";

/**
 * x [tokens, heads·headDim], cos and sin [tokens, width/2], positions [1, tokens] = 0 … tokens-1 (the row of the tables
 * that each token reads) → the same shape. Where the tables are narrower than a head, its first `width` dimensions turn and
 * the others stay. The backward turns by the opposite angle.
 */
export function rotary(x: Tensor, cos: Tensor, sin: Tensor, positions: Tensor, heads: number): Tensor {
  const [tokens, width] = x.shape;
  const half = cos.shape[1].size;
  const headDim = width.size / heads;
  if (!Number.isInteger(headDim) || half * 2 > headDim || half === 0 || cos.shape[0].size !== tokens.size) {
    throw shapeError("rotary", `x ${showShape(x.shape)} with ${heads} heads, cos ${showShape(cos.shape)}`);
  }
  const { graph } = x;
  const turn = graph.standard ? turnComposed : turnKernel;
  const y = graph.untaped(() => turn(x, cos, sin, positions, heads));
  return graph.record(y, [x], (dy) => [turn(dy, cos, neg(sin), positions, heads)]);
}

function turnKernel(x: Tensor, cos: Tensor, sin: Tensor, positions: Tensor, heads: number): Tensor {
  const { graph } = x;
  const rotated = cos.shape[1].size * 2;
  const whole = rotated * heads === x.shape[1].size;
  const batched = graph.node("Unsqueeze", [x, graph.integers([0])], {
    shape: [{ name: "one", size: 1 }, ...x.shape],
  });
  const turned = graph.node(
    "RotaryEmbedding",
    [batched, positions, cos, sin],
    { shape: batched.shape },
    { num_heads: heads, rotary_embedding_dim: whole ? 0 : rotated },
    "com.microsoft",
  );
  return graph.node("Squeeze", [turned, graph.integers([0])], { shape: x.shape });
}

function turnComposed(x: Tensor, cos: Tensor, sin: Tensor, _positions: Tensor, heads: number): Tensor {
  const [tokens, width] = x.shape;
  const half = cos.shape[1].size;
  const headDim = width.size / heads;
  const split = reshape(x, [tokens, { name: "heads", size: heads }, { name: "headDim", size: headDim }]);
  const angle = [tokens, { name: "heads", size: 1 }, { name: "half", size: half }];
  const [c, s] = [reshape(cos, angle), reshape(sin, angle)];
  const part = (start: number) => slice(split, "headDim", start, start + half, "half");
  const [a, b] = [part(0), part(half)];
  const turned = [add(mul(a, c), neg(mul(b, s))), add(mul(b, c), mul(a, s))];
  if (half * 2 < headDim) turned.push(slice(split, "headDim", half * 2, headDim, "half"));
  return reshape(concat(turned, "half"), x.shape);
}
