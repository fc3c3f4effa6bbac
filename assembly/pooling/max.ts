// Max pooling: the largest element of each window and its tap, in one pass. A tap wins if it is larger than the largest so far, or
// NaN: the first of equal ones, but the last NaN.
import { Pool } from "../isa";
import { arg, beat, farg, PART, ptr } from "../simd";
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

/** A row of windows: four at a time where all of their columns are inside. */
function windowsRow(ip: usize, x: usize, row: i32, out: usize, taps: usize): void {
  const countH = arg(ip, Pool.CountH);
  const count = arg(ip, Pool.CountW);
  const height = arg(ip, Pool.ImageH);
  const width = arg(ip, Pool.ImageW);
  const kernelH = arg(ip, Pool.KernelH);
  const kernelW = arg(ip, Pool.KernelW);
  const stride = arg(ip, Pool.StrideW);
  const pad = arg(ip, Pool.PadW);
  const dilationD = arg(ip, Pool.DilationD);
  const dilationH = arg(ip, Pool.DilationH);
  const dilationW = arg(ip, Pool.DilationW);
  const wide = arg(ip, Pool.Wide);
  const kd = row / countH;
  const kh = row - kd * countH;
  const sd = windowStart(ip, 0, kd);
  const d0 = firstTap(ip, 0, sd);
  const d1 = lastTap(ip, 0, kd, sd);
  const sh = windowStart(ip, 1, kh);
  const h0 = firstTap(ip, 1, sh);
  const h1 = lastTap(ip, 1, kh, sh);
  const room = width - 1 + pad - (kernelW - 1) * dilationW;
  const whole = room < 0 ? 0 : min(count, room / stride + 1);
  const first = min(whole, (pad + stride - 1) / stride);
  const size = (d1 - d0) * (h1 - h0) * kernelW;
  if (arg(ip, Pool.Adaptive) || whole - first < 4 || d0 >= d1 || h0 >= h1 || size > PART) {
    someWindows(ip, x, sd, d0, d1, sh, h0, h1, 0, count, out, taps);
    return;
  }
  someWindows(ip, x, sd, d0, d1, sh, h0, h1, 0, first, out, taps);
  const step = (<usize>dilationW) << 2;
  let turn = 0;
  for (let k = first; k < whole; k += 4) {
    // The last four together with some that were done before: the same again.
    k = min(k, whole - 4);
    let best = f32x4.splat(<f32>-Infinity);
    let at = i32x4.splat((d0 * kernelH + h0) * kernelW);
    let sum = f32x4.splat(0);
    for (let d = d0; d < d1; ++d) {
      for (let h = h0; h < h1; ++h) {
        const r = (sd + d * dilationD) * height + sh + h * dilationH;
        let p = x + ((<usize>r * <usize>width + <usize>(k * stride - pad)) << 2);
        let tap = i32x4.splat((d * kernelH + h) * kernelW);
        for (const end = p + <usize>kernelW * step; p != end; p += step) {
          const v = fourApart(p, <usize>stride);
          at = v128.bitselect(tap, at, f32x4.gt(v, best));
          best = f32x4.pmax(best, v);
          sum = f32x4.add(sum, v);
          tap = i32x4.add(tap, i32x4.splat(1));
        }
      }
    }
    turn += size;
    if (turn >= PART) {
      turn = 0;
      beat();
    }
    // No NaN among the terms if the sum is none.
    if (v128.any_true(f32x4.ne(sum, sum))) {
      someWindows(ip, x, sd, d0, d1, sh, h0, h1, k, k + 4, out, taps);
      continue;
    }
    v128.store(out + ((<usize>k) << 2), best);
    if (wide) v128.store(taps + ((<usize>k) << 2), at);
    else storeBytes(taps + <usize>k, at);
  }
  someWindows(ip, x, sd, d0, d1, sh, h0, h1, whole, count, out, taps);
}

export function maxPool(ip: usize, begin: i32, end: i32, _scratch: usize): void {
  if (isHalving(ip)) {
    halving(ip, begin, end, Halving.Max);
    return;
  }
  const block = arg(ip, Pool.Block);
  const pieces = arg(ip, Pool.Pieces);
  const planes = arg(ip, Pool.Planes);
  const image = (<usize>volume(ip, Pool.ImageD)) << 2;
  const count = arg(ip, Pool.CountW);
  const rows = arg(ip, Pool.CountD) * arg(ip, Pool.CountH);
  const tapShift: usize = arg(ip, Pool.Wide) ? 2 : 0;
  let turn = 0;
  for (let u = begin; u < end; ++u) {
    const piece = u % pieces;
    const from = share(piece, rows, pieces);
    const to = share(piece + 1, rows, pieces);
    const last = min(planes, (u / pieces + 1) * block);
    for (let p = (u / pieces) * block; p < last; ++p) {
      const x = ptr(ip, Pool.In) + <usize>p * image;
      for (let r = from; r < to; ++r) {
        const at = (<usize>p * <usize>rows + <usize>r) * <usize>count;
        windowsRow(ip, x, r, ptr(ip, Pool.Out) + (at << 2), ptr(ip, Pool.Taps) + (at << tapShift));
        turn += count;
        if (turn >= PART) {
          turn = 0;
          beat();
        }
      }
    }
  }
}
