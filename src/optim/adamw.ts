/**
 * AdamW (Loshchilov and Hutter, arXiv:1711.05101), with the arithmetic of torch.optim.AdamW: decay first, bias-corrected
 * moments, ε added to the root of the corrected second moment. An update costs what its passes over memory cost, so constants
 * are folded into scalars: the second moment is kept as V = v (1-β₁)² / (1-β₂).
 */
import { add, div, mul, sqrt, sub } from "../engine/ops/elementwise.ts";
import { elementwise } from "./elementwise.ts";
import { optimizer } from "./optimizer.ts";

export const adamw = optimizer({
  defaults: { betas: [0.9, 0.999] as readonly [number, number], epsilon: 1e-8 },
  create: (context, { betas: [beta1, beta2], epsilon }) =>
    elementwise(context, {
      moments: ["m", "V"],
      kernel: ({ array, scalar }, decays) => {
        const [p, g, m, v] = ["p", "g", "m", "V"].map(array);
        const x = mul(g, scalar("share")); // (1-β₁) g
        const mNew = add(mul(m, beta1), x); // β₁ m + (1-β₁) g
        const vNew = add(mul(v, beta2), mul(x, x)); // β₂ V + ((1-β₁) g)²
        const step = mul(div(mNew, add(sqrt(vNew), scalar("epsilon"))), scalar("rate"));
        return { p: sub(decays ? mul(p, scalar("kept")) : p, step), m: mNew, V: vNew };
      },
      scalars: ({ count, rate, weightDecay, gradientScale }) => {
        // √(v / (1-β₂ᵗ)) = √V / c
        const c = (1 - beta1) * Math.sqrt((1 - beta2 ** count) / (1 - beta2));
        return {
          share: (1 - beta1) * gradientScale,
          rate: (rate * c) / (1 - beta1 ** count),
          epsilon: epsilon * c,
          kept: 1 - rate * weightDecay,
        };
      },
    }),
});
