// Max pooling: the largest element of each window and its tap, in one pass. A tap wins if it is larger than the largest so far, or
// NaN: the first of equal ones, but the last NaN.
import { Pool, Scratch } from "../isa";
import { arg, beat, choose, farg, PART, ptr, storeUpTo } from "../simd";
import { firstTap, lastTap, share, volume, windowStart } from "./geometry";
import { Halving, halving, isHalving } from "./halves";

/** Numbers below 256 of four lanes as four bytes. */
// @ts-ignore: decorator
@inline
function storeBytes(to: usize, taps: v128): void {
  v128.store_lane<u32>(to, v128.shuffle<u8>(taps, taps, 0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12), 0);
}

/** Four elements, `stride` apart; reads nothing beyond them. */
// @ts-ignore: decorator
@inline
function fourApart(p: usize, stride: usize): v128 {
  if (stride == 1) return v128.load(p);
  if (stride == 2) return v128.shuffle<f32>(v128.load(p), v128.load(p, 12), 0, 2, 5, 7);
  const step = stride << 2;
  let v = v128.load32_zero(p);
  v = v128.load_lane<u32>(p + step, v, 1);
  v = v128.load_lane<u32>(p + 2 * step, v, 2);
  return v128.load_lane<u32>(p + 3 * step, v, 3);
}

/** Windows [from, to) of a row, one by one; taps [d0, d1) and [h0, h1) of its D and H, which begin at sd and sh, are inside. */
function someWindows(
  ip: usize,
  x: usize,
  sd: i32,
  d0: i32,
  d1: i32,
  sh: i32,
  h0: i32,
  h1: i32,
  from: i32,
  to: i32,
  out: usize,
  taps: usize,
): void {
  if (from >= to) return;
  const height = arg(ip, Pool.ImageH);
  const width = arg(ip, Pool.ImageW);
  const kernelH = arg(ip, Pool.KernelH);
  const kernelW = arg(ip, Pool.KernelW);
  const dilationD = arg(ip, Pool.DilationD);
  const dilationH = arg(ip, Pool.DilationH);
  const dilationW = arg(ip, Pool.DilationW);
  const wide = arg(ip, Pool.Wide);
  const step = (<usize>dilationW) << 2;
  let turn = 0;
  for (let k = from; k < to; ++k) {
    const sw = windowStart(ip, 2, k);
    const w0 = firstTap(ip, 2, sw);
    const w1 = lastTap(ip, 2, k, sw);
    let best: f32 = <f32>-Infinity;
    let tap = (d0 * kernelH + h0) * kernelW + w0;
    if (d0 >= d1 || h0 >= h1 || w0 >= w1) {
      best = farg(ip, Pool.Fill);
      tap = 0;
    }
    for (let d = d0; d < d1; ++d) {
      for (let h = h0; h < h1; ++h) {
        const row = (sd + d * dilationD) * height + sh + h * dilationH;
        let p = x + ((<usize>row * <usize>width + <usize>(sw + w0 * dilationW)) << 2);
        let t = (d * kernelH + h) * kernelW + w0;
        const last = t + w1 - w0;
        while (t < last) {
          const stop = min(last, t + PART - turn);
          turn += stop - t;
          for (; t < stop; ++t) {
            const v = load<f32>(p);
            const won = v > best || v != v;
            best = won ? v : best;
            tap = won ? t : tap;
            p += step;
          }
          if (turn >= PART) {
            turn = 0;
            beat();
          }
        }
      }
    }
    store<f32>(out + ((<usize>k) << 2), best);
    if (wide) store<i32>(taps + ((<usize>k) << 2), tap);
    else store<u8>(taps + <usize>k, <u8>tap);
  }
}

/** A row of windows, one by one. */
function windowsRow(ip: usize, x: usize, row: i32, from: i32, to: i32, out: usize, taps: usize): void {
  const countH = arg(ip, Pool.CountH);
  const kd = row / countH;
  const kh = row - kd * countH;
  const sd = windowStart(ip, 0, kd);
  const d0 = firstTap(ip, 0, sd);
  const d1 = lastTap(ip, 0, kd, sd);
  const sh = windowStart(ip, 1, kh);
  const h0 = firstTap(ip, 1, sh);
  const h1 = lastTap(ip, 1, kh, sh);
  someWindows(ip, x, sd, d0, d1, sh, h0, h1, from, to, out, taps);
}

/** Floats of scratch: what a band of windows sees, -Infinity around it. Behind them is room for a vector. */
const SEEN: i32 = Scratch.Bytes / 4 - 4;

