// Sums of windows and, the other way, sums of the windows that an element is in: both are sums over boxes, whose bounds along an axis
// depend on the place along that axis alone. The rows of a box are added up column by column first, then columns.
import { Pool, Scratch } from "../isa";
import { arg, beat, loadUpTo, PART, ptr } from "../simd";
import { share, shareUp, volume } from "./geometry";
import { Halving, halving, isHalving } from "./halves";

/** Places along W whose bounds are listed at once, and columns of float64 that are added up at once. */
const LISTED: i32 = 8192;
const LINE: usize = <usize>LISTED * 8;
const COLUMNS: i32 = (Scratch.Bytes - <i32>LINE) / 8;

/** The first element of In along an axis that place k of Out is a sum of. */
function boxFrom(ip: usize, axis: i32, k: i32, spread: bool): i32 {
  const image = arg(ip, Pool.ImageD + axis);
  const count = arg(ip, Pool.CountD + axis);
  if (arg(ip, Pool.Adaptive)) return spread ? share(k, count, image) : share(k, image, count);
  const stride = arg(ip, Pool.StrideD + axis);
  const pad = arg(ip, Pool.PadD + axis);
  if (!spread) return max(0, k * stride - pad);
  const least = k + pad - arg(ip, Pool.KernelD + axis) + 1;
  return least <= 0 ? 0 : (least + stride - 1) / stride;
}

/** Behind the last one. */
function boxTo(ip: usize, axis: i32, k: i32, spread: bool): i32 {
  const image = arg(ip, Pool.ImageD + axis);
  const count = arg(ip, Pool.CountD + axis);
  if (arg(ip, Pool.Adaptive)) return spread ? shareUp(k + 1, count, image) : shareUp(k + 1, image, count);
  const stride = arg(ip, Pool.StrideD + axis);
  const pad = arg(ip, Pool.PadD + axis);
  if (!spread) return min(image, k * stride - pad + arg(ip, Pool.KernelD + axis));
  return min(count, (k + pad) / stride + 1);
}

/** The first `columns` of rows [d0, d1) x [h0, h1) of float32 from x on, added up in float64. */
function addRows(
  line: usize,
  x: usize,
  columns: i32,
  height: i32,
  width: i32,
  d0: i32,
  d1: i32,
  h0: i32,
  h1: i32,
): void {
  const step = (<usize>width) << 2;
  let turn = 0;
  for (let j = 0; j < columns; j += 4) {
    const n = min(4, columns - j);
    let low = f64x2.splat(0);
    let high = low;
    for (let d = d0; d < d1; ++d) {
      let p = x + ((<usize>(d * height + h0) * <usize>width + <usize>j) << 2);
      for (let h = h0; h < h1; ) {
        const stop = min(h1, h + PART);
        for (; h < stop; ++h) {
          const v = n == 4 ? v128.load(p) : loadUpTo(p, n, f32x4.splat(0));
          low = f64x2.add(low, f64x2.promote_low_f32x4(v));
          high = f64x2.add(high, f64x2.promote_low_f32x4(v128.shuffle<f32>(v, v, 2, 3, 2, 3)));
          p += step;
        }
        if (h < h1) beat();
      }
      turn += h1 - h0;
      if (turn >= PART) {
        turn = 0;
        beat();
      }
    }
    // Behind the last column there is room for three more.
    v128.store(line + ((<usize>j) << 3), low);
    v128.store(line + ((<usize>j) << 3), high, 16);
  }
}

/** Elements [from, to) of a line, added up. */
// @ts-ignore: decorator
@inline
function addColumns(line: usize, from: i32, to: i32): f64 {
  let sum: f64 = 0;
  const last = line + ((<usize>to) << 3);
  for (let p = line + ((<usize>from) << 3); p < last; p += 8) sum += load<f64>(p);
  return sum;
}

