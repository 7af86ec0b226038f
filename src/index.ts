/** The public API: what the command line does, in a dozen lines of TypeScript. */
export { type Tensor } from "./engine/tensor.ts";
export {
  abs,
  add,
  div,
  exp,
  log,
  logSigmoid,
  maximum,
  minimum,
  mul,
  neg,
  sigmoid,
  softplus,
  sqrt,
  square,
  stopGradient,
  sub,
  tanh,
} from "./engine/ops/elementwise.ts";
export { openBackend } from "./engine/backends/open.ts";
export { PrefoptError, RequestError, WorkError } from "./errors.ts";
export { type LanguageModel, loadLanguageModel, saveLanguageModel } from "./models/language-model.ts";
export { mergedCopy } from "./models/adapter/merge.ts";
export { type SaveGgufOptions, saveGguf } from "./models/save-gguf.ts";
export { type Exported, type ExportOptions, exportModel } from "./export/export-model.ts";
export { type Tokenizer, loadTokenizer } from "./text/tokenizer.ts";
export { type GenerateOptions, type Generated, generate } from "./generation/generate.ts";
export type { Objective, ObjectiveDefinition, ObjectiveFamily } from "./objectives/definition.ts";
export { averageLogp, logRatio } from "./objectives/log-ratio.ts";
export { objective, objectiveOf } from "./objectives/objective.ts";
export { flag, nonNegative, oneOf, positive, within } from "./objectives/options.ts";
export { objectiveNamed, objectives, registerObjective } from "./objectives/table.ts";
export { calculate } from "./objectives/calculator.ts";
export { sampleMetrics, sampleModel, sequenceKl } from "./evaluation/samples.ts";
export { bootstrapMean, winRate } from "./evaluation/win-rate.ts";
export { rewardNamed, type RewardFunction } from "./feedback/reward.ts";
export { methods } from "./methods/table.ts";
export { type RunPlan, planRun } from "./training/plan.ts";
export { type Run, type RunEvent, type RunOptions, type RunRecipe, run } from "./methods/run.ts";
export { packagePath } from "./formats/files.ts";
export { type Row, type RowSource, readRows, writeRows } from "./formats/rows.ts";
export { type Conversion, type ConvertOptions, convertFile } from "./data/formats/convert.ts";
export { type CheckOptions, type DataReport, checkData } from "./data/checks/run-checks.ts";
export type { Check, CheckResult, CheckSource, Finding } from "./data/checks/check.ts";
