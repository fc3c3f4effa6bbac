// Elements of windows by the number of their tap, taken from images and put back into them.
import { Pool } from "../isa";
import { arg, beat, farg, fillBytes, PART, ptr } from "../simd";
import { share, volume, windowStart } from "./geometry";
import { Halving, halving, isHalving } from "./halves";

/** Taps whose places in a window are looked up in scratch: three words each. */
const LISTED: i32 = 4096;

/** Lists the places of the first taps of a window, by axis, in elements; returns how many. */
function listTaps(ip: usize, scratch: usize): i32 {
  const count = min(LISTED, volume(ip, Pool.KernelD));
  for (let t = 0; t < count; ++t) storePlace(ip, scratch + <usize>t * 12, t);
  return count;
}

function storePlace(ip: usize, to: usize, tap: i32): void {
  const kernelW = arg(ip, Pool.KernelW);
  const kernelH = arg(ip, Pool.KernelH);
  const row = tap / kernelW;
  const d = row / kernelH;
  store<i32>(to, d * arg(ip, Pool.DilationD));
  store<i32>(to, (row - d * kernelH) * arg(ip, Pool.DilationH), 4);
  store<i32>(to, (tap - row * kernelW) * arg(ip, Pool.DilationW), 8);
}

/**
 * Which element of an image a tap of the window that begins at (sd, sh, sw) is; -1 if none of its rows [from, to). `list`: places of
 * `listed` taps, and room for one more behind them.
 */
// @ts-ignore: decorator
@inline
function elementOf(
  ip: usize,
  list: usize,
  listed: i32,
  tap: i32,
  sd: i32,
  sh: i32,
  sw: i32,
  height: i32,
  width: i32,
  from: i32,
  to: i32,
): i32 {
  const at = list + <usize>min(<u32>tap, <u32>listed) * 12;
  if (<u32>tap >= <u32>listed) storePlace(ip, at, tap);
  const h = sh + load<i32>(at, 4);
  const w = sw + load<i32>(at, 8);
  const row = (sd + load<i32>(at)) * height + h;
  if (<u32>h >= <u32>height || <u32>w >= <u32>width || row < from || row >= to) return -1;
  return row * width + w;
}

// @ts-ignore: decorator
@inline
function tapAt(taps: usize, k: usize, wide: i32): i32 {
  return wide ? load<i32>(taps + (k << 2)) : <i32>load<u8>(taps + k);
}

export function takeTaps(ip: usize, begin: i32, end: i32, scratch: usize): void {
  const block = arg(ip, Pool.Block);
  const pieces = arg(ip, Pool.Pieces);
  const planes = arg(ip, Pool.Planes);
  const height = arg(ip, Pool.ImageH);
  const width = arg(ip, Pool.ImageW);
  const image = (<usize>volume(ip, Pool.ImageD)) << 2;
  const lines = arg(ip, Pool.ImageD) * height;
  const count = arg(ip, Pool.CountW);
  const countH = arg(ip, Pool.CountH);
  const rows = arg(ip, Pool.CountD) * countH;
  const wide = arg(ip, Pool.Wide);
  const fill = farg(ip, Pool.Fill);
  const taps = ptr(ip, Pool.Taps);
  const listed = listTaps(ip, scratch);
  const adaptive = arg(ip, Pool.Adaptive);
  const stride = arg(ip, Pool.StrideW);
  const pad = arg(ip, Pool.PadW);
  let turn = 0;
  for (let u = begin; u < end; ++u) {
    const piece = u % pieces;
    const from = share(piece, rows, pieces);
    const to = share(piece + 1, rows, pieces);
    const last = min(planes, (u / pieces + 1) * block);
    for (let p = (u / pieces) * block; p < last; ++p) {
      const x = ptr(ip, Pool.In) + <usize>p * image;
      for (let r = from; r < to; ++r) {
        const sd = windowStart(ip, 0, r / countH);
        const sh = windowStart(ip, 1, r % countH);
        const first = (<usize>p * <usize>rows + <usize>r) * <usize>count;
        const out = ptr(ip, Pool.Out) + (first << 2);
        for (let k = 0; k < count; ++k) {
          const tap = tapAt(taps, first + <usize>k, wide);
          const sw = adaptive ? windowStart(ip, 2, k) : k * stride - pad;
          const at = elementOf(ip, scratch, listed, tap, sd, sh, sw, height, width, 0, lines);
          store<f32>(out + ((<usize>k) << 2), at < 0 ? fill : load<f32>(x + ((<usize>at) << 2)));
          if (++turn == PART) {
            turn = 0;
            beat();
          }
        }
      }
    }
  }
}

