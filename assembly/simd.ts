// Helpers shared by all kernels. Nothing here keeps state.
import { Fault, FaultCode } from "./isa";

/** Operand word of the instruction at ip. */
// @ts-ignore: decorator
@inline
export function arg(ip: usize, word: i32): i32 {
  return load<i32>(ip + ((<usize>word) << 2));
}

/** Operand word of the instruction at ip, as an address. */
// @ts-ignore: decorator
@inline
export function ptr(ip: usize, word: i32): usize {
  return <usize>load<u32>(ip + ((<usize>word) << 2));
}

/** Operand word of the instruction at ip, as a float32. */
// @ts-ignore: decorator
@inline
export function farg(ip: usize, word: i32): f32 {
  return load<f32>(ip + ((<usize>word) << 2));
}

/** a*b + c: fused where the build may use relaxed SIMD, two roundings otherwise. */
// @ts-ignore: decorator
@inline
export function madd(a: v128, b: v128, c: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return f32x4.relaxed_madd(a, b, c);
  return f32x4.add(c, f32x4.mul(a, b)); // the other order costs 12 % in V8 11: it moves registers
}

/** The lanes of a where those of the mask are all ones, of b where they are zeros; no others are allowed. */
// @ts-ignore: decorator
@inline
export function choose(a: v128, b: v128, mask: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return i32x4.relaxed_laneselect(a, b, mask);
  return v128.bitselect(a, b, mask);
}

/** The n < 4 elements at p in the low lanes, zeros above; reads nothing beyond them. */
// @ts-ignore: decorator
@inline
export function loadPart(p: usize, n: i32): v128 {
  let v = v128.load32_zero(p);
  if (n > 1) v = v128.load_lane<u32>(p, v, 1, 4);
  if (n > 2) v = v128.load_lane<u32>(p, v, 2, 8);
  return v;
}

/** Stores the n < 4 low lanes, and nothing beyond them. */
// @ts-ignore: decorator
@inline
export function storePart(p: usize, v: v128, n: i32): void {
  v128.store_lane<u32>(p, v, 0);
  if (n > 1) v128.store_lane<u32>(p, v, 1, 4);
  if (n > 2) v128.store_lane<u32>(p, v, 2, 8);
}

/** The n > 0 elements at p, at most 4 of them, with `fill` in the lanes above; reads nothing beyond them. */
// @ts-ignore: decorator
@inline
export function loadUpTo(p: usize, n: i32, fill: v128): v128 {
  if (n >= 4) return v128.load(p);
  return v128.bitselect(loadPart(p, n), fill, i32x4.lt_s(i32x4(0, 1, 2, 3), i32x4.splat(n)));
}

/** Stores the low lanes of v, n > 0 of them but at most 4. */
// @ts-ignore: decorator
@inline
export function storeUpTo(p: usize, v: v128, n: i32): void {
  if (n >= 4) v128.store(p, v);
  else storePart(p, v, n);
}

/** Tells the worker's JavaScript that it is still moving: for kernels whose single unit may take seconds. */
// @ts-ignore: decorator
@external("env", "beat")
export declare function beat(): void;

/**
 * Elements that are worth a sign of life. Loops that may be long are cut into parts of so many, with beat() between
 * them: a call within the innermost loop costs up to half of its speed, even if it is never made.
 */
export const PART: i32 = 1 << 14;

/** Bytes that are filled or copied at once. */
const PIECE: usize = 1 << 22;

/** Fills any number of bytes. */
export function fillBytes(to: usize, value: u8, bytes: usize): void {
  while (bytes > PIECE) {
    memory.fill(to, value, PIECE);
    to += PIECE;
    bytes -= PIECE;
    beat();
  }
  memory.fill(to, value, bytes);
}

/** Copies any number of bytes; they do not overlap. */
export function copyBytes(to: usize, from: usize, bytes: usize): void {
  while (bytes > PIECE) {
    memory.copy(to, from, PIECE);
    to += PIECE;
    from += PIECE;
    bytes -= PIECE;
    beat();
  }
  memory.copy(to, from, bytes);
}

/** Records an index outside [0, bound) for the host, which fails the step; the kernel goes on without touching memory. */
export function faultIndex(scratch: usize, ip: usize, where: i32, value: i32, bound: i32): void {
  recordFault(scratch, ip, FaultCode.IndexOutOfRange, where, value, bound);
}

/** Records a fault for the host, if it is the first one of the program. */
export function recordFault(scratch: usize, ip: usize, code: i32, where: i32, value: i32, bound: i32): void {
  const record = scratch + Fault.Record;
  if (load<i32>(record + Fault.Code) != FaultCode.None) {
    const before: usize = load<u32>(record + Fault.Ip);
    if (before < ip || (before == ip && load<i32>(record + Fault.Where) <= where)) return;
  }
  store<i32>(record + Fault.Ip, <i32>ip);
  store<i32>(record + Fault.Where, where);
  store<i32>(record + Fault.Value, value);
  store<i32>(record + Fault.Bound, bound);
  store<i32>(record + Fault.Code, code);
}
