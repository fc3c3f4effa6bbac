/** Runs raw kernels on the raw WASM: builds instructions by hand, guards memory, calls exports. */
import { readFileSync } from "node:fs";
import { setFlagsFromString } from "node:v8";
import * as isa from "../../assembly/isa.ts";

// Node 20 knows relaxed SIMD but does not offer it by itself; later versions have it, and no such flag.
if (Number(process.versions.node.split(".")[0]) < 22) setFlagsFromString("--experimental-wasm-relaxed-simd");

export type Kernel = (ip: number, begin: number, end: number, scratch: number) => void;
export type MicroKernel = (dst: number, a: number, b: number, c: number, n: number) => void;

const GUARD = 0x5afe5afe;
const GUARD_WORDS = 16;

/** Families of kernels, as their files are called. */
export const FAMILIES = Object.keys(isa.Family)
  .filter((name) => Number.isNaN(Number(name)))
  .map((name) => name.toLowerCase());

export function wasmBytes(variant: string, name: string): Uint8Array<ArrayBuffer> {
  return new Uint8Array(readFileSync(new URL(`../../build/${name}.${variant}.wasm`, import.meta.url)));
}

/** One instance of each family's binary with a bump allocator whose blocks have guard words on both sides. */
export class Machine {
  readonly memory: WebAssembly.Memory;
  readonly exports: Record<string, (...args: number[]) => number>;
  readonly scratch: number;
  /** Kernels call it within long units. */
  beat: () => void = () => {};
  private top: number;
  private guards: number[] = [];

  constructor(variant = "plain", pages = 256) {
    this.memory = new WebAssembly.Memory({ initial: pages, maximum: isa.Size.Pages });
    const imports = { env: { memory: this.memory, beat: () => this.beat() } };
    this.exports = {};
    for (const family of FAMILIES) {
      const module = new WebAssembly.Module(wasmBytes(variant, family));
      Object.assign(this.exports, new WebAssembly.Instance(module, imports).exports);
    }
    this.exports.writeConstants();
    this.scratch = isa.Memory.Heap;
    this.top = 0;
    this.reset();
  }

  /** Forgets all blocks; those to come lie from an address on. What lies between scratch and fault record is guarded. */
  reset(from = 0): void {
    this.guards = [];
    this.top = Math.max(from, this.scratch + isa.Scratch.Bytes + 64);
    this.guard((this.scratch + isa.Scratch.Bytes) / 4, (this.scratch + isa.Fault.Record) / 4);
    this.clearFault();
  }

  private guard(from: number, to: number): void {
    new Int32Array(this.memory.buffer).fill(GUARD, from, to);
    for (let w = from; w < to; w++) this.guards.push(w);
  }

  private get faultRecord(): Int32Array {
    return new Int32Array(this.memory.buffer, this.scratch + isa.Fault.Record, isa.Fault.Bytes / 4);
  }

  clearFault(): void {
    this.faultRecord.fill(0);
  }

  /** Address of `bytes` bytes, `offset` bytes (a multiple of 4) past a 64-byte boundary, guarded on both sides. */
  alloc(bytes: number, offset = 0): number {
    const before = Math.ceil(this.top / 64) * 64;
    const address = before + GUARD_WORDS * 4 + offset;
    const end = address + bytes;
    const endWord = Math.ceil(end / 4);
    const u8 = new Uint8Array(this.memory.buffer);
    for (let b = end; b < endWord * 4; b++) u8[b] = 0xfe;
    this.guard(before / 4, address / 4);
    this.guard(endWord, endWord + GUARD_WORDS);
    this.top = (endWord + GUARD_WORDS) * 4;
    if (this.top > this.memory.buffer.byteLength) throw new RangeError("test memory exhausted");
    return address;
  }

  f32(values: ArrayLike<number>, offset = 0): number {
    const address = this.alloc(values.length * 4, offset);
    new Float32Array(this.memory.buffer, address, values.length).set(values);
    return address;
  }

  i32(values: ArrayLike<number>, offset = 0): number {
    const address = this.alloc(values.length * 4, offset);
    new Int32Array(this.memory.buffer, address, values.length).set(values);
    return address;
  }

  readF32(address: number, n: number): Float32Array {
    return new Float32Array(this.memory.buffer, address, n).slice();
  }

  readI32(address: number, n: number): Int32Array {
    return new Int32Array(this.memory.buffer, address, n).slice();
  }

