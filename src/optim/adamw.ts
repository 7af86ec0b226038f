/**
 * AdamW (Loshchilov and Hutter, arXiv:1711.05101), with the arithmetic of torch.optim.AdamW: decay first, bias-corrected
 * moments, ε added to the root of the corrected second moment.
 */
import { add, div, mul, sqrt, sub } from "../engine/ops/elementwise.ts";
import { elementwise } from "./elementwise.ts";
import { optimizer } from "./optimizer.ts";

export const adamw = optimizer({
  defaults: { betas: [0.9, 0.999] as readonly [number, number], epsilon: 1e-8 },
  create: (context, { betas: [beta1, beta2], epsilon }) =>
    elementwise(context, {
      moments: ["m", "v"],
      kernel: ({ array, scalar }) => {
        const [p, g, m, v] = ["p", "g", "m", "v"].map(array);
        const mNew = add(mul(m, beta1), mul(g, scalar("m1"))); // β₁ m + (1-β₁) g
        const vNew = add(mul(v, beta2), mul(mul(g, g), scalar("v1"))); // β₂ v + (1-β₂) g²
        const denominator = add(mul(sqrt(vNew), scalar("rootCorrection")), epsilon);
        const pNew = sub(mul(p, scalar("kept")), mul(div(mNew, denominator), scalar("rate")));
        return { p: pNew, m: mNew, v: vNew };
      },
      scalars: ({ count, rate, weightDecay, gradientScale }) => ({
        rate: rate / (1 - beta1 ** count),
        rootCorrection: 1 / Math.sqrt(1 - beta2 ** count),
        m1: (1 - beta1) * gradientScale,
        v1: (1 - beta2) * gradientScale ** 2,
        kept: 1 - rate * weightDecay,
      }),
    }),
});
