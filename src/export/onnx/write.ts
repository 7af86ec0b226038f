/**
 * The folder that transformers.js loads: configuration, tokenizer, `onnx/model.onnx`, and the weights in `onnx/model.onnx_data` beside
 * it (protobuf ends at 2 GB), written tensor by tensor so that nothing of the model's size is made beside the model.
 */
import type { ExternalData } from "../../engine/onnx.ts";
import { emit, inputsOf } from "../../engine/onnx.ts";
import { exists, joinPath, makeFolder, readJson, readText, writeFileAtomic } from "../../formats/files.ts";
import { configText } from "../../formats/hugging-face-config.ts";
import { type LanguageModel, saveCompanions } from "../../models/language-model.ts";
import { decoderGraph } from "./graph.ts";

export const graphFile = "model.onnx";
export const graphFolder = "onnx";

/** Browsers hold a data file in one buffer. */
const largestFile = 2_000_000_000;
const alignment = 64;

/** Writes into an existing, empty folder; returns warnings. */
export async function writeOnnx(model: LanguageModel, folder: string): Promise<readonly string[]> {
  const { graph, outputs, tables, warnings } = decoderGraph(model.architecture);
  const numbers = new Map(tables.map(({ name, data }) => [name, data]));
  for (const { name } of model.architecture.parameters)
    numbers.set(name, model.weights.forReading().view(name));
  const used = inputsOf(graph, outputs).flatMap(({ id }) => {
    const data = numbers.get(id);
    return data ? [{ id, data }] : [];
  });
  const { places, files } = placed(used);
  const at = joinPath(folder, graphFolder);
  await makeFolder(at);
  await writeFileAtomic(joinPath(at, graphFile), emit(graph, outputs, places));
  for (const [name, parts] of files) await writeFileAtomic(joinPath(at, name), bytesOf(parts));
  await writeFileAtomic(joinPath(folder, "config.json"), configText(configOf(model, files.size)));
  if (model.folder !== undefined) {
    await saveCompanions(model, folder, model.folder);
    await moveTemplate(folder);
  }
  return warnings;
}

interface Part {
  readonly id: string;
  readonly data: Float32Array;
}

/** Gives every tensor its place in one of the data files. */
function placed(parts: readonly Part[]) {
  const places = new Map<string, ExternalData>();
  const files = new Map<string, Part[]>();
  let [current, end] = ["", Infinity];
  for (const part of parts) {
    const length = part.data.byteLength;
    let offset = Math.ceil(end / alignment) * alignment;
    if (offset + length > largestFile && (offset > 0 || files.size === 0)) {
      current = `${graphFile}_data${files.size === 0 ? "" : `_${files.size}`}`;
      files.set(current, []);
      offset = 0;
    }
    files.get(current)?.push(part);
    places.set(part.id, { location: current, offset, length });
    end = offset + length;
  }
  return { places, files };
}

function* bytesOf(parts: readonly Part[]): Generator<Uint8Array> {
  let end = 0;
  for (const { data } of parts) {
    const offset = Math.ceil(end / alignment) * alignment;
    if (offset > end) yield new Uint8Array(offset - end);
    yield new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    end = offset + data.byteLength;
  }
}

function configOf({ architecture, endIds, beginId }: LanguageModel, dataFiles: number) {
  return {
    ...architecture.toConfig(),
    torch_dtype: "float32",
    ...(beginId !== undefined && { bos_token_id: beginId }),
    ...(endIds.length > 0 && { eos_token_id: endIds.length === 1 ? endIds[0] : endIds }),
    "transformers.js_config": { dtype: "fp32", use_external_data_format: { [graphFile]: dataFiles } },
  };
}

/** transformers.js reads the chat template of tokenizer_config.json alone. */
async function moveTemplate(folder: string): Promise<void> {
  const [template, config] = ["chat_template.jinja", "tokenizer_config.json"].map((n) => joinPath(folder, n));
  if (!(await exists(template))) return;
  const given = (await exists(config)) ? ((await readJson(config)) as Record<string, unknown>) : {};
  const changed = { ...given, chat_template: await readText(template) };
  await writeFileAtomic(config, `${JSON.stringify(changed, null, 2)}\n`);
}
