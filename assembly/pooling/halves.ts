// Windows of 2 x 2 elements that lie side by side: as fast as memory, both ways. A run is rows of windows one below the other, `width`
// bytes from one row of the image to the next; of images of even height all planes of a unit are one run.
import { Pool } from "../isa";
import { arg, beat, choose, PART, ptr } from "../simd";
import { share, volume } from "./geometry";

export enum Halving {
  Max,
  Put,
  Sum,
  Spread,
}

/** Whether windows are quarters of 2 x 2 elements of an image: no other ones, none that ends outside. */
export function isHalving(ip: usize): bool {
  return (
    !arg(ip, Pool.Adaptive) &&
    !arg(ip, Pool.Wide) &&
    arg(ip, Pool.ImageD) == 1 &&
    arg(ip, Pool.CountD) == 1 &&
    arg(ip, Pool.KernelD) == 1 &&
    arg(ip, Pool.KernelH) == 2 &&
    arg(ip, Pool.KernelW) == 2 &&
    arg(ip, Pool.StrideH) == 2 &&
    arg(ip, Pool.StrideW) == 2 &&
    arg(ip, Pool.DilationH) == 1 &&
    arg(ip, Pool.DilationW) == 1 &&
    (arg(ip, Pool.PadD) | arg(ip, Pool.PadH) | arg(ip, Pool.PadW)) == 0 &&
    arg(ip, Pool.CountH) <= arg(ip, Pool.ImageH) >> 1 &&
    arg(ip, Pool.CountW) <= min(arg(ip, Pool.ImageW) >> 1, PART)
  );
}

/** The lanes of v that win over those of best: what is larger, and any NaN. */
// @ts-ignore: decorator
@inline
function wins(v: v128, best: v128): v128 {
  return v128.or(f32x4.gt(v, best), f32x4.ne(v, v));
}

/** Four windows of the rows at a and b, of which some may hold NaN: see twoFours. */
function fourWithNaN(a: usize, b: usize, out: usize): v128 {
  const a0 = v128.load(a);
  const a1 = v128.load(a, 16);
  const b0 = v128.load(b);
  const b1 = v128.load(b, 16);
  const v0 = v128.shuffle<f32>(a0, a1, 0, 2, 4, 6);
  const v1 = v128.shuffle<f32>(a0, a1, 1, 3, 5, 7);
  const v2 = v128.shuffle<f32>(b0, b1, 0, 2, 4, 6);
  const v3 = v128.shuffle<f32>(b0, b1, 1, 3, 5, 7);
  const m1 = wins(v1, v0);
  const m3 = wins(v3, v2);
  const top = choose(v1, v0, m1);
  const low = choose(v3, v2, m3);
  const m = wins(low, top);
  v128.store(out, choose(low, top, m));
  return i16x8.narrow_i32x4_s(choose(m3, m1, m), m);
}

/** The same of numbers. */
// @ts-ignore: decorator
@inline
function four(a0: v128, a1: v128, b0: v128, b1: v128, out: usize): v128 {
  const v0 = v128.shuffle<f32>(a0, a1, 0, 2, 4, 6);
  const v1 = v128.shuffle<f32>(a0, a1, 1, 3, 5, 7);
  const v2 = v128.shuffle<f32>(b0, b1, 0, 2, 4, 6);
  const v3 = v128.shuffle<f32>(b0, b1, 1, 3, 5, 7);
  const m1 = f32x4.gt(v1, v0);
  const m3 = f32x4.gt(v3, v2);
  const top = f32x4.pmax(v0, v1);
  const low = f32x4.pmax(v2, v3);
  const m = f32x4.gt(low, top);
  v128.store(out, f32x4.pmax(top, low));
  return i16x8.narrow_i32x4_s(choose(m3, m1, m), m);
}

/**
 * Four windows of the rows at a and b, and four that are `next` windows farther. Stores their largest elements; returns two times
 * four bytes, whether the larger column wins and whether the lower row does.
 */
// @ts-ignore: decorator
@inline
function twoFours(a: usize, b: usize, out: usize, next: usize): v128 {
  const a0 = v128.load(a);
  const a1 = v128.load(a, 16);
  const b0 = v128.load(b);
  const b1 = v128.load(b, 16);
  const step = next << 3;
  const a2 = v128.load(a + step);
  const a3 = v128.load(a + step, 16);
  const b2 = v128.load(b + step);
  const b3 = v128.load(b + step, 16);
  // No NaN among the terms if the sum is none.
  const sum = f32x4.add(
    f32x4.add(f32x4.add(a0, b0), f32x4.add(a1, b1)),
    f32x4.add(f32x4.add(a2, b2), f32x4.add(a3, b3)),
  );
  if (v128.any_true(f32x4.ne(sum, sum)))
    return i8x16.narrow_i16x8_s(fourWithNaN(a, b, out), fourWithNaN(a + step, b + step, out + (next << 2)));
  return i8x16.narrow_i16x8_s(four(a0, a1, b0, b1, out), four(a2, a3, b2, b3, out + (next << 2)));
}

