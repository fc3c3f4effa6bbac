/** @file Which bytes of the linear memory are whose. Knows addresses only; the memory itself belongs to the device. */
import * as isa from "../../assembly/isa.ts";
import { FourlaneError, OutOfMemoryError } from "../core/errors.ts";
import { align } from "../program/program.ts";

/** First address of the last page of a memory of 4 GiB. */
const LAST = (isa.Size.Pages - 1) * isa.Size.Page;

interface Hole {
  address: number;
  bytes: number;
}

/**
 * Best fit over a list of holes sorted by address; freed neighbours merge. Small blocks go into small holes, so that large
 * ones stay whole.
 */
export class Allocator {
  /** Where memory is handed out from at the earliest: for tests of what lies beyond 2 GiB. */
  static from = 0;
  /** End of what is handed out: the memory must be at least this large. Free space at the end is no hole. */
  top: number;
  private holes: Hole[] = [];
  private readonly sizes = new Map<number, number>();
  private readonly limit: number;
  private readonly start: number;
  private handedOut = 0;

  constructor(start: number, limit: number) {
    this.start = Math.max(start, Allocator.from);
    // Not the last page of 32 bits: an address behind the end of a block must not be 0.
    this.limit = Math.min(limit, LAST);
    this.top = align(this.start);
  }

  /**
   * Address of `bytes` bytes, aligned to a cache line.
   * @throws OutOfMemoryError; FourlaneError if `bytes` is no size.
   */
  alloc(bytes: number): number {
    if (!Number.isSafeInteger(bytes) || bytes < 0)
      throw new FourlaneError("INTERNAL", `memory: ${bytes} is no number of bytes`);
    const size = align(Math.max(1, bytes));
    let i = -1;
    for (let k = 0; k < this.holes.length; k++)
      if (this.holes[k].bytes >= size && (i < 0 || this.holes[k].bytes < this.holes[i].bytes)) i = k;
    let address: number;
    if (i >= 0) {
      const hole = this.holes[i];
      address = hole.address;
      hole.address += size;
      hole.bytes -= size;
      if (hole.bytes === 0) this.holes.splice(i, 1);
    } else {
      address = this.top;
      if (address + size > this.limit) throw new OutOfMemoryError(size, this.limit);
      this.top = address + size;
    }
    this.sizes.set(address, size);
    this.handedOut += size;
    return address;
  }

  free(address: number): void {
    const bytes = this.sizes.get(address);
    if (bytes === undefined) return;
    this.sizes.delete(address);
    this.handedOut -= bytes;
    let i = this.holes.findIndex((h) => h.address > address);
    if (i < 0) i = this.holes.length;
    this.holes.splice(i, 0, { address, bytes });
    for (const k of [i, i - 1]) {
      const a = this.holes[k];
      const b = this.holes[k + 1];
      if (a && b && a.address + a.bytes === b.address) {
        a.bytes += b.bytes;
        this.holes.splice(k + 1, 1);
      }
    }
    // Where memory could not grow to what was handed out, it need not once that is free again.
    const last = this.holes.at(-1);
    if (last && last.address + last.bytes === this.top) {
      this.top = last.address;
      this.holes.pop();
    }
  }

  /** Bytes handed out and not freed. */
  get used(): number {
    return this.handedOut;
  }

  /** Bytes that could be handed out, if they lay side by side. */
  get left(): number {
    return Math.max(0, this.limit - this.start - this.used);
  }
}
