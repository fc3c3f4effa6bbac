// Scores of tiles of queries and keys, and their exponentials: what attention and its gradient share.
import { GEMM_BYTES } from "../gemm";
import { Attention, AttentionTile, Scratch } from "../isa";
import { weight } from "./exponential";
import { arg, beat, farg, fillBytes, ptr } from "../simd";

/** Scratch: what products need that are not of tiles, then two tiles, three numbers for each query, one tile for edges, and panels. */
export const SCORES: usize = GEMM_BYTES;
export const TILE_ROW: usize = AttentionTile.Keys << 2;
export const TILE_BYTES: usize = AttentionTile.Queries * TILE_ROW;
export const SECOND: usize = SCORES + TILE_BYTES;
export const NUMBERS: usize = SECOND + TILE_BYTES;
export const EDGE: usize = NUMBERS + AttentionTile.Queries * 12;
export const PANELS: usize = EDGE + 128;
export const PANELS_BYTES: i32 = Scratch.Bytes - <i32>PANELS;

/** Bytes of panels of 8 columns, up to a tile's rows deep. */
export function panelBytes(columns: i32): i32 {
  return ((columns + 7) & ~7) * (AttentionTile.Keys << 2);
}

/** Elements up to an operand's entry. */
export function entryOf(ip: usize, operand: i32, entry: i32): usize {
  const rank = arg(ip, Attention.Rank);
  const extents = ip + (Attention.Length << 2);
  const strides = extents + ((<usize>(rank * (1 + operand))) << 2);
  let elements: usize = 0;
  for (let d = rank - 1; d >= 0; --d) {
    const at = (<usize>d) << 2;
    const n = load<i32>(extents + at);
    const q = entry / n;
    elements += <usize>(entry - q * n) * <usize>load<i32>(strides + at);
    entry = q;
  }
  return elements;
}

/** Zeros in rows of n elements. */
export function clear(p: usize, row: usize, rows: i32, n: i32): void {
  for (let r = 0; r < rows; ++r) {
    if ((r & 63) == 63) beat();
    fillBytes(p + <usize>r * row, 0, (<usize>n) << 2);
  }
}

/** The n products of a row times the scale, with the mask from there on. */
export function addMask(ip: usize, row: usize, mask: usize, n: i32): void {
  const scale = farg(ip, Attention.Scale);
  const step = ptr(ip, Attention.MaskCol) << (arg(ip, Attention.MaskBytes) == 4 ? 2 : 0);
  if (arg(ip, Attention.MaskBytes) == 4) {
    for (; n > 0; --n, row += 4, mask += step) store<f32>(row, load<f32>(row) * scale + load<f32>(mask));
  } else {
    for (; n > 0; --n, row += 4, mask += step)
      store<f32>(row, load<u8>(mask) ? load<f32>(row) * scale : -Infinity);
  }
}

/** Where the mask of a query and a key lies; 0 if there is none. */
// @ts-ignore: decorator
@inline
export function maskOf(ip: usize, mask: usize, query: i32, key: i32): usize {
  if (!mask) return 0;
  const elements = <usize>query * ptr(ip, Attention.MaskRow) + <usize>key * ptr(ip, Attention.MaskCol);
  return mask + (arg(ip, Attention.MaskBytes) == 4 ? elements << 2 : elements);
}

/** Lanes of a vector from key `key` on of which there are `n`. */
// @ts-ignore: decorator
@inline
export function thereOf(key: i32, n: i32): v128 {
  return i32x4.lt_s(i32x4.add(i32x4(0, 1, 2, 3), i32x4.splat(key)), i32x4.splat(n));
}

/**
 * Four rows of products to scores. The first sees `seen` keys of the tile's, each one `step` more than the one before it, but not more
 * than `keys`; what a row does not see, of a vector that any of them does, is -Infinity. The largest of each row and of `most`; a NaN is
 * passed over.
 */