/** Taps from what twoFours returns, in the low eight bytes. */
// @ts-ignore: decorator
@inline
function tapsOf(p: v128): v128 {
  const row = v128.shuffle<u32>(p, p, 1, 3, 1, 3);
  return v128.or(
    v128.and(v128.shuffle<u32>(p, p, 0, 2, 0, 2), i8x16.splat(1)),
    v128.and(row, i8x16.splat(2)),
  );
}

function maxRun(x: usize, out: usize, taps: usize, rows: i32, count: i32, width: usize): void {
  const n = <usize>count;
  let turn = 0;
  for (let r = 0; r < rows; ++r) {
    const a = x;
    const b = x + width;
    if (n >= 8) {
      for (let k: usize = 0; k < n; k += 8) {
        // The last eight together with some that were done before: the same again.
        k = min(k, n - 8);
        const t = tapsOf(twoFours(a + (k << 3), b + (k << 3), out + (k << 2), 4));
        v128.store_lane<u64>(taps + k, t, 0);
      }
    } else if (n >= 4) {
      const next = n - 4;
      const t = tapsOf(twoFours(a, b, out, next));
      v128.store_lane<u32>(taps, t, 0);
      v128.store_lane<u32>(taps + next, t, 1);
    } else {
      for (let k: usize = 0; k < n; ++k) {
        const p = a + (k << 3);
        const q = b + (k << 3);
        let best = load<f32>(p);
        let tap = 0;
        for (let t = 1; t < 4; ++t) {
          const v = load<f32>((t > 1 ? q : p) + (<usize>(t & 1) << 2));
          const won = v > best || v != v;
          best = won ? v : best;
          tap = won ? t : tap;
        }
        store<f32>(out + (k << 2), best);
        store<u8>(taps + k, <u8>tap);
      }
    }
    x += width << 1;
    out += n << 2;
    taps += n;
    turn += count;
    if (turn >= PART) {
      turn = 0;
      beat();
    }
  }
}

/** Four elements that stand in place of four windows, each at its tap; zeros beside it. */
// @ts-ignore: decorator
@inline
function putFour(a: usize, b: usize, v: v128, t: v128): void {
  const v0 = v128.and(v, i32x4.eq(t, i32x4.splat(0)));
  const v1 = v128.and(v, i32x4.eq(t, i32x4.splat(1)));
  const v2 = v128.and(v, i32x4.eq(t, i32x4.splat(2)));
  const v3 = v128.and(v, i32x4.eq(t, i32x4.splat(3)));
  v128.store(a, v128.shuffle<f32>(v0, v1, 0, 4, 1, 5));
  v128.store(a, v128.shuffle<f32>(v0, v1, 2, 6, 3, 7), 16);
  v128.store(b, v128.shuffle<f32>(v2, v3, 0, 4, 1, 5));
  v128.store(b, v128.shuffle<f32>(v2, v3, 2, 6, 3, 7), 16);
}

/** Four windows, and four that are `next` windows farther, from eight taps. */
// @ts-ignore: decorator
@inline
function putTwoFours(a: usize, b: usize, g: usize, taps: v128, next: usize): void {
  const t = i16x8.extend_low_i8x16_u(taps);
  putFour(a, b, v128.load(g), i32x4.extend_low_i16x8_u(t));
  const step = next << 3;
  putFour(a + step, b + step, v128.load(g + (next << 2)), i32x4.extend_high_i16x8_u(t));
}

/** What of a row of the image no window has. */
// @ts-ignore: decorator
@inline
function clearTail(row: usize, count: i32, width: usize): void {
  for (let at = (<usize>count) << 3; at < width; at += 4) store<f32>(row + at, 0);
}

function putRun(x: usize, g: usize, taps: usize, rows: i32, count: i32, width: usize): void {
  const n = <usize>count;
  let turn = 0;
  for (let r = 0; r < rows; ++r) {
    const a = x;
    const b = x + width;
    if (n >= 8) {
      for (let k: usize = 0; k < n; k += 8) {
        k = min(k, n - 8);
        putTwoFours(a + (k << 3), b + (k << 3), g + (k << 2), v128.load64_zero(taps + k), 4);
      }
    } else if (n >= 4) {
      const t = v128.load32_zero(taps);
      putTwoFours(a, b, g, v128.load_lane<u32>(taps + n - 4, t, 1), n - 4);
    } else {
      for (let k: usize = 0; k < n; ++k) {
        const v = load<f32>(g + (k << 2));
        const t = <i32>load<u8>(taps + k);
        store<f32>(a + (k << 3), t == 0 ? v : 0);
        store<f32>(a + (k << 3), t == 1 ? v : 0, 4);
        store<f32>(b + (k << 3), t == 2 ? v : 0);
        store<f32>(b + (k << 3), t == 3 ? v : 0, 4);
      }
    }
    clearTail(a, count, width);
    clearTail(b, count, width);
    x += width << 1;
    g += n << 2;
    taps += n;
    turn += count;
    if (turn >= PART) {
      turn = 0;
      beat();
    }
  }
}

