/**
 * Arrays of the host with buffers of a device behind them. A buffer stands for one whole piece of memory (a parameter, a moment of it)
 * and is made when a program is first bound to that piece; which side has the newest values is kept for each. Nothing travels that need not.
 */
import { WorkError } from "../../errors.ts";
import type { ResidentMemory, TensorArray } from "./backend.ts";

/** What a device can do with memory. */
export interface DeviceBuffers {
  allocate(bytes: number): bigint;
  free(buffer: bigint): void;
  copyIn(from: Uint8Array, buffer: bigint): void;
  copyOut(buffer: bigint, into: Uint8Array): void;
  /** Copies the first bytes of a buffer of the device to another. */
  copyWithin(from: bigint, to: bigint, bytes: number): void;
}

/** A piece of memory: bytes `start` to `end` of an allocation. */
export interface Piece {
  readonly start: number;
  readonly end: number;
  readonly bytes: Uint8Array;
  /** The buffer that holds it now; programs that write over what they read put another in its place. */
  buffer: bigint;
  /** Whether the buffer has the newest values, and whether the host has them. */
  onDevice: boolean;
  onHost: boolean;
}

export class ResidentArrays implements ResidentMemory {
  readonly #device: DeviceBuffers;
  readonly #memory = new Map<ArrayBufferLike, Piece[]>();
  /** Buffers without a piece, by size. */
  readonly #spare = new Map<number, bigint[]>();
  /** A buffer of zeros, as long as was needed so far. */
  #zeros: { readonly buffer: bigint; readonly bytes: number } | undefined;
  readonly travelled = { toDevice: 0, toHost: 0 };

  constructor(device: DeviceBuffers) {
    this.#device = device;
  }

  /** Keeps memory of the host on the device from now on. */
  add(memory: ArrayBuffer): void {
    this.#memory.set(memory, []);
  }

  /** Gives up memory, and its buffers. */
  remove(memory: ArrayBuffer): void {
    for (const { buffer } of this.#memory.get(memory) ?? []) this.#device.free(buffer);
    this.#memory.delete(memory);
    if (this.#memory.size > 0) return;
    for (const buffers of this.#spare.values()) for (const buffer of buffers) this.#device.free(buffer);
    this.#spare.clear();
  }

  /** The piece that an array is; undefined for memory that was not added, and for empty arrays. Throws where it cuts another in parts. */
  pieceOf({ buffer: memory, byteOffset, byteLength }: TensorArray): Piece | undefined {
    const pieces = this.#memory.get(memory);
    if (!pieces || byteLength === 0) return undefined;
    const [start, end] = [byteOffset, byteOffset + byteLength];
    for (const piece of pieces) {
      if (piece.start === start && piece.end === end) return piece;
      if (piece.start < end && start < piece.end) {
        throw new WorkError({
          code: "pieces-overlap",
          what: "memory of a device was bound in different pieces",
          why: `bytes ${start} to ${end} cut the piece from ${piece.start} to ${piece.end}`,
        });
      }
    }
    const piece: Piece = {
      start,
      end,
      bytes: new Uint8Array(memory, start, byteLength),
      buffer: this.#device.allocate(byteLength),
      onDevice: false,
      onHost: true,
    };
    pieces.push(piece);
    return piece;
  }

  /** Before a program reads a piece. */
  toDevice(piece: Piece): void {
    if (piece.onDevice) return;
    this.#device.copyIn(piece.bytes, piece.buffer);
    this.travelled.toDevice += piece.bytes.length;
    piece.onDevice = true;
  }

  /** After a program has written a piece, into its own buffer or into another, which then takes the place of its own. */
  written(piece: Piece, buffer = piece.buffer): void {
    if (buffer !== piece.buffer) this.giveBack(piece.bytes.length, piece.buffer);
    Object.assign(piece, { buffer, onDevice: true, onHost: false });
  }

  /** A buffer to write to while another of its size is still read. */
  spare(bytes: number): bigint {
    return this.#spare.get(bytes)?.pop() ?? this.#device.allocate(bytes);
  }

  giveBack(bytes: number, buffer: bigint): void {
    const spare = this.#spare.get(bytes) ?? [];
    this.#spare.set(bytes, spare);
    spare.push(buffer);
  }

  beforeRead(array: TensorArray): void {
    for (const piece of this.#within(array)) this.#toHost(piece);
  }

  beforeWrite(array: TensorArray, whole = false): void {
    const [start, end] = [array.byteOffset, array.byteOffset + array.byteLength];
    for (const piece of this.#within(array)) {
      if (!whole || piece.start < start || end < piece.end) this.#toHost(piece);
      Object.assign(piece, { onDevice: false, onHost: true });
    }
  }

  clear(array: TensorArray): void {
    this.beforeWrite(array, true);
    const [start, end] = [array.byteOffset, array.byteOffset + array.byteLength];
    new Uint8Array(array.buffer, start, array.byteLength).fill(0);
    for (const piece of this.#within(array)) {
      if (piece.start < start || end < piece.end) continue;
      this.#device.copyWithin(this.#zerosOf(piece.bytes.length), piece.buffer, piece.bytes.length);
      piece.onDevice = true;
    }
  }

  #toHost(piece: Piece): void {
    if (piece.onHost) return;
    this.#device.copyOut(piece.buffer, piece.bytes);
    this.travelled.toHost += piece.bytes.length;
    piece.onHost = true;
  }

  #zerosOf(bytes: number): bigint {
    if (this.#zeros && this.#zeros.bytes >= bytes) return this.#zeros.buffer;
    if (this.#zeros) this.#device.free(this.#zeros.buffer);
    this.#zeros = { buffer: this.#device.allocate(bytes), bytes };
    this.#device.copyIn(new Uint8Array(bytes), this.#zeros.buffer);
    return this.#zeros.buffer;
  }

  /** The pieces that an array has a part in. */
  #within({ buffer: memory, byteOffset, byteLength }: TensorArray): Piece[] {
    const end = byteOffset + byteLength;
    return (this.#memory.get(memory) ?? []).filter((p) => p.start < end && byteOffset < p.end);
  }
}