export function scoresOf4(row: usize, seen: i32, step: i32, keys: i32, factor: f32, most: v128): v128 {
  const by = f32x4.splat(factor);
  const none = f32x4.splat(-Infinity);
  let a0 = none;
  let a1 = none;
  let a2 = none;
  let a3 = none;
  const whole = max(0, min(keys, seen)) >> 2;
  const end = row + ((<usize>whole) << 4);
  for (; row < end; row += 16) {
    const v0 = f32x4.mul(v128.load(row), by);
    const v1 = f32x4.mul(v128.load(row, 256), by);
    const v2 = f32x4.mul(v128.load(row, 512), by);
    const v3 = f32x4.mul(v128.load(row, 768), by);
    a0 = f32x4.pmax(a0, v0);
    a1 = f32x4.pmax(a1, v1);
    a2 = f32x4.pmax(a2, v2);
    a3 = f32x4.pmax(a3, v3);
    v128.store(row, v0);
    v128.store(row, v1, 256);
    v128.store(row, v2, 512);
    v128.store(row, v3, 768);
  }
  const last = min(keys, seen + 3 * step);
  for (let j = whole << 2; j < last; j += 4, row += 16) {
    const v0 = v128.bitselect(f32x4.mul(v128.load(row), by), none, thereOf(j, min(keys, seen)));
    const v1 = v128.bitselect(f32x4.mul(v128.load(row, 256), by), none, thereOf(j, min(keys, seen + step)));
    const v2 = v128.bitselect(f32x4.mul(v128.load(row, 512), by), none, thereOf(j, min(keys, seen + 2 * step)));
    const v3 = v128.bitselect(f32x4.mul(v128.load(row, 768), by), none, thereOf(j, last));
    a0 = f32x4.pmax(a0, v0);
    a1 = f32x4.pmax(a1, v1);
    a2 = f32x4.pmax(a2, v2);
    a3 = f32x4.pmax(a3, v3);
    v128.store(row, v0);
    v128.store(row, v1, 256);
    v128.store(row, v2, 512);
    v128.store(row, v3, 768);
  }
  const b01 = f32x4.pmax(v128.shuffle<f32>(a0, a1, 0, 4, 1, 5), v128.shuffle<f32>(a0, a1, 2, 6, 3, 7));
  const b23 = f32x4.pmax(v128.shuffle<f32>(a2, a3, 0, 4, 1, 5), v128.shuffle<f32>(a2, a3, 2, 6, 3, 7));
  return f32x4.pmax(most, f32x4.pmax(v128.shuffle<f64>(b01, b23, 0, 2), v128.shuffle<f64>(b01, b23, 1, 3)));
}

/** The sum of the lanes of each of four vectors. */
// @ts-ignore: decorator
@inline
export function sumsOf4(a0: v128, a1: v128, a2: v128, a3: v128): v128 {
  const b01 = f32x4.add(v128.shuffle<f32>(a0, a1, 0, 4, 1, 5), v128.shuffle<f32>(a0, a1, 2, 6, 3, 7));
  const b23 = f32x4.add(v128.shuffle<f32>(a2, a3, 0, 4, 1, 5), v128.shuffle<f32>(a2, a3, 2, 6, 3, 7));
  return f32x4.add(v128.shuffle<f64>(b01, b23, 0, 2), v128.shuffle<f64>(b01, b23, 1, 3));
}

/** Scores up to `end` to e^(score - most), zeros from there on up to `stop`; sums of every fourth. */
export function exponentials(row: usize, end: usize, stop: usize, most: v128): v128 {
  let sum = f32x4.splat(0);
  for (; row < end; row += 16) {
    const e = weight(f32x4.sub(v128.load(row), most));
    v128.store(row, e);
    sum = f32x4.add(sum, e);
  }
  for (; row < stop; row += 16) v128.store(row, f32x4.splat(0));
  return sum;
}
