/**
 * The gated linear unit of SiLU (Shazeer, arXiv:2002.05202, SwiGLU without its matrices), with a backward that keeps nothing but its operands.
 */
import { after, remakeBy } from "../ordering.ts";
import { type Tensor, sameShape, shapeError, showShape } from "../tensor.ts";
import { add, mul, sigmoid, silu, sub } from "./elementwise.ts";

/**
 * silu(gate) · up, of equal shapes. With σ = σ(gate), a = gate σ, t = dy up and u = dy y: d up = dy a, d gate = σ (t - u) + u. σ, a and, for
 * the gradient of a weight behind it (`madeAgain`), y are made in the backward; as the forward takes the activation in one, no optimizer
 * finds that they are the same. Where no such gradient is wanted, they wait for dy.
 */
export function gatedSilu(gate: Tensor, up: Tensor): Tensor {
  if (!sameShape(gate.shape, up.shape))
    throw shapeError("gatedSilu", `gate ${showShape(gate.shape)}, up ${showShape(up.shape)}`);
  const { graph } = gate;
  const { keeping } = graph;
  const y = graph.untaped(() => mul(silu(gate), up));
  remakeBy(y, () => make().product);
  let made: { s: Tensor; a: Tensor; product: Tensor } | undefined;
  const make = (barrier?: Tensor) =>
    (made ??= graph.untaped(() => {
      const s = sigmoid(barrier ? after(gate, barrier) : gate);
      const a = mul(gate, s);
      return { s, a, product: keeping ? y : mul(a, up) };
    }));
  return graph.record(y, [gate, up], (dy, { wants }) => {
    const { s, a, product } = make(dy);
    const u = mul(dy, product);
    return [wants[0] ? add(mul(s, sub(mul(dy, up), u)), u) : undefined, wants[1] ? mul(dy, a) : undefined];
  });
}
