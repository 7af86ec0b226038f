/**
 * GELU (Hendrycks and Gimpel, arXiv:1606.08415): x Φ(x) with the normal distribution function, and the form with tanh that
 * GPT-2 and Gemma use. The runtime has no error function in float64, the type of gradient checks; there it is integrated.
 */
import type { Tensor } from "../tensor.ts";
import { add, exp, maximum, minimum, mul, neg, sub, tanh } from "./elementwise.ts";
import { sum } from "./reduce.ts";
import { reshape } from "./shape.ts";

/** x Φ(x) = ½ x (1 + erf(x/√2)); d/dx = Φ(x) + x φ(x). */
export function gelu(x: Tensor): Tensor {
  const { graph } = x;
  const normal = () => mul(0.5, add(1, erf(mul(x, Math.SQRT1_2))));
  const y = graph.untaped(() => (graph.float === "float64" ? mul(x, normal()) : kernel(x, "none")));
  return graph.record(y, [x], (dy) => {
    const density = mul(exp(mul(-0.5, mul(x, x))), 1 / Math.sqrt(2 * Math.PI));
    return [mul(dy, add(normal(), mul(x, density)))];
  });
}

const root = Math.sqrt(2 / Math.PI);
const cubic = 0.044715;

/** ½ x (1 + tanh u), u = √(2/π) (x + 0.044715 x³); d/dx = ½ (1 + t) + ½ x (1 - t²) u'. */
export function geluTanh(x: Tensor): Tensor {
  const { graph } = x;
  const inner = () => tanh(mul(x, add(root, mul(root * cubic, mul(x, x)))));
  const y = graph.untaped(() =>
    graph.float === "float64" ? mul(mul(0.5, x), add(1, inner())) : kernel(x, "tanh"),
  );
  return graph.record(y, [x], (dy) => {
    const t = inner();
    const slope = add(root, mul(3 * root * cubic, mul(x, x)));
    const bend = mul(mul(x, slope), sub(1, mul(t, t)));
    return [mul(dy, mul(0.5, add(add(1, t), bend)))];
  });
}

function kernel(x: Tensor, approximate: "none" | "tanh"): Tensor {
  return x.graph.node("Gelu", [x], { shape: x.shape }, { approximate });
}

/** 2/√π ∫₀ˣ e^(-t²) dt. No gradient. */
export function erf(x: Tensor): Tensor {
  const { graph } = x;
  return graph.untaped(() =>
    graph.float === "float64" ? integrated(x) : graph.node("Erf", [x], { shape: x.shape }),
  );
}

/** Beyond this erf is 1 in double precision. */
const flat = 6;
const { nodes, weights } = gaussLegendre(48);

/** erf x = 2x/√π ∫₀¹ e^(-x²u²) du by Gauss-Legendre: within 1e-15 of the truth, and smooth. */
function integrated(x: Tensor): Tensor {
  const { graph } = x;
  const near = minimum(maximum(x, -flat), flat);
  const column = reshape(mul(near, near), [...x.shape, { name: "one", size: 1 }]);
  const at = { name: "node", size: nodes.length };
  const bells = exp(
    neg(
      mul(
        column,
        graph.floats(
          nodes.map((u) => u * u),
          at,
        ),
      ),
    ),
  );
  return mul(mul(near, 2 / Math.sqrt(Math.PI)), sum(mul(bells, graph.floats(weights, at)), at.name));
}

/** Nodes and weights of the Gauss-Legendre rule of n points on [0, 1]: the roots of P_n by Newton's method. */
function gaussLegendre(n: number): { nodes: number[]; weights: number[] } {
  const rule = Array.from({ length: n }, (_, i) => {
    let z = Math.cos((Math.PI * (i + 0.75)) / (n + 0.5));
    let slope = 1;
    for (let step = 0; step < 8; step++) {
      // (k+1) P_{k+1} = (2k+1) z P_k - k P_{k-1};  P_n' = n (z P_n - P_{n-1}) / (z² - 1)
      let [p, before] = [1, 0];
      for (let k = 0; k < n; k++) [p, before] = [((2 * k + 1) * z * p - k * before) / (k + 1), p];
      slope = (n * (z * p - before)) / (z * z - 1);
      z -= p / slope;
    }
    return { node: (1 + z) / 2, weight: 1 / ((1 - z * z) * slope * slope) };
  });
  return { nodes: rule.map((r) => r.node), weights: rule.map((r) => r.weight) };
}
