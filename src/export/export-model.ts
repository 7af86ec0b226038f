/**
 * Exports a model: written aside, read back, compared with its source token by token, and only then put in its place. What
 * stands at the target is never replaced unasked, and a failure leaves nothing behind.
 */
import { RequestError, nearest } from "../errors.ts";
import { exists, isFolder, joinPath, listFolder, publishFile, publishFolder } from "../formats/files.ts";
import { isAdapterFolder } from "../formats/locations.ts";
import { mergeInto, mergedCopy } from "../models/adapter/merge.ts";
import type { LanguageModel } from "../models/language-model.ts";
import type { ExportDtype, ExportFormat } from "./format.ts";
import { freeWeights, scorerOf } from "./language-model-scorer.ts";
import { exportFormats } from "./table.ts";
import { type Difference, checkFinite, compare, probeRows } from "./verify.ts";

export interface ExportTarget {
  /** A name of the table of formats: safetensors, onnx, gguf. */
  readonly to: string;
  /** The folder or file to make. */
  readonly out: string;
  /** Type of the weights in the file; default: the format's first. */
  readonly dtype?: string;
  /** Replace what is at `out`, if it is a model. */
  readonly overwrite?: boolean;
}

export interface ExportOptions extends ExportTarget {
  /** Free the model before the file is read back, so that never two are in memory; it must not be used afterwards. */
  readonly consume?: boolean;
  readonly signal?: AbortSignal;
  /** Told what is being done. */
  readonly onProgress?: (doing: string) => void;
}

export interface Exported {
  readonly path: string;
  readonly format: string;
  readonly dtype: ExportDtype;
  readonly difference: Difference;
  /** What readers of the file will not heed. */
  readonly warnings: readonly string[];
}

/** What is checked before a model is loaded: format, type and target. Throws a RequestError for what cannot be done. */
export async function checkTarget({ to, out, dtype, overwrite }: ExportTarget): Promise<{
  format: ExportFormat;
  dtype: ExportDtype;
}> {
  const format = Object.hasOwn(exportFormats, to) ? exportFormats[to] : undefined;
  if (!format) throw unknown("format", to, Object.keys(exportFormats));
  const { dtypes, target } = format;
  const type = dtype === undefined ? dtypes[0] : dtypes.find((d) => d === dtype.toUpperCase());
  if (type === undefined) throw unknown(`type of ${to}`, dtype ?? "", dtypes);
  if (target !== "folder" && !out.endsWith(target.file)) {
    const fix = `Call it ${out}${target.file}`;
    throw new RequestError({ code: "export-target", what: `is no name for a ${to} file`, where: out, fix });
  }
  if (!(await exists(out)) || (await isEmptyFolder(out))) return { format, dtype: type };
  const taken = (why: string | undefined, fix: string) =>
    new RequestError({ code: "export-exists", what: "is there already", where: out, why, fix });
  if (!overwrite) throw taken(undefined, "Name another place, or add --overwrite");
  const folder = await isFolder(out);
  const replaceable = target === "folder" ? folder && (await holdsModel(out)) : !folder;
  if (!replaceable)
    throw taken("what is there is no model of this form, so it is not replaced", "Name another place");
  return { format, dtype: type };
}

const holdsModel = async (folder: string) =>
  (await exists(joinPath(folder, "config.json"))) || (await isAdapterFolder(folder));

const isEmptyFolder = async (path: string) => (await isFolder(path)) && (await listFolder(path)).length === 0;

function unknown(kind: string, given: string, known: readonly string[]): RequestError {
  const guess = nearest(given, known);
  return new RequestError({
    code: "export-unknown",
    what: `there is no ${kind} "${given}"`,
    fix: guess ? `Did you mean ${guess}?` : `Known: ${known.join(", ")}`,
  });
}

/** Exports a model. Throws a RequestError for a wrong target, a WorkError where what was written does not score like the model. */
export async function exportModel(model: LanguageModel, options: ExportOptions): Promise<Exported> {
  const { out, consume = false, signal, onProgress } = options;
  const { format, dtype } = await checkTarget(options);
  const doing = (what: string) => {
    signal?.throwIfAborted();
    onProgress?.(what);
  };
  doing("scoring the model");
  const rows = await probeRows(model);
  const source = await scored(scorerOf(model), rows);
  checkFinite(source, model.folder ?? "the model");
  const mustMerge = !format.keepsAdapter && (model.adapter !== undefined || model.packed !== undefined);
  const whole = mustMerge ? merged(model, consume) : model;
  let result: { difference: Difference; warnings: readonly string[] } | undefined;
  const { backend } = model;
  const publish = format.target === "folder" ? publishFolder : publishFile;
  await publish(out, async (place) => {
    doing(`writing ${dtype}`);
    const warnings = await format.write(whole, place, { dtype }).finally(() => {
      if (whole.weights !== model.weights) freeWeights(whole);
    });
    if (consume) freeWeights(model);
    doing("reading it back");
    const exported = await scored(await format.open(place, backend), rows);
    result = { difference: compare(source, exported, dtype, out), warnings };
    signal?.throwIfAborted();
  });
  if (!result) throw new RangeError("nothing was written");
  return { path: out, format: format.id, dtype, ...result };
}

/** The model without its adapter, which is put into its weights: into those of the model itself where it may be consumed. */
function merged(model: LanguageModel, consume: boolean): LanguageModel {
  if (!consume || model.packed) return mergedCopy(model);
  mergeInto(model, model.weights);
  return { ...model, adapter: undefined };
}

async function scored(
  scorer: Awaited<ReturnType<ExportFormat["open"]>>,
  rows: readonly number[][],
): Promise<number[][]> {
  try {
    return await scorer.score(rows);
  } finally {
    await scorer.release();
  }
}
