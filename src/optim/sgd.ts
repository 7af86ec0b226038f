/**
 * Stochastic gradient descent with momentum (Polyak, 1964) and Nesterov's form of it (Sutskever et al., 2013), with the
 * arithmetic of torch.optim.SGD: weight decay is part of the gradient, and the direction, not the step, is kept.
 */
import { add, mul, sub } from "../engine/ops/elementwise.ts";
import type { Tensor } from "../engine/tensor.ts";
import { elementwise } from "./elementwise.ts";
import { optimizer } from "./optimizer.ts";

export const sgd = optimizer({
  defaults: { momentum: 0, nesterov: false },
  create: (context, { momentum, nesterov }) =>
    elementwise(context, {
      moments: momentum > 0 ? ["b"] : [],
      kernel: ({ array, scalar }, decays) => {
        const [p, g] = ["p", "g"].map(array);
        const scaled = mul(g, scalar("gradientScale"));
        const gradient = decays ? add(scaled, mul(p, scalar("weightDecay"))) : scaled;
        const move = (direction: Tensor) => sub(p, mul(direction, scalar("rate")));
        if (momentum === 0) return { p: move(gradient) } as Record<string, Tensor>;
        const b = add(mul(array("b"), momentum), gradient); // b ← μ b + g
        return { p: move(nesterov ? add(gradient, mul(b, momentum)) : b), b };
      },
      scalars: ({ rate, weightDecay, gradientScale }) => ({ rate, weightDecay, gradientScale }),
    }),
});
