/** An example of every kind of record for tests, with everything that any objective reads. */
import type { RecordKind } from "../data/record-kinds.ts";

type Json = Record<string, unknown>;

/** Options that some objectives must be given. */
export const neededOptions: Readonly<Record<string, Json>> = {
  vpo: { mode: "offline" },
  preflexor: { stage: 2 },
};

/** An example of each kind of record; `logp(place)` is the log-probability of a token under the policy, the reference's are -1. */
export const exampleOf: Readonly<Record<RecordKind, (logp: (place: string) => number) => Json>> = (() => {
  const completion = (logp: (place: string) => number, place: string): Json => ({
    policy: [logp(place), -1],
    reference: [-1, -1],
    slow: [-1.5, -1],
    tokenKl: [Math.abs(logp(place)), 0.5],
    collision: [-0.7, -0.2],
    tokenRewards: [0.3, -0.2],
    reward: logp(place),
    winRate: 0.7,
    score: place.length,
  });
  const roles =
    (...names: string[]) =>
    (logp: (place: string) => number) =>
      Object.fromEntries(names.map((name) => [name, completion(logp, name)]));
  const pair = (logp: (place: string) => number) => ({
    ...roles("chosen", "rejected")(logp),
    explored: "rejected",
    bald: 0.1,
    probability: 0.5,
    pMean: 0.8,
  });
  const joint = (logp: (place: string) => number, side: string) => ({
    instruction: completion(logp, side),
    response: completion(logp, `${side}, answered`),
  });
  return {
    pair,
    plain: roles("completion"),
    triple: roles("gold", "chosen", "rejected"),
    list: (logp) => ({
      completions: ["worst", "chosen", "rejected"].map((place) => completion(logp, place)),
    }),
    unpaired: (logp) => ({ ...roles("completion", "mismatched")(logp), label: logp("completion") > -1 }),
    unlearning: roles("forget", "retain", "idk"),
    joint: (logp) => ({ chosen: joint(logp, "chosen"), rejected: joint(logp, "rejected") }),
    rationale: roles("chosen", "rejected", "rationale"),
    revision: roles("wl", "ll", "ww", "lw", "w", "l"),
    graded: (logp) => ({
      ...pair(logp),
      degree: { logits: [[logp("copies"), 0, 1]], labels: [1] },
    }),
    calibrated: (logp) => ({ ...pair(logp), calibration: completion(logp, "calibration") }),
    stepwise: roles("steps"),
    prompt: () => ({}),
  };
})();
