/**
 * Scores of the reference model, computed once and kept: in the user's cache folder under a name made from the model's weights
 * and the rows' token ids, so that another run with the same data and reference starts at once.
 */
import { exists, joinPath, makeFolder, userCacheFolder } from "../formats/files.ts";
import { openSafetensors, writeSafetensors } from "../formats/safetensors.ts";
import { sha256 } from "../formats/sha256.ts";
import { type TokenRow, completionsOf } from "../data/token-row.ts";
import { type LanguageModel, fingerprint } from "../models/language-model.ts";
import { type RowScores, TextScorer } from "../scoring/text-scorer.ts";

export interface ReferenceScores {
  /** Per-token log-probabilities of each row's completions, by role. */
  readonly scores: readonly RowScores[];
  /** Whether they came from the cache. */
  readonly cached: boolean;
}

/** Loads or computes the reference's scores of the roles of rows. A cache that cannot be read is made anew. */
export async function referenceScores(
  reference: LanguageModel,
  rows: readonly TokenRow[],
  roles: readonly string[],
  onProgress?: (done: number) => void,
): Promise<ReferenceScores> {
  const content = rows.map((row) => row.trees);
  const key = sha256(
    JSON.stringify(["reference-scores 2", reference.backend.id, fingerprint(reference), roles, content]),
  );
  const folder = joinPath(userCacheFolder(), "reference");
  const path = joinPath(folder, `${key}.safetensors`);
  const total = rows.reduce(
    (n, row) => n + roles.reduce((m, role) => m + completionsOf(row, role).flat().length, 0),
    0,
  );
  if (await exists(path)) {
    const flat = await openSafetensors(path)
      .then((file) => file.readFloat32("logps"))
      .catch(() => undefined);
    if (flat?.length === total) return { scores: split(flat, rows, roles), cached: true };
  }
  const scorer = new TextScorer(reference);
  const scores = await scorer.scoreRows(rows, roles, onProgress).finally(() => scorer.release());
  const flat = new Float32Array(total);
  let at = 0;
  for (const own of scores) {
    for (const role of roles) {
      for (const list of own[role] ?? []) {
        flat.set(list, at);
        at += list.length;
      }
    }
  }
  await makeFolder(folder);
  await writeSafetensors(path, [{ name: "logps", shape: [total], data: flat }], {});
  return { scores, cached: false };
}

function split(flat: Float32Array, rows: readonly TokenRow[], roles: readonly string[]): RowScores[] {
  let at = 0;
  return rows.map((row) =>
    Object.fromEntries(
      roles.map((role) => [
        role,
        completionsOf(row, role).map((ids) => flat.subarray(at, (at += ids.length))),
      ]),
    ),
  );
}
