/**
 * Lion (Chen et al., arXiv:2302.06675, Algorithm 2): every element moves by the rate, in the direction of the sign of an
 * interpolated moment; weight decay is decoupled. It wants a rate 3 to 10 times smaller than AdamW's, and more decay.
 */
import { add, mul, sub } from "../engine/ops/elementwise.ts";
import { reshape } from "../engine/ops/shape.ts";
import { after } from "../engine/ordering.ts";
import { type Tensor, dim } from "../engine/tensor.ts";
import { elementwise } from "./elementwise.ts";
import { optimizer } from "./optimizer.ts";

export const lion = optimizer({
  defaults: { betas: [0.9, 0.99] as readonly [number, number] },
  create: (context, { betas: [beta1, beta2] }) =>
    elementwise(context, {
      moments: ["m"],
      kernel: ({ array, scalar }, decays) => {
        const [p, g, m] = ["p", "g", "m"].map(array);
        const c = add(mul(m, beta1), mul(g, scalar("g1"))); // β₁ m + (1-β₁) g
        const sign = signOf(c);
        // The new m is written over m, which c must have read by then.
        const g2 = after(reshape(scalar("g2"), [dim("one", 1)]), c);
        return {
          p: sub(decays ? mul(p, scalar("kept")) : p, mul(sign, scalar("rate"))),
          m: add(mul(m, beta2), mul(g, g2)), // β₂ m + (1-β₂) g
        };
      },
      scalars: ({ rate, weightDecay, gradientScale }) => ({
        rate,
        g1: (1 - beta1) * gradientScale,
        g2: (1 - beta2) * gradientScale,
        kept: 1 - rate * weightDecay,
      }),
    }),
});

/** -1, 0 or 1: a large multiple cut off, three times as fast as the runtime's Sign. Below 3·10⁻³⁹ it is a part of 1. */
function signOf(c: Tensor): Tensor {
  const { graph } = c;
  return graph.node("Clip", [mul(c, 3e38), graph.scalar(-1), graph.scalar(1)], { shape: c.shape });
}
