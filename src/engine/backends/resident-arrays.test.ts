/** Arrays that stay on a device, on a device made of maps: what travels and when, buffers that change places, pieces that do not fit. */
import { expect, test } from "vitest";
import { type DeviceBuffers, ResidentArrays } from "./resident-arrays.ts";

/** A device whose buffers are arrays of the host. */
function fakeDevice() {
  const buffers = new Map<bigint, Uint8Array>();
  let count = 0n;
  const at = (b: bigint) => buffers.get(b) ?? new Uint8Array();
  const device: DeviceBuffers = {
    allocate(bytes) {
      buffers.set(++count, new Uint8Array(bytes).fill(0xff)); // whatever was there before
      return count;
    },
    free: (buffer) => void buffers.delete(buffer),
    copyIn: (from, buffer) => at(buffer).set(from),
    copyOut: (buffer, into) => into.set(at(buffer).subarray(0, into.length)),
    copyWithin: (from, to, bytes) => at(to).set(at(from).subarray(0, bytes)),
  };
  const floats = (buffer: bigint) => [...new Float32Array(at(buffer).buffer)];
  return { device, buffers, floats };
}

function arrays() {
  const fake = fakeDevice();
  const resident = new ResidentArrays(fake.device);
  const memory = new ArrayBuffer(16);
  resident.add(memory);
  const all = new Float32Array(memory);
  all.set([1, 2, 3, 4]);
  const [a, b] = [all.subarray(0, 2), all.subarray(2, 4)];
  const piece = (of: Float32Array) => {
    const found = resident.pieceOf(of);
    if (!found) throw new Error("not resident");
    return found;
  };
  return { ...fake, resident, memory, all, a, b, piece };
}

test("values travel to the device once, and back when the host asks, and once", () => {
  const { resident, floats, all, a, b, piece, device } = arrays();
  for (let i = 0; i < 3; i++) resident.toDevice(piece(a));
  resident.toDevice(piece(b));
  expect(floats(piece(a).buffer)).toEqual([1, 2]);
  expect(resident.travelled).toEqual({ toDevice: 16, toHost: 0 });
  // A program writes the first piece.
  device.copyIn(new Uint8Array(Float32Array.of(5, 6).buffer), piece(a).buffer);
  resident.written(piece(a));
  expect([...all]).toEqual([1, 2, 3, 4]);
  resident.beforeRead(all);
  resident.beforeRead(all);
  expect([...all]).toEqual([5, 6, 3, 4]);
  resident.toDevice(piece(a));
  expect(resident.travelled).toEqual({ toDevice: 16, toHost: 8 });
});

test("what the host writes is taken from there, and the rest of a piece is not lost", () => {
  const { resident, floats, all, a, piece, device } = arrays();
  resident.toDevice(piece(a));
  device.copyIn(new Uint8Array(Float32Array.of(5, 6).buffer), piece(a).buffer);
  resident.written(piece(a));
  resident.beforeWrite(all.subarray(0, 1), true); // one element of two
  all[0] = 9;
  resident.toDevice(piece(a));
  expect(floats(piece(a).buffer)).toEqual([9, 6]);
  resident.written(piece(a));
  resident.beforeWrite(all, true);
  expect(resident.travelled.toHost).toBe(8); // the second time nothing was worth bringing
});

test("a buffer written in place of another is used from then on, the other again for the next", () => {
  const { resident, a, piece } = arrays();
  const before = piece(a).buffer;
  const other = resident.spare(8);
  resident.written(piece(a), other);
  expect(piece(a).buffer).toBe(other);
  expect(resident.spare(8)).toBe(before);
});

test("cleared arrays are zero on both sides, without travelling again", () => {
  const { resident, floats, all, a, b, piece } = arrays();
  resident.toDevice(piece(a));
  resident.toDevice(piece(b));
  resident.written(piece(b));
  const { toDevice, toHost } = resident.travelled;
  resident.clear(all);
  for (const x of [a, b]) resident.toDevice(piece(x));
  expect([...floats(piece(a).buffer), ...floats(piece(b).buffer), ...all]).toEqual(new Array(8).fill(0));
  resident.beforeRead(all);
  expect(resident.travelled).toEqual({ toDevice, toHost });
});

test("pieces that cut one another are refused; other memory and empty arrays have none", () => {
  const { resident, all, a, piece } = arrays();
  piece(a);
  expect(() => resident.pieceOf(all.subarray(1, 3))).toThrow("bound in different pieces");
  expect(resident.pieceOf(new Float32Array(2))).toBeUndefined();
  expect(resident.pieceOf(all.subarray(4))).toBeUndefined();
});

test("freed memory frees its buffers, the last of it the spare ones too", () => {
  const { resident, buffers, memory, a, b, piece } = arrays();
  resident.written(piece(a), resident.spare(8));
  piece(b);
  expect(buffers.size).toBe(3);
  resident.remove(memory);
  expect(buffers.size).toBe(0);
});
