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

/** Batches of held-out records, [start, end): a rest too small for the objectives joins the batch before it. */
export function heldOutBatches(count: number, size: number, least: number): [number, number][] {
  const full = Math.ceil(count / size);
  const batches = count - (full - 1) * size < least && full > 1 ? full - 1 : full;
  return Array.from({ length: batches }, (_, i) => [i * size, i === batches - 1 ? count : (i + 1) * size]);
}
