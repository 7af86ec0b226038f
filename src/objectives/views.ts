/** What objectives see of a batch, made from a source when it is touched, each quantity once. */
import { add, mul, stopGradient } from "../engine/ops/elementwise.ts";
import { segmentSum, spread } from "../engine/ops/indexing.ts";
import { mean } from "../engine/ops/reduce.ts";
import { reshape } from "../engine/ops/shape.ts";
import type { Tensor } from "../engine/tensor.ts";
import { type RecordKind, rolesOf } from "../data/record-kinds.ts";
import type { RecordView } from "./definition.ts";
import { memory } from "./memory.ts";
import type { ScoreSource, Scorer } from "./score-source.ts";
import { ScorerView } from "./scorer-view.ts";
import type { BatchView, Completion, Completions, PolicyScores, Scores } from "./scores.ts";

/** The view of a batch of records of one kind. */
export function recordView(kind: RecordKind, source: ScoreSource): RecordView {
  return {
    ...Object.fromEntries(rolesOf(kind).map((role) => [role, new RoleView(role, source)])),
    field: (name: string, otherwise: number) => source.field(name, otherwise) ?? otherwise,
    required: (name: string) => source.required(name),
  } as RecordView; // every role of the kind is present: the table lists them
}

/** The view of what is known of the whole batch. */
export function batchView({ batch }: ScoreSource): BatchView {
  const once = memory();
  return {
    get size() {
      return once("size", () => batch.size());
    },
    get epoch() {
      return once("epoch", () => batch.epoch());
    },
    tokens: (role) => once(`tokens ${role}`, () => batch.tokens(role)),
    units: (role) => once(`units ${role}`, () => batch.units(role)),
    orderedPairs: (role) => once(`pairs ${role}`, () => batch.orderedPairs(role)),
    given: (name) => batch.given(name),
    runningMean: (name, values, weight) => batch.runningMean(name, stopGradient(mean(values)), weight),
  };
}

/** The completions of one role. Roles of one completion a record never use what lists add. */
class RoleView implements Completions {
  readonly policy: PolicyScores;
  readonly reference: Scores;
  readonly slow: Scores;
  readonly #role: string;
  readonly #source: ScoreSource;
  readonly #once = memory();

  constructor(role: string, source: ScoreSource) {
    this.#role = role;
    this.#source = source;
    const scores = (scorer: Scorer) => new ScorerView(role, scorer, source, (values) => this.sum(values));
    this.policy = scores("policy");
    this.reference = scores("reference");
    this.slow = scores("slow");
  }

  get length() {
    return this.#once("length", () => this.#source.lengths(this.#role));
  }
  get positions() {
    return this.#once("positions", () => this.#source.positions(this.#role));
  }
  get tokenRewards() {
    return this.#once("rewards", () => stopGradient(this.#source.tokens(this.#role, "tokenRewards")));
  }
  get reward() {
    return this.#once("reward", () => {
      const column = this.#source.head(this.#role, "reward");
      return reshape(column, [column.shape[0]]);
    });
  }
  get degreeLogits() {
    return this.#once("degree", () => this.#source.head(this.#role, "degree"));
  }
  get prompt() {
    const role = this.#source.promptRole(this.#role);
    return role === undefined
      ? undefined
      : this.#once("prompt", (): Completion => new RoleView(role, this.#source));
  }
  value(name: string) {
    return this.#once(`value ${name}`, () => stopGradient(this.#source.value(this.#role, name)));
  }
  sum(values: Tensor) {
    return segmentSum(values, this.#segments, this.#units);
  }
  spread(values: Tensor) {
    return spread(values, this.#segments);
  }

  get present() {
    return this.#source.present(this.#role);
  }
  get count() {
    return this.#once("count", () => this.total(add(mul(0, this.length), 1)));
  }
  get sameRecord() {
    return this.#once("same", () => this.#source.sameRecord(this.#role));
  }
  total(values: Tensor) {
    return segmentSum(values, this.#owners, this.#source.records);
  }
  share(values: Tensor) {
    return spread(values, this.#owners);
  }
  places(order: "order" | "random") {
    return this.#once(`places ${order}`, () => this.#source.places(this.#role, order));
  }

  get #segments() {
    return this.#once("segments", () => this.#source.segments(this.#role));
  }
  get #owners() {
    return this.#once("owners", () => this.#source.owners(this.#role));
  }
  get #units() {
    return this.#once("units", () => this.#source.units(this.#role));
  }
}
