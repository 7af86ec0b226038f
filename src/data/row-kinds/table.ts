/** How each kind of row is made, by what the record is: one line a kind. */
import type { RecordKind } from "../record-kinds.ts";
import type { DataKind } from "../record-formats.ts";
import { calibrated } from "./calibrated.ts";
import { graded } from "./graded.ts";
import { joint } from "./joint.ts";
import { lists } from "./lists.ts";
import { rationales } from "./rationales.ts";
import { revisions } from "./revisions.ts";
import { type RowKind, asWritten } from "./row-kind.ts";
import { stepwise } from "./stepwise.ts";
import { unlearning } from "./unlearning.ts";
import { unpaired } from "./unpaired.ts";

export const rowKinds: Readonly<Record<RecordKind, RowKind>> = {
  pair: { pair: asWritten },
  plain: { plain: asWritten },
  triple: { triple: asWritten },
  list: lists,
  unpaired,
  unlearning,
  joint,
  rationale: rationales,
  revision: revisions,
  graded,
  calibrated,
  stepwise,
  prompt: { prompt: asWritten },
};

/** What a record may be to become a row of this kind. */
export const dataKindsFor = (kind: RecordKind): DataKind[] => Object.keys(rowKinds[kind]) as DataKind[];
