/**
 * Scores of the reference model, computed once and kept: in the user's cache folder under a name made from the model's weights
 * and the rows' token ids, so that another run with the same data and reference starts at once.
 */
import { exists, joinPath, makeFolder, userCacheFolder } from "../formats/files.ts";
import { openSafetensors, writeSafetensors } from "../formats/safetensors.ts";
import { sha256 } from "../formats/sha256.ts";
import type { TokenRow } from "../data/rows.ts";
import { type LanguageModel, fingerprint } from "../models/language-model.ts";
import { TextScorer, type TreeScores } from "../scoring/text-scorer.ts";

export interface ReferenceScores {
  /** Per-token log-probabilities of each row's completions. */
  readonly scores: readonly TreeScores[];
  /** Whether they came from the cache. */
  readonly cached: boolean;
}

/** Loads or computes the reference's scores of the rows. A cache that cannot be read is made anew. */
export async function referenceScores(
  reference: LanguageModel,
  rows: readonly TokenRow[],
  onProgress?: (done: number) => void,
): Promise<ReferenceScores> {
  const trees = rows.map(({ prompt, completions }) => ({ prompt, completions }));
  const key = sha256(
    JSON.stringify(["reference-scores 1", reference.backend.id, fingerprint(reference), trees]),
  );
  const folder = joinPath(userCacheFolder(), "reference");
  const path = joinPath(folder, `${key}.safetensors`);
  const lengths = trees.flatMap((t) => t.completions.map((c) => c.length));
  const total = lengths.reduce((a, b) => a + b, 0);
  if (await exists(path)) {
    const flat = await openSafetensors(path)
      .then((file) => file.readFloat32("logps"))
      .catch(() => undefined);
    if (flat?.length === total) return { scores: split(flat, rows), cached: true };
  }
  const scores = await new TextScorer(reference).score(trees, onProgress);
  const flat = new Float32Array(total);
  let at = 0;
  for (const list of scores.flat()) {
    flat.set(list, at);
    at += list.length;
  }
  await makeFolder(folder);
  await writeSafetensors(path, [{ name: "logps", shape: [total], data: flat }], {});
  return { scores, cached: false };
}

function split(flat: Float32Array, rows: readonly TokenRow[]): TreeScores[] {
  let at = 0;
  return rows.map((row) => row.completions.map((c) => flat.subarray(at, (at += c.length))));
}
