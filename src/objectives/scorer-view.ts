/** What one model says of the completions of one role, made when it is touched; the reference's numbers are constants. */
import { stopGradient } from "../engine/ops/elementwise.ts";
import type { Tensor } from "../engine/tensor.ts";
import { memory } from "./memory.ts";
import type { ScoreSource, Scorer, TokenQuantity } from "./score-source.ts";
import type { PolicyScores } from "./scores.ts";

export class ScorerView implements PolicyScores {
  readonly #role: string;
  readonly #scorer: Scorer;
  readonly #source: ScoreSource;
  readonly #sum: (values: Tensor) => Tensor;
  readonly #once = memory();

  constructor(role: string, scorer: Scorer, source: ScoreSource, sum: (values: Tensor) => Tensor) {
    this.#role = role;
    this.#scorer = scorer;
    this.#source = source;
    this.#sum = sum;
  }

  get tokenLogps() {
    const values = this.#tokens(this.#scorer);
    return this.#scorer === "reference" ? this.#once("constant", () => stopGradient(values)) : values;
  }
  get logp() {
    return this.#once("logp", () => this.#sum(this.tokenLogps));
  }
  get tokenKl() {
    return this.#tokens("tokenKl");
  }
  get reverseTokenKl() {
    return this.#tokens("reverseTokenKl");
  }
  get collision() {
    return this.#once("constant collision", () => stopGradient(this.#tokens("collision")));
  }

  #tokens(quantity: TokenQuantity): Tensor {
    return this.#once(quantity, () => this.#source.tokens(this.#role, quantity));
  }
}
