/**
 * Every gradient of every objective against central differences in float64, over all fixture cases. What an objective holds still
 * (stop-gradients) is held still here as well: its values at the point are put in as constants while inputs move.
 */
import { describe, expect, test } from "vitest";
import type { TensorArray } from "../engine/backends/backend.ts";
import { openBackend } from "../engine/backends/open.ts";
import { gradients } from "../engine/gradient.ts";
import { Graph } from "../engine/graph.ts";
import { compile, evaluate } from "../engine/program.ts";
import type { Tensor } from "../engine/tensor.ts";
import { readProblem } from "./calculator.ts";
import { poseProblem } from "./evaluate-examples.ts";
import { objectiveNamed, objectives } from "./table.ts";
import { fixturesOf } from "./testing.ts";

const backend = await openBackend();
const fixtures = await fixturesOf(objectives());

/** A graph that lists what was detached, in order. */
class Listing extends Graph {
  readonly detached: Tensor[] = [];
  override detach(x: Tensor): Tensor {
    const y = super.detach(x);
    this.detached.push(y);
    return y;
  }
}

/** A graph in which what was detached is an input. */
class Holding extends Graph {
  count = 0;
  override detach(x: Tensor): Tensor {
    return this.input(`held ${this.count++}`, x.dtype, x.shape);
  }
}

const epsilon = 1e-5;

describe.each(fixtures)("$objective", ({ objective, cases }) => {
  test.each(cases)("$name", async ({ options, input }) => {
    const one = objectiveNamed(objective).with(options);
    const { kind, examples, batch } = readProblem(one, input);
    const terms = [{ objective: one, weight: 1 }];

    const listing = new Listing("float64");
    const { source, combined } = poseProblem(terms, kind, examples, { batch, graph: listing });
    const wrt = source.inputs.differentiable;
    const found = gradients(
      combined.loss,
      wrt.map((w) => w.tensor),
    );
    const outputs: Record<string, Tensor> = { loss: combined.loss };
    found.forEach((g, i) => g && (outputs[`gradient ${i}`] = g));
    listing.detached.forEach((t, i) => (outputs[`detached ${i}`] = t));
    const values = await evaluate(backend, listing, outputs, source.inputs.arrays);

    const holding = new Holding("float64");
    const held = poseProblem(terms, kind, examples, { batch, graph: holding });
    expect(holding.count).toBe(listing.detached.length);
    const constants = Object.fromEntries(
      listing.detached.map((_, i): [string, TensorArray] => [`held ${i}`, values[`detached ${i}`]]),
    );
    const program = await compile(backend, holding, { loss: held.combined.loss }, { optimize: false });
    const at = async (name: string, i: number, delta: number) => {
      const arrays: Record<string, TensorArray> = { ...held.source.inputs.arrays, ...constants };
      const moved = (arrays[name] as Float64Array).slice();
      moved[i] += delta;
      const bound = program.bind({ ...arrays, [name]: moved });
      await bound.run();
      return Number(bound.outputs.loss[0]);
    };
    const base = Number(values.loss[0]);
    let kinks = 0;
    for (const [k, { name, tensor }] of wrt.entries()) {
      const gradient = found[k]
        ? (values[`gradient ${k}`] as Float64Array)
        : new Float64Array(tensor.elements);
      const scale = Math.max(1e-2, Math.abs(base), ...gradient.map(Math.abs));
      for (let i = 0; i < gradient.length; i++) {
        const [up, down] = [await at(name, i, epsilon), await at(name, i, -epsilon)];
        const [right, left] = [(up - base) / epsilon, (base - down) / epsilon];
        // Where the two sides differ by more than curvature explains, the derivative is one in between, or 0 by definition.
        if (Math.abs(right - left) > 1e-3 * scale) {
          kinks++;
          const [low, high] = [Math.min(left, right, 0), Math.max(left, right, 0)];
          expect(gradient[i], `${name}[${i}] at a kink`).toBeGreaterThanOrEqual(low - 1e-3 * scale);
          expect(gradient[i], `${name}[${i}] at a kink`).toBeLessThanOrEqual(high + 1e-3 * scale);
          continue;
        }
        const difference = (up - down) / (2 * epsilon);
        expect(
          Math.abs(gradient[i] - difference) / scale,
          `${name}[${i}]: ${gradient[i]} against ${difference}`,
        ).toBeLessThan(1e-6);
      }
    }
    program.release();
    expect(kinks).toBeLessThanOrEqual(8);
  });
});