/** Columns first: an element has the same bits wherever it lies. */
// @ts-ignore: decorator
@inline
function sumFour(a: usize, b: usize, out: usize): void {
  const s0 = f32x4.add(v128.load(a), v128.load(b));
  const s1 = f32x4.add(v128.load(a, 16), v128.load(b, 16));
  v128.store(out, f32x4.add(v128.shuffle<f32>(s0, s1, 0, 2, 4, 6), v128.shuffle<f32>(s0, s1, 1, 3, 5, 7)));
}

function sumRun(x: usize, out: usize, rows: i32, count: i32, width: usize): void {
  const n = <usize>count;
  let turn = 0;
  for (let r = 0; r < rows; ++r) {
    const a = x;
    const b = x + width;
    if (n >= 4) {
      for (let k: usize = 0; k < n; k += 4) {
        k = min(k, n - 4);
        sumFour(a + (k << 3), b + (k << 3), out + (k << 2));
      }
    } else {
      for (let k: usize = 0; k < n; ++k) {
        const p = k << 3;
        const sum = load<f32>(a + p) + load<f32>(b + p) + (load<f32>(a + p, 4) + load<f32>(b + p, 4));
        store<f32>(out + (k << 2), sum);
      }
    }
    x += width << 1;
    out += n << 2;
    turn += count;
    if (turn >= PART) {
      turn = 0;
      beat();
    }
  }
}

function spreadRun(x: usize, g: usize, rows: i32, count: i32, width: usize): void {
  const n = <usize>count;
  let turn = 0;
  for (let r = 0; r < rows; ++r) {
    let a = x;
    let b = x + width;
    let k: usize = 0;
    for (; k + 4 <= n; k += 4) {
      const v = v128.load(g + (k << 2));
      const low = v128.shuffle<f32>(v, v, 0, 4, 1, 5);
      const high = v128.shuffle<f32>(v, v, 2, 6, 3, 7);
      v128.store(a, low);
      v128.store(a, high, 16);
      v128.store(b, low);
      v128.store(b, high, 16);
      a += 32;
      b += 32;
    }
    for (; k < n; ++k) {
      const v = <u64>load<u32>(g + (k << 2));
      store<u64>(a, v | (v << 32));
      store<u64>(b, v | (v << 32));
      a += 8;
      b += 8;
    }
    clearTail(x, count, width);
    clearTail(x + width, count, width);
    x += width << 1;
    g += n << 2;
    turn += count;
    if (turn >= PART) {
      turn = 0;
      beat();
    }
  }
}

/** Rows of windows from row `from` of plane p on, and what lies behind the last one of an image, if it is among them. */
function run(ip: usize, kind: Halving, p: i32, from: i32, rows: i32): void {
  const count = arg(ip, Pool.CountW);
  const width = (<usize>arg(ip, Pool.ImageW)) << 2;
  const first = (<usize>p * <usize>arg(ip, Pool.CountH) + <usize>from) * <usize>count;
  const plane = <usize>p * <usize>arg(ip, Pool.ImageH) * width;
  const image = plane + <usize>(2 * from) * width;
  const x = ptr(ip, Pool.In);
  const out = ptr(ip, Pool.Out);
  const taps = ptr(ip, Pool.Taps) + first;
  if (kind == Halving.Max) maxRun(x + image, out + (first << 2), taps, rows, count, width);
  else if (kind == Halving.Sum) sumRun(x + image, out + (first << 2), rows, count, width);
  else if (kind == Halving.Put) putRun(out + image, x + (first << 2), taps, rows, count, width);
  else spreadRun(out + image, x + (first << 2), rows, count, width);
}

/** All four kinds, cut into units as Pool says. */
export function halving(ip: usize, begin: i32, end: i32, kind: Halving): void {
  const block = arg(ip, Pool.Block);
  const pieces = arg(ip, Pool.Pieces);
  const planes = arg(ip, Pool.Planes);
  const rows = arg(ip, Pool.CountH);
  const used = 2 * rows;
  const height = arg(ip, Pool.ImageH);
  for (let u = begin; u < end; ++u) {
    const piece = u % pieces;
    const first = (u / pieces) * block;
    const last = min(planes, first + block);
    if (pieces == 1 && used == height) {
      run(ip, kind, first, 0, (last - first) * rows);
      continue;
    }
    const from = share(piece, rows, pieces);
    const to = share(piece + 1, rows, pieces);
    for (let p = first; p < last; ++p) {
      run(ip, kind, p, from, to - from);
      if (piece < pieces - 1 || kind == Halving.Max || kind == Halving.Sum) continue;
      const width = (<usize>arg(ip, Pool.ImageW)) << 2;
      const tail = ptr(ip, Pool.Out) + (<usize>p * <usize>height + <usize>used) * width;
      clearTail(tail, 0, <usize>(height - used) * width);
    }
  }
}
