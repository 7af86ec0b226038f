/**
 * RMSprop (Hinton, 2012; centered after Graves, arXiv:1308.0850), with the arithmetic of torch.optim.RMSprop: ε is added to
 * the root, weight decay is part of the gradient. DPO's paper trains with it.
 */
import { add, div, maximum, mul, sqrt, sub } from "../engine/ops/elementwise.ts";
import { elementwise } from "./elementwise.ts";
import { optimizer } from "./optimizer.ts";

export const rmsprop = optimizer({
  defaults: { alpha: 0.99, epsilon: 1e-8, momentum: 0, centered: false },
  create: (context, { alpha, epsilon, momentum, centered }) =>
    elementwise(context, {
      moments: ["v", ...(centered ? ["m"] : []), ...(momentum > 0 ? ["b"] : [])],
      kernel: ({ array, scalar }, decays) => {
        const p = array("p");
        const scaled = mul(array("g"), scalar("gradientScale"));
        const g = decays ? add(scaled, mul(p, scalar("weightDecay"))) : scaled;
        const v = add(mul(array("v"), alpha), mul(mul(g, g), 1 - alpha)); // v ← α v + (1-α) g²
        const m = centered ? add(mul(array("m"), alpha), mul(g, 1 - alpha)) : undefined;
        // v - m² is a variance: below 0 only by rounding.
        const root = sqrt(m ? maximum(sub(v, mul(m, m)), 0) : v);
        const direction = div(g, add(root, epsilon));
        const b = momentum > 0 ? add(mul(array("b"), momentum), direction) : undefined;
        return {
          p: sub(p, mul(b ?? direction, scalar("rate"))),
          v,
          ...(m && { m }),
          ...(b && { b }),
        };
      },
      scalars: ({ rate, weightDecay, gradientScale }) => ({ rate, weightDecay, gradientScale }),
    }),
});