/** Elements along an axis that `count` windows see. */
// @ts-ignore: decorator
@inline
function span(ip: usize, axis: i32, count: i32): i32 {
  const taps = (arg(ip, Pool.KernelD + axis) - 1) * arg(ip, Pool.DilationD + axis);
  return (count - 1) * arg(ip, Pool.StrideD + axis) + taps + 1;
}

/** `count` elements at p; returns whether there may be a NaN among those from the image. */
function copyRow(to: usize, from: usize, left: i32, inside: i32, count: i32): bool {
  let j = 0;
  for (; j < left; ++j) store<f32>(to + ((<usize>j) << 2), <f32>-Infinity);
  let sum = f32x4.splat(0);
  const end = left + inside;
  for (; j + 4 <= end; j += 4) {
    const v = v128.load(from);
    sum = f32x4.add(sum, v);
    v128.store(to + ((<usize>j) << 2), v);
    from += 16;
  }
  let rest: f32 = 0;
  for (; j < end; ++j) {
    const v = load<f32>(from);
    rest += v;
    store<f32>(to + ((<usize>j) << 2), v);
    from += 4;
  }
  for (; j < count; ++j) store<f32>(to + ((<usize>j) << 2), <f32>-Infinity);
  return v128.any_true(f32x4.ne(sum, sum)) || rest != rest;
}

/** Copies what rows [kh, kh + rows) of windows at kd see, [KernelD, seenH, seenW]; returns whether there may be a NaN in it. */
function copySeen(ip: usize, to: usize, x: usize, kd: i32, kh: i32, seenH: i32, seenW: i32): bool {
  const depth = arg(ip, Pool.ImageD);
  const height = arg(ip, Pool.ImageH);
  const width = arg(ip, Pool.ImageW);
  const sd = windowStart(ip, 0, kd);
  const sh = windowStart(ip, 1, kh);
  const left = arg(ip, Pool.PadW);
  const inside = max(0, min(width, seenW - left));
  const kernelD = arg(ip, Pool.KernelD);
  const dilationD = arg(ip, Pool.DilationD);
  let found = false;
  for (let t = 0; t < kernelD; ++t) {
    const d = sd + t * dilationD;
    for (let i = 0; i < seenH; ++i) {
      const h = sh + i;
      const isIn = <u32>d < <u32>depth && <u32>h < <u32>height;
      const from = x + ((<usize>(d * height + h) * <usize>width) << 2);
      if (copyRow(to, from, isIn ? min(left, seenW) : seenW, isIn ? inside : 0, seenW)) found = true;
      to += (<usize>seenW) << 2;
    }
  }
  return found;
}

/** Four windows of numbers whose first element is at p: stores their largest elements, returns the taps of these. */
// @ts-ignore: decorator
@inline
function fourWindows(
  p: usize,
  out: usize,
  kernelD: i32,
  kernelH: i32,
  kernelW: i32,
  stride: usize,
  stepW: usize,
  stepH: usize,
  stepD: usize,
): v128 {
  let best = f32x4.splat(<f32>-Infinity);
  let at = i32x4.splat(0);
  let tap = at;
  const one = i32x4.splat(1);
  for (let d = 0; d < kernelD; ++d) {
    let row = p;
    for (let h = 0; h < kernelH; ++h) {
      let q = row;
      let w = kernelW;
      // Three at a time: most kernels are as wide, and the loop costs as much as a tap.
      for (; w >= 3; w -= 3) {
        const v0 = fourApart(q, stride);
        const v1 = fourApart(q + stepW, stride);
        const v2 = fourApart(q + 2 * stepW, stride);
        at = choose(tap, at, f32x4.gt(v0, best));
        best = f32x4.pmax(best, v0);
        tap = i32x4.add(tap, one);
        at = choose(tap, at, f32x4.gt(v1, best));
        best = f32x4.pmax(best, v1);
        tap = i32x4.add(tap, one);
        at = choose(tap, at, f32x4.gt(v2, best));
        best = f32x4.pmax(best, v2);
        tap = i32x4.add(tap, one);
        q += 3 * stepW;
      }
      for (; w > 0; --w) {
        const v = fourApart(q, stride);
        at = choose(tap, at, f32x4.gt(v, best));
        best = f32x4.pmax(best, v);
        tap = i32x4.add(tap, one);
        q += stepW;
      }
      row += stepH;
    }
    p += stepD;
  }
  v128.store(out, best);
  return at;
}