  /** Writes an instruction: header, then operands by word offset (a float operand as its bits, see floatBits). */
  instruction(opcode: isa.Opcode, length: number, units: number, operands: Record<number, number>): number {
    const address = this.alloc(length * 4);
    const words = new Int32Array(this.memory.buffer, address, length);
    words.fill(0);
    words[isa.At.Opcode] = opcode;
    words[isa.At.Length] = length;
    words[isa.At.Units] = units;
    words[isa.At.Lanes] = 0x7fffffff;
    for (const [word, value] of Object.entries(operands)) words[Number(word)] = value;
    return address;
  }

  /** Runs the instruction as `workers` workers would, one after the other. */
  run(ip: number, workers = 1): void {
    const words = new Int32Array(this.memory.buffer, ip, 4);
    const kernel = this.exports[isa.Opcode[words[isa.At.Opcode]]] as unknown as Kernel;
    const units = words[isa.At.Units];
    for (let w = 0; w < workers; w++)
      kernel(ip, Math.floor((units * w) / workers), Math.floor((units * (w + 1)) / workers), this.scratch);
  }

  /**
   * Runs the instruction under every split into workers; throws unless all write the same bits. Returns the n words at `out`.
   */
  runEverySplit(ip: number, out: number, n: number): Int32Array {
    let first: Int32Array | undefined;
    for (const workers of [1, 2, 3, 7]) {
      new Int32Array(this.memory.buffer, out, n).fill(0x7fc0dead);
      this.run(ip, workers);
      const got = this.readI32(out, n);
      first ??= got;
      if (!sameBits(got, first)) throw new Error(`${workers} workers write other bits than one`);
    }
    this.checkGuards();
    return first as Int32Array;
  }

  micro(op: isa.Micro): MicroKernel {
    return this.exports[`micro${isa.Micro[op]}`] as unknown as MicroKernel;
  }

  fault(): { code: number; ip: number; where: number; value: number; bound: number } {
    const [code, ip, where, value, bound] = this.faultRecord;
    return { code, ip, where, value, bound };
  }

  /** Throws if any word outside the allocated blocks changed. */
  checkGuards(): void {
    const words = new Int32Array(this.memory.buffer);
    for (const w of this.guards) if (words[w] !== GUARD) throw new Error(`guard word at byte ${w * 4} was overwritten`);
  }
}

/** Whether two arrays hold the same bytes, NaN and signs of zero included. */
export function sameBits(a: ArrayBufferView, b: ArrayBufferView): boolean {
  const bytes = (x: ArrayBufferView): Buffer => Buffer.from(x.buffer, x.byteOffset, x.byteLength);
  return bytes(a).equals(bytes(b));
}

/** The same bits as floats. */
export function floats(words: Int32Array): Float32Array {
  return new Float32Array(words.buffer, words.byteOffset, words.length);
}

export function floatBits(value: number): number {
  return new Int32Array(new Float32Array([value]).buffer)[0];
}

/** Distance in units in the last place of float32; 0 if both are NaN or equal (+0 = -0). */
export function ulps(actual: number, expected: number): number {
  if (Number.isNaN(actual) || Number.isNaN(expected))
    return Number.isNaN(actual) && Number.isNaN(expected) ? 0 : Infinity;
  const want = Math.fround(expected);
  if (actual === want) return 0;
  if (!Number.isFinite(actual) || !Number.isFinite(want)) {
    // A reference that overflows only after rounding still has a distance.
    if (Number.isFinite(actual) === Number.isFinite(want)) return Infinity;
  }
  const exponent = Math.max(-126, Math.floor(Math.log2(Math.abs(expected) || 2 ** -149)));
  const ulp = 2 ** (exponent - 23);
  return Math.abs((Number.isFinite(actual) ? actual : Math.sign(actual) * 2 ** 128) - expected) / ulp;
}

/** A small deterministic generator for tests: uniform in [0, 1). */
export function random(seed: number): () => number {
  let s = (seed * 2654435761 + 1) >>> 0;
  return () => {
    s ^= s << 13;
    s >>>= 0;
    s ^= s >>> 17;
    s ^= s << 5;
    s >>>= 0;
    return s / 2 ** 32;
  };
}

export { isa };

/** Which element of an axis of n stands at place p of it; -1 if that is a zero around it. */
export function placeIn(p: number, n: number, around: isa.Border = isa.Border.Zeros): number {
  if (p >= 0 && p < n) return p;
  if (around === isa.Border.Zeros) return -1;
  if (around === isa.Border.Replicate) return p < 0 ? 0 : n - 1;
  if (around === isa.Border.Circular) return (p + n) % n;
  return p < 0 ? -p : 2 * (n - 1) - p;
}
