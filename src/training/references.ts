/**
 * The models that a policy is held to and measured against: where it starts, or another one; a copy where scores are asked for while the
 * policy moves; one that follows the policy where the objective says so. Scores that never change are taken once, from a cache.
 */
import { promptSuffix } from "../data/record-kinds.ts";
import { mergedCopy } from "../models/adapter/merge.ts";
import { type LanguageModel, copyOf, loadLanguageModel, releaseCopy } from "../models/language-model.ts";
import type { RowScores } from "../scoring/text-scorer.ts";
import { givenReference } from "./given-reference.ts";
import type { Prepared } from "./prepare.ts";
import { referenceScores } from "./reference-scores.ts";
import { companionsOf } from "./trained.ts";

export interface References {
  /** What KL and win rates are measured against; undefined where nothing measures them. */
  readonly base?: LanguageModel;
  /** The objective's reference, where it is asked for something that could not be computed beforehand. */
  readonly live?: LanguageModel;
  /** Every how many steps the live reference follows the policy, and by how much. */
  readonly sync?: { readonly every: number; readonly mix: number };
  /** Scores of the training and held-out rows that never change. */
  readonly train?: readonly RowScores[];
  readonly held?: readonly RowScores[];
  /** Whether these scores came from the cache; undefined where there are none. */
  readonly cached?: boolean;
  /** Frees the models that were loaded or copied for this. */
  release(): void;
}

/** Roles whose reference scores never change: they are taken once, which takes a while the first time. */
export function constantRoles({ touched, terms }: Prepared): string[] {
  if (companionsOf(terms).syncReference) return [];
  return [...touched.tokens].flatMap(([role, asked]) =>
    asked.has("reference") && role !== "mismatched" && !promptSuffix.test(role) ? [role] : [],
  );
}

/** What a run asks of references: scores while the policy moves, and measurements against the start. */
function demands(prepared: Prepared) {
  const { recipe, touched, terms } = prepared;
  const measured = recipe.evaluate?.metrics.some((m) => m === "kl" || m === "winRate") ?? false;
  const sync = companionsOf(terms).syncReference;
  const cachedRoles = constantRoles(prepared);
  const askedLive = [...touched.tokens].some(
    ([role, quantities]) => quantities.has("reference") && !cachedRoles.includes(role),
  );
  const needsLive = sync !== undefined || touched.referenceVocabulary || askedLive;
  return { measured, sync, cachedRoles, needsLive };
}

/** How many models a run will hold beside its own, those of other memory only. */
export function copiedModels(prepared: Prepared): number {
  const { measured, sync, needsLive } = demands(prepared);
  const { recipe, touched, model } = prepared;
  if (!touched.reference && !measured) return 0;
  const other = recipe.reference !== "same" && recipe.reference !== "none";
  const copied = other || ((measured || (needsLive && !sync)) && !model.adapter);
  return Number(copied) + Number(sync !== undefined);
}

/** Loads what a run needs of references, and takes the scores that never change. */
export async function referencesOf(prepared: Prepared): Promise<References> {
  const { recipe, model, backend, touched, rows, evalRows } = prepared;
  const { measured, sync, cachedRoles, needsLive } = demands(prepared);
  const owned = new Set<LanguageModel>();
  const release = () => owned.forEach((m) => releaseCopy(m, model));
  const own = (copy: LanguageModel) => {
    owned.add(copy);
    return copy;
  };
  if (!touched.reference && !measured) return { release };
  const asked = { touched, follows: sync !== undefined };
  const given = { train: givenReference(rows, asked), held: givenReference(evalRows, asked) };
  const computed = [...(given.train ? [] : rows), ...(given.held ? [] : evalRows)];
  if (computed.length === 0 && !measured) return { release, ...given };

  const other = recipe.reference !== "same" && recipe.reference !== "none";
  // A fresh adapter has changed nothing: the model without it is where the policy starts.
  const same = model.adapter?.fresh ? copyOf(model) : model;
  const start = other ? own(await loadLanguageModel(recipe.reference, backend)) : same;
  // The start is taken down before the policy moves: whoever needs it later gets a copy that stays.
  const stays = measured || (needsLive && !sync);
  const frozen = other ? start : stays ? own(copyOf(model)) : start;
  const references: References = {
    release,
    ...(measured && { base: frozen }),
    ...(needsLive && { live: sync ? own(mergedCopy(frozen)) : frozen }),
    ...(sync && { sync }),
  };
  if (cachedRoles.length === 0) return references;
  if (computed.length === 0) return { ...references, ...given };
  const { scores, cached } = await referenceScores(start, computed, cachedRoles);
  const train = given.train ?? scores.slice(0, rows.length);
  const held = given.held ?? scores.slice(given.train ? 0 : rows.length);
  return { ...references, train, held, cached };
}

/**
 * reference ← mix · policy + (1 - mix) · reference (TR-DPO, Gorbatovski et al., arXiv:2404.09656). Weights are mixed, of a policy with
 * an adapter those that it comes to: a mixture of the adapters' matrices would be another model.
 */
export function follow(reference: LanguageModel, policy: LanguageModel, mix: number): void {
  const merged = policy.adapter ? mergedCopy(policy) : policy;
  const [r, p] = [reference.weights.forWriting().flat, merged.weights.forReading().flat];
  for (let i = 0; i < r.length; i++) r[i] = mix * p[i] + (1 - mix) * r[i];
  if (policy.adapter) releaseCopy(merged, undefined);
}