/** One sum over more columns than a line has. */
function longSum(line: usize, x: usize, columns: i32, height: i32, width: i32, d0: i32, d1: i32, h0: i32, h1: i32): f64 {
  let sum: f64 = 0;
  for (let from = 0; from < columns; from += COLUMNS) {
    const n = min(COLUMNS, columns - from);
    addRows(line, x + ((<usize>from) << 2), n, height, width, d0, d1, h0, h1);
    sum += addColumns(line, 0, n);
    beat();
  }
  return sum;
}

function boxes(ip: usize, begin: i32, end: i32, scratch: usize, spread: bool): void {
  if (isHalving(ip)) {
    halving(ip, begin, end, spread ? Halving.Spread : Halving.Sum);
    return;
  }
  const block = arg(ip, Pool.Block);
  const pieces = arg(ip, Pool.Pieces);
  const planes = arg(ip, Pool.Planes);
  const source = spread ? Pool.CountD : Pool.ImageD;
  const result = spread ? Pool.ImageD : Pool.CountD;
  const height = arg(ip, source + 1);
  const width = arg(ip, source + 2);
  const outH = arg(ip, result + 1);
  const outW = arg(ip, result + 2);
  const rows = arg(ip, result) * outH;
  const bytes = (<usize>volume(ip, source)) << 2;
  const line = scratch + LINE;
  let turn = 0;
  for (let c0 = 0, c1 = 0; c0 < outW; c0 = c1) {
    c1 = min(outW, c0 + LISTED);
    const base = boxFrom(ip, 2, c0, spread);
    while (c1 > c0 + 1 && boxTo(ip, 2, c1 - 1, spread) - base > COLUMNS - 4) c1 = c0 + ((c1 - c0) >> 1);
    const columns = boxTo(ip, 2, c1 - 1, spread) - base;
    for (let c = c0; c < c1; ++c) {
      const at = scratch + ((<usize>(c - c0)) << 3);
      store<i32>(at, boxFrom(ip, 2, c, spread) - base);
      store<i32>(at, boxTo(ip, 2, c, spread) - base, 4);
    }
    for (let u = begin; u < end; ++u) {
      const piece = u % pieces;
      const from = share(piece, rows, pieces);
      const to = share(piece + 1, rows, pieces);
      const last = min(planes, (u / pieces + 1) * block);
      for (let p = (u / pieces) * block; p < last; ++p) {
        const x = ptr(ip, Pool.In) + <usize>p * bytes;
        const out = ptr(ip, Pool.Out) + ((<usize>p * <usize>rows * <usize>outW) << 2);
        for (let r = from; r < to; ++r) {
          turn += c1 - c0;
          if (turn >= PART) {
            turn = 0;
            beat();
          }
          const d0 = boxFrom(ip, 0, r / outH, spread);
          const d1 = boxTo(ip, 0, r / outH, spread);
          const h0 = boxFrom(ip, 1, r % outH, spread);
          const h1 = boxTo(ip, 1, r % outH, spread);
          let to = out + ((<usize>r * <usize>outW + <usize>c0) << 2);
          const corner = x + ((<usize>base) << 2);
          if (columns > COLUMNS - 4) {
            store<f32>(to, <f32>longSum(line, corner, columns, height, width, d0, d1, h0, h1));
            continue;
          }
          addRows(line, corner, columns, height, width, d0, d1, h0, h1);
          const stop = scratch + ((<usize>(c1 - c0)) << 3);
          for (let at = scratch; at < stop; at += 8) {
            store<f32>(to, <f32>addColumns(line, load<i32>(at), load<i32>(at, 4)));
            to += 4;
          }
        }
      }
    }
  }
}

export function sumWindows(ip: usize, begin: i32, end: i32, scratch: usize): void {
  boxes(ip, begin, end, scratch, false);
}

export function spreadWindows(ip: usize, begin: i32, end: i32, scratch: usize): void {
  boxes(ip, begin, end, scratch, true);
}
