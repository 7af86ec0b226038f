/** The order of the data: a shuffle of its own for each epoch, named by the seed, so that any step's batch can be found again. */
import { random } from "../engine/random.ts";

/** Indices of the records of step `step` (from 1). An epoch's last batch may be smaller. */
export function batchIndices(
  step: number,
  records: number,
  batchSize: number,
  seed: number,
  shuffle: boolean,
): number[] {
  const perEpoch = Math.ceil(records / batchSize);
  const epoch = Math.floor((step - 1) / perEpoch);
  const start = ((step - 1) % perEpoch) * batchSize;
  return epochOrder(epoch, records, seed, shuffle).slice(start, start + batchSize);
}

let last: { key: string; order: number[] } | undefined;

function epochOrder(epoch: number, records: number, seed: number, shuffle: boolean): number[] {
  const key = `${epoch}/${records}/${seed}/${shuffle}`;
  if (last?.key !== key) {
    const order = Array.from({ length: records }, (_, i) => i);
    last = { key, order: shuffle ? random(seed, "order", epoch).shuffle(order) : order };
  }
  return last.order;
}
