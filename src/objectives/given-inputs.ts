/**
 * Completions that are there as numbers, as inputs of a graph: what was given directly, and what follows from rows over a small
 * vocabulary. Every completion is an input of its own, so that a gradient comes back for each.
 */
import type { RecordKind } from "../data/record-kinds.ts";
import { isMany } from "../data/record-kinds.ts";
import type { TensorArray } from "../engine/backends/backend.ts";
import type { Graph } from "../engine/graph.ts";
import { add, exp, log, mul, sub } from "../engine/ops/elementwise.ts";
import { pick } from "../engine/ops/indexing.ts";
import { logSoftmax } from "../engine/ops/normalization.ts";
import { sum } from "../engine/ops/reduce.ts";
import { type Shape, type Tensor, dim, relabel } from "../engine/tensor.ts";
import { RequestError } from "../errors.ts";
import type { Example } from "./example-shapes.ts";
import { tokenCount } from "./given-completion.ts";
import { type Differentiable, type DifferentiableField, type Unit, tokenDim } from "./given-unit.ts";
import type { TokenQuantity } from "./score-source.ts";

export class GivenInputs {
  readonly graph: Graph;
  readonly arrays: Record<string, TensorArray> = {};
  readonly differentiable: Differentiable[] = [];
  readonly #owner: string;
  readonly #kind: RecordKind;
  readonly #examples: readonly Example[];

  /** `owner` names the objectives in errors. */
  constructor(graph: Graph, owner: string, kind: RecordKind, examples: readonly Example[]) {
    this.graph = graph;
    this.#owner = owner;
    this.#kind = kind;
    this.#examples = examples;
  }

  /** The completions of a role. Throws where an example lacks one that it must have. */
  units(role: string): Unit[] {
    return this.#examples.flatMap((e, example) => {
      const all = e.completions[role] ?? [];
      if (all.length === 0 && !isMany(this.#kind, role)) throw this.missing(example, role);
      return all.map((completion, unit) => ({ example, unit, completion }));
    });
  }

  /** A number that the examples come with, each or none of them. */
  number(example: number, name: string): number | undefined {
    const value = this.#examples[example].fields[name];
    if (value === undefined) return undefined;
    if (typeof value === "number" && Number.isFinite(value)) return value;
    throw new RequestError({
      code: "field-invalid",
      what: `${name} must be a number`,
      where: `example ${example + 1}`,
      why: `objective ${this.#owner} reads it`,
    });
  }

  /** One quantity of a completion's tokens: [tokens of the role]. */
  tokens(u: Unit, role: string, quantity: TokenQuantity): Tensor {
    const { completion: c } = u;
    const direct = c[quantity];
    if (direct !== undefined && !(quantity === "policy" && c.logits)) {
      const shape = [dim(tokenDim(role), tokenCount(c))];
      const isConstant = ["reference", "collision", "tokenRewards"].includes(quantity);
      return isConstant
        ? this.input(this.nameOf(u, role, quantity), direct, shape)
        : this.wanted(u, role, quantity as DifferentiableField, direct, shape);
    }
    const fromRows = this.#fromRows(u, role)[quantity]?.();
    if (fromRows) return fromRows;
    throw this.missingOf(u, role, quantity);
  }

  /** An input of that name, made once. */
  input(name: string, values: readonly number[], shape: Shape): Tensor {
    const known = this.graph.inputs.find((t) => t.id === name);
    if (known) return known;
    this.arrays[name] = Float64Array.from(values);
    return this.graph.input(name, "float", shape);
  }

  /** An input whose gradient is told. */
  wanted(u: Unit, role: string, field: DifferentiableField, values: readonly number[], shape: Shape): Tensor {
    const name = this.nameOf(u, role, field);
    const tensor = this.input(name, values, shape);
    if (!this.differentiable.some((d) => d.name === name))
      this.differentiable.push({ tensor, name, example: u.example, role, unit: u.unit, field });
    return tensor;
  }

  nameOf({ example, unit }: Unit, role: string, field: string): string {
    return `${example}/${role}/${unit}/${field}`;
  }

  missingOf({ example, unit }: Unit, role: string, field: string): RequestError {
    return this.missing(example, `${isMany(this.#kind, role) ? `${role}.${unit}` : role}.${field}`);
  }

  missing(example: number, field: string): RequestError {
    return new RequestError({
      code: "field-missing",
      what: `${field} is missing`,
      where: `example ${example + 1}`,
      why: `objective ${this.#owner} needs it`,
    });
  }

  /** Quantities that follow from rows over a small vocabulary, where the completion has them. */
  #fromRows(u: Unit, role: string): Partial<Record<TokenQuantity, () => Tensor | undefined>> {
    const { logits, referenceLogits, tokens } = u.completion;
    const shape = (rows: readonly (readonly number[])[]) => [
      dim(tokenDim(role), rows.length),
      dim("vocabulary", rows[0].length),
    ];
    const policy = () => logits && logSoftmax(this.wanted(u, role, "logits", logits.flat(), shape(logits)));
    const name = this.nameOf(u, role, "referenceLogits");
    const reference = () =>
      referenceLogits && logSoftmax(this.input(name, referenceLogits.flat(), shape(referenceLogits)));
    const picked = (rows: Tensor | undefined) =>
      rows && tokens && pick(rows, relabel(this.graph.integers(tokens), [rows.shape[0]]));
    // Σ_v p (log p - log q); a token that p cannot draw adds nothing
    const divergence = (p: Tensor | undefined, q: Tensor | undefined) =>
      p && q && sum(mul(exp(p), sub(p, q)), "vocabulary");
    const squares = (p: Tensor | undefined) => p && log(sum(exp(add(p, p)), "vocabulary"));
    return {
      policy: () => picked(policy()),
      reference: () => picked(reference()),
      tokenKl: () => divergence(reference(), policy()),
      reverseTokenKl: () => divergence(policy(), reference()),
      collision: () => squares(policy()),
    };
  }
}