/** Rows [from, to) of an image (places of D and H): zeros, and what windows put there. */
function putRows(
  ip: usize,
  scratch: usize,
  listed: i32,
  out: usize,
  g: usize,
  taps: usize,
  from: i32,
  to: i32,
): void {
  const adaptive = arg(ip, Pool.Adaptive);
  const stride = arg(ip, Pool.StrideW);
  const pad = arg(ip, Pool.PadW);
  const height = arg(ip, Pool.ImageH);
  const width = arg(ip, Pool.ImageW);
  const countH = arg(ip, Pool.CountH);
  const count = arg(ip, Pool.CountW);
  const rows = arg(ip, Pool.CountD) * countH;
  const wide = arg(ip, Pool.Wide);
  const reachD = (arg(ip, Pool.KernelD) - 1) * arg(ip, Pool.DilationD);
  const reachH = (arg(ip, Pool.KernelH) - 1) * arg(ip, Pool.DilationH);
  fillBytes(out + (<usize>from * <usize>width << 2), 0, <usize>(to - from) * <usize>width << 2);
  let turn = 0;
  for (let r = 0; r < rows; ++r) {
    const sd = windowStart(ip, 0, r / countH);
    const sh = windowStart(ip, 1, r % countH);
    if (sd * height + sh >= to || (sd + reachD) * height + sh + reachH < from) continue;
    const first = <usize>r * <usize>count;
    for (let k = 0; k < count; ++k) {
      const tap = tapAt(taps, first + <usize>k, wide);
      const sw = adaptive ? windowStart(ip, 2, k) : k * stride - pad;
      const at = elementOf(ip, scratch, listed, tap, sd, sh, sw, height, width, from, to);
      if (at >= 0) {
        const e = out + ((<usize>at) << 2);
        store<f32>(e, load<f32>(e) + load<f32>(g + ((first + <usize>k) << 2)));
      }
      if (++turn == PART) {
        turn = 0;
        beat();
      }
    }
  }
}

export function putTaps(ip: usize, begin: i32, end: i32, scratch: usize): void {
  if (isHalving(ip)) {
    halving(ip, begin, end, Halving.Put);
    return;
  }
  const block = arg(ip, Pool.Block);
  const pieces = arg(ip, Pool.Pieces);
  const planes = arg(ip, Pool.Planes);
  const image = (<usize>volume(ip, Pool.ImageD)) << 2;
  const windows = <usize>volume(ip, Pool.CountD);
  const lines = arg(ip, Pool.ImageD) * arg(ip, Pool.ImageH);
  const tapShift: usize = arg(ip, Pool.Wide) ? 2 : 0;
  const listed = listTaps(ip, scratch);
  let turn: usize = 0;
  for (let u = begin; u < end; ++u) {
    const piece = u % pieces;
    const last = min(planes, (u / pieces + 1) * block);
    for (let p = (u / pieces) * block; p < last; ++p) {
      const out = ptr(ip, Pool.Out) + <usize>p * image;
      const first = <usize>p * windows;
      const g = ptr(ip, Pool.In) + (first << 2);
      const taps = ptr(ip, Pool.Taps) + (first << tapShift);
      putRows(ip, scratch, listed, out, g, taps, share(piece, lines, pieces), share(piece + 1, lines, pieces));
      turn += image;
      if (turn >= <usize>PART) {
        turn = 0;
        beat();
      }
    }
  }
}
