/** Hidden states of any layer at the scored tokens, against a plain reading of one row. */
import { expect, test } from "vitest";
import { openBackend } from "../engine/backends/open.ts";
import { loadLanguageModel } from "../models/language-model.ts";
import { HiddenStates } from "./hidden-states.ts";
import { pack } from "./packing.ts";
import { readRow } from "./testing.ts";

const fixture = new URL("../../test/fixtures/models/llama", import.meta.url).pathname;

test("each layer's states are those of a row read by itself", async () => {
  const model = await loadLanguageModel(fixture, await openBackend());
  const { hiddenSize, layers, rope } = model.architecture;
  const ids = [3, 1, 4, 1, 5, 9, 2];
  // The last scored token is predicted from the token before it, which is the last one of the row read here.
  const { lastStates } = await readRow(model, ids.slice(0, -1));
  const roles = [{ name: "completion", many: false }];
  const branches = [[{ role: "completion", ids: ids.slice(2) }]];
  const batch = pack([{ trees: [{ prompt: ids.slice(0, 2), branches }] }], roles, rope);
  for (let layer = 0; layer <= layers; layer++) {
    const states = new HiddenStates(model, layer);
    const flat = await states.at(batch, roles);
    const last = flat.subarray(4 * hiddenSize, 5 * hiddenSize);
    last.forEach((v, i) => expect(v).toBeCloseTo(lastStates[layer][i], 4));
    await states.release();
  }
  expect(() => new HiddenStates(model, layers + 1)).toThrow(/no layer 3.*from 0, the embedding, to 2/);
});