/** Rows [from, to) of the windows of a plane, four windows at a time where the numbers allow it. */
function planeRows(ip: usize, scratch: usize, x: usize, out: usize, taps: usize, from: i32, to: i32): void {
  const countH = arg(ip, Pool.CountH);
  const count = arg(ip, Pool.CountW);
  const kernelD = arg(ip, Pool.KernelD);
  const kernelH = arg(ip, Pool.KernelH);
  const kernelW = arg(ip, Pool.KernelW);
  const strideH = arg(ip, Pool.StrideH);
  const strideW = arg(ip, Pool.StrideW);
  const wide = arg(ip, Pool.Wide);
  const size = kernelD * kernelH * kernelW;
  const seenW = span(ip, 2, max(4, count));
  const reach = span(ip, 1, 1);
  // Rows that may be seen at once, for all depths of a window; and rows of windows that see no more.
  const lines = SEEN / seenW / kernelD;
  const most = arg(ip, Pool.Adaptive) || size > PART || lines < reach ? 0 : (lines - reach) / strideH + 1;
  const stepW = (<usize>arg(ip, Pool.DilationW)) << 2;
  const stepH = (<usize>(arg(ip, Pool.DilationH) * seenW)) << 2;
  const tapShift: usize = wide ? 2 : 0;
  const spare = scratch + ((<usize>SEEN) << 2);
  let turn = 0;
  for (let r = from; r < to; ) {
    const kd = r / countH;
    const kh = r - kd * countH;
    const rows = min(min(to - r, countH - kh), max(1, most));
    const seenH = span(ip, 1, rows);
    const slow = most == 0 || copySeen(ip, scratch, x, kd, kh, seenH, seenW);
    const stepD = (<usize>(seenH * seenW)) << 2;
    for (let i = 0; i < rows; ++i) {
      const first = <usize>(r + i) * <usize>count;
      const o = out + (first << 2);
      const t = taps + (first << tapShift);
      if (slow) {
        windowsRow(ip, x, r + i, 0, count, o, t);
        turn += count;
      }
      const row = scratch + ((<usize>(i * strideH * seenW)) << 2);
      for (let k = 0; k < count && !slow; k += 4) {
        // The last four together with some that were done before: the same again.
        if (count >= 4) k = min(k, count - 4);
        const p = row + ((<usize>(k * strideW)) << 2);
        const at = fourWindows(p, spare, kernelD, kernelH, kernelW, <usize>strideW, stepW, stepH, stepD);
        const best = v128.load(spare);
        const n = min(4, count - k);
        turn += size;
        // Which of several -Infinity is the first one inside is not known here.
        if (v128.any_true(f32x4.eq(best, f32x4.splat(<f32>-Infinity)))) {
          windowsRow(ip, x, r + i, k, k + n, o, t);
          continue;
        }
        storeUpTo(o + ((<usize>k) << 2), best, n);
        if (wide) storeUpTo(t + ((<usize>k) << 2), at, n);
        else if (n == 4) storeBytes(t + <usize>k, at);
        else {
          v128.store(spare, at);
          for (let j: usize = 0; j < <usize>n; ++j) store<u8>(t + j, <u8>load<i32>(spare + (j << 2)));
        }
        if (turn >= PART) {
          turn = 0;
          beat();
        }
      }
      if (turn >= PART) {
        turn = 0;
        beat();
      }
    }
    r += rows;
  }
}

export function maxPool(ip: usize, begin: i32, end: i32, scratch: usize): void {
  if (isHalving(ip)) {
    halving(ip, begin, end, Halving.Max);
    return;
  }
  const block = arg(ip, Pool.Block);
  const pieces = arg(ip, Pool.Pieces);
  const planes = arg(ip, Pool.Planes);
  const image = (<usize>volume(ip, Pool.ImageD)) << 2;
  const windows = <usize>volume(ip, Pool.CountD);
  const rows = arg(ip, Pool.CountD) * arg(ip, Pool.CountH);
  const tapShift: usize = arg(ip, Pool.Wide) ? 2 : 0;
  let turn: usize = 0;
  for (let u = begin; u < end; ++u) {
    const piece = u % pieces;
    const from = share(piece, rows, pieces);
    const to = share(piece + 1, rows, pieces);
    const last = min(planes, (u / pieces + 1) * block);
    for (let p = (u / pieces) * block; p < last; ++p) {
      const at = <usize>p * windows;
      const taps = ptr(ip, Pool.Taps) + (at << tapShift);
      planeRows(ip, scratch, ptr(ip, Pool.In) + <usize>p * image, ptr(ip, Pool.Out) + (at << 2), taps, from, to);
      turn += image;
      if (turn >= <usize>PART) {
        turn = 0;
        beat();
      }
    }
  }
}
