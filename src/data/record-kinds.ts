/**
 * Kinds of records: which completions each offers, under which names (roles). `one`: a record has one of it at most; `many`: any
 * number. A role with a dot stands inside another field of the record (`chosen.instruction`). What an objective touches
 * must be there; what it leaves alone may be missing.
 */
export const recordKinds = {
  pair: { chosen: "one", rejected: "one" },
  plain: { completion: "one" },
  triple: { gold: "one", chosen: "one", rejected: "one" },
  list: { completions: "many" },
  unpaired: { completion: "one", mismatched: "one" },
  unlearning: { forget: "one", retain: "one", idk: "one" },
  joint: {
    "chosen.instruction": "one",
    "chosen.response": "one",
    "rejected.instruction": "one",
    "rejected.response": "one",
  },
  rationale: { chosen: "one", rejected: "one", rationale: "one" },
  /** Answers under three prompts: draft y_l shown (wl, ll), draft y_w shown (ww, lw), no draft (w, l). */
  revision: { wl: "one", ll: "one", ww: "one", lw: "one", w: "one", l: "one" },
  /** A pair with damaged copies of an answer, each with its degree. */
  graded: { chosen: "one", rejected: "one", copies: "many" },
  /** A pair with samples of the calibration policy. */
  calibrated: { chosen: "one", rejected: "one", calibration: "many" },
  /** The steps of one answer. */
  stepwise: { steps: "one" },
  /** A prompt alone: what a policy is asked. */
  prompt: {},
} as const satisfies Record<string, Readonly<Record<string, "one" | "many">>>;

export type RecordKind = keyof typeof recordKinds;

/** The roles of a kind, in the order in which they are laid out. */
export function rolesOf(kind: RecordKind): readonly string[] {
  return Object.keys(recordKinds[kind]);
}

/** Whether records of this kind may have several completions of this role. */
export function isMany(kind: RecordKind, role: string): boolean {
  return (recordKinds[kind] as Readonly<Record<string, "one" | "many">>)[role] === "many";
}

/**
 * Which completions of another kind stand for those of an objective's own kind: an SFT term takes a pair's chosen one. Roles of the
 * same name stand for each other anyway.
 */
const standIns: Partial<Record<RecordKind, Readonly<Record<string, string>>>> = {
  triple: { completion: "gold" },
  pair: { completion: "chosen" },
  rationale: { completion: "chosen" },
  graded: { completion: "chosen" },
  calibrated: { completion: "chosen" },
  revision: { completion: "w", chosen: "w", rejected: "l" },
  unlearning: { completion: "retain" },
};

/** The role that `role` means in records of kind `given`; undefined where they have nothing like it. */
export function standIn(role: string, given: RecordKind): string | undefined {
  if (Object.hasOwn(recordKinds[given], role)) return role;
  return standIns[given]?.[role];
}

/** The role of the prompt's tokens before a completion, where they are scored too. */
export const promptOf = (role: string): string => `${role}/prompt`;

export const promptSuffix = /\/prompt$/;
