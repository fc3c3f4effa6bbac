// Images as tiles and back. The values of a tile at one point, [channels], are a row of a matrix as the product wants it, for its sum
// over channels or over tiles: between the two axes of a transform, vectors of four elements become vectors of four channels.
import { borderAt } from "../borders";
import { Border, Winograd, WinogradTile } from "../isa";
import { arg } from "../simd";
import { fromInput, fromResult, toPlanes, toResult } from "./transform";

/** Most tiles along a row that are worked on together. */
const RUN: i32 = 8;
/** Channels in a line of the cache. */
const LINE: i32 = 16;
/** Scratch: zeros for a run and a vector before and after; then the values of blocks of 4 columns of 4 channels, [6][channels][4]. */
const BLOCKS: usize = 16 + (RUN + 1) * 16 + 16;
const BLOCK: usize = 384;
const QUAD: usize = BLOCK * (RUN + 1);
/** Bytes of scratch in all. */
export const TILES_BYTES: usize = BLOCKS + QUAD * (LINE / 4);

export function tileRows(ip: usize): i32 {
  return (arg(ip, Winograd.OutH) + 3) >> 2;
}

export function tileCols(ip: usize): i32 {
  return (arg(ip, Winograd.OutW) + 3) >> 2;
}

/** Bytes from one point's matrix to the next: an odd number of lines, so that the lines of a tile do not compete for one set. */
export function pointStep(rows: i32, row: usize): usize {
  return ((<usize>rows * row + 63) & ~63) | 64;
}

/** Which bytes of the four elements from base on are those from base + shift on; -1 where there are none. */
// @ts-ignore: decorator
@inline
function order(shift: i32): v128 {
  const moved = i8x16.add(i8x16(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15), i8x16.splat(<i8>(shift << 2)));
  return v128.or(moved, i8x16.gt_u(moved, i8x16.splat(15)));
}

/** Four elements in an order, zeros where it has none. */
// @ts-ignore: decorator
@inline
function ordered(p: usize, at: v128): v128 {
  return ASC_FEATURE_RELAXED_SIMD ? i8x16.relaxed_swizzle(v128.load(p), at) : i8x16.swizzle(v128.load(p), at);
}

/** Four elements, each somewhere. */
function four(p: usize, i0: i32, i1: i32, i2: i32, i3: i32): v128 {
  let v = v128.load32_zero(p + i0);
  v = v128.load_lane<u32>(p + i1, v, 1);
  v = v128.load_lane<u32>(p + i2, v, 2);
  return v128.load_lane<u32>(p + i3, v, 3);
}

/** What stands for a row that is outside. */
function rowOutside(plane: usize, y: i32, h: i32, x: i32, w: i32, zeros: usize, around: i32): usize {
  return around == Border.Zeros ? zeros : plane + ((borderAt(y, h, around) * w + x) << 2);
}

/** A row of a plane from x on; where it is outside, `zeros` or what stands for it. */
// @ts-ignore: decorator
@inline
function rowAt(plane: usize, y: i32, h: i32, x: i32, w: i32, zeros: usize, around: i32): usize {
  return y >= 0 && y < h ? plane + ((y * w + x) << 2) : rowOutside(plane, y, h, x, w, zeros, around);
}

/** A block of elements from place `from` on of rows that begin at place x, some of them beyond the ends, at the six points. */
function borderBlock(
  to: usize,
  from: i32,
  x: i32,
  w: i32,
  around: i32,
  p0: usize,
  p1: usize,
  p2: usize,
  p3: usize,
  p4: usize,
  p5: usize,
): void {
  const i0 = (borderAt(from, w, around) - x) << 2;
  const i1 = (borderAt(from + 1, w, around) - x) << 2;
  const i2 = (borderAt(from + 2, w, around) - x) << 2;
  const i3 = (borderAt(from + 3, w, around) - x) << 2;
  fromInput(
    to,
    64,
    four(p0, i0, i1, i2, i3),
    four(p1, i0, i1, i2, i3),
    four(p2, i0, i1, i2, i3),
    four(p3, i0, i1, i2, i3),
    four(p4, i0, i1, i2, i3),
    four(p5, i0, i1, i2, i3),
  );
}

/** Blocks of rows y to y + 5 of elements from x on of four planes, and what is around them, at the six points: [blocks][6][planes][4]. */
function inputBlocks(
  to: usize,
  blocks: i32,
  plane: usize,
  size: usize,
  planes: i32,
  y: i32,
  h: i32,
  x: i32,
  w: i32,
  zeros: usize,
  around: i32,
): void {
  let p0 = rowAt(plane, y, h, x, w, zeros, around);
  let p1 = rowAt(plane, y + 1, h, x, w, zeros, around);
  let p2 = rowAt(plane, y + 2, h, x, w, zeros, around);
  let p3 = rowAt(plane, y + 3, h, x, w, zeros, around);
  let p4 = rowAt(plane, y + 4, h, x, w, zeros, around);
  let p5 = rowAt(plane, y + 5, h, x, w, zeros, around);
  const end = x + (blocks << 2);
  for (let c = 1; c <= 4; ++c) {
    let at = to;
    for (let from = x, o: usize = 0; from < end; from += 4, o += 16) {
      if (from >= 0 && from + 4 <= w)
        fromInput(
          at,
          64,
          v128.load(p0 + o),
          v128.load(p1 + o),
          v128.load(p2 + o),
          v128.load(p3 + o),
          v128.load(p4 + o),
          v128.load(p5 + o),
        );
      else if (around != Border.Zeros) {
        borderBlock(at, from, x, w, around, p0, p1, p2, p3, p4, p5);
      } else {
        const shift = from - max(0, min(from, w - 4));
        if (shift <= -4 || shift >= 4)
          for (let p = at; p != at + BLOCK; p += 64) v128.store(p, i32x4.splat(0));
        else {
          const all = order(shift);
          const q = o - (shift << 2);
          fromInput(
            at,
            64,
            ordered(p0 + q, all),
            ordered(p1 + q, all),
            ordered(p2 + q, all),
            ordered(p3 + q, all),
            ordered(p4 + q, all),
            ordered(p5 + q, all),
          );
        }
      }
      at += BLOCK;
    }
    to += 16;
    // Beyond the last plane it stands in for others.
    if (c < planes) {
      if (p0 != zeros) p0 += size;
      if (p1 != zeros) p1 += size;
      if (p2 != zeros) p2 += size;
      if (p3 != zeros) p3 += size;
      if (p4 != zeros) p4 += size;
      if (p5 != zeros) p5 += size;
    }
  }
}

/**
 * `count` tiles from number `from` on, counted through samples from `image` on, of `channels` channels from the first one there
 * on, at all points: [36][tiles][channels], `step` bytes from point to point and `row` from tile to tile.
 */
export function inputTiles(
  ip: usize,
  image: usize,
  from: i32,
  count: i32,
  channels: i32,
  to: usize,
  step: usize,
  row: usize,
  scratch: usize,
): void {
  const h = arg(ip, Winograd.InH);
  const w = arg(ip, Winograd.InW);
  const around = arg(ip, Winograd.Around);
  const size = (<usize>(h * w)) << 2;
  const sample = <usize>arg(ip, Winograd.Channels) * size;
  const cols = tileCols(ip);
  const each = cols * tileRows(ip);
  const blocks = scratch + BLOCKS;
  const zeros = scratch + 16;
  memory.fill(scratch, 0, BLOCKS);
  for (let q = 0; q < count; ) {
    const n = (from + q) / each;
    const place = from + q - n * each;
    const ty = place / cols;
    const tx = place - ty * cols;
    const run = min(min(RUN, cols - tx), count - q);
    const y = (ty << 2) - arg(ip, Winograd.PadH);
    const x = (tx << 2) - arg(ip, Winograd.PadW);
    for (let c = 0; c < channels; c += LINE) {
      const some = min(LINE, channels - c);
      const plane = image + <usize>n * sample + <usize>c * size;
      for (let k = 0; k < some; k += 4) {
        const from = plane + <usize>k * size;
        inputBlocks(blocks + <usize>(k >> 2) * QUAD, run + 1, from, size, some - k, y, h, x, w, zeros, around);
      }
      // One row of points after the other, so that lines of the cache are full before they leave it.
      for (let i: usize = 0; i < 6; ++i) for (let k = 0; k < some; k += 4) {
        let p = blocks + <usize>(k >> 2) * QUAD + (i << 6);
        const end = p + <usize>run * BLOCK;
        let d0 = v128.load(p);
        let d1 = v128.load(p, 16);
        let d2 = v128.load(p, 32);
        let d3 = v128.load(p, 48);
        let l01 = v128.shuffle<f32>(d0, d1, 0, 4, 1, 5);
        let l23 = v128.shuffle<f32>(d2, d3, 0, 4, 1, 5);
        let h01 = v128.shuffle<f32>(d0, d1, 2, 6, 3, 7);
        let h23 = v128.shuffle<f32>(d2, d3, 2, 6, 3, 7);
        let at = to + <usize>q * row + ((<usize>(c + k)) << 2) + i * 6 * step;
        do {
          p += BLOCK;
          d0 = v128.load(p);
          d1 = v128.load(p, 16);
          d2 = v128.load(p, 32);
          d3 = v128.load(p, 48);
          const n01 = v128.shuffle<f32>(d0, d1, 0, 4, 1, 5);
          const n23 = v128.shuffle<f32>(d2, d3, 0, 4, 1, 5);
          fromInput(
            at,
            step,
            v128.shuffle<f64>(l01, l23, 0, 2),
            v128.shuffle<f64>(l01, l23, 1, 3),
            v128.shuffle<f64>(h01, h23, 0, 2),
            v128.shuffle<f64>(h01, h23, 1, 3),
            v128.shuffle<f64>(n01, n23, 0, 2),
            v128.shuffle<f64>(n01, n23, 1, 3),
          );
          l01 = n01;
          l23 = n23;
          h01 = v128.shuffle<f32>(d0, d1, 2, 6, 3, 7);
          h23 = v128.shuffle<f32>(d2, d3, 2, 6, 3, 7);
          at += row;
        } while (p < end);
      }
    }
    q += run;
  }
}

/** The same of tiles of what comes back from a result: 4x4 elements each, without zeros around. */
export function resultTiles(
  ip: usize,
  image: usize,
  from: i32,
  count: i32,
  to: usize,
  step: usize,
  row: usize,
  scratch: usize,
): void {
  const h = arg(ip, Winograd.OutH);
  const w = arg(ip, Winograd.OutW);
  const size = (<usize>(h * w)) << 2;
  const results = arg(ip, Winograd.Results);
  const cols = tileCols(ip);
  const each = cols * tileRows(ip);
  const block = scratch + BLOCKS;
  const zeros = scratch + 16;
  memory.fill(scratch, 0, BLOCKS);
  for (let q = 0; q < count; ++q) {
    const n = (from + q) / each;
    const place = from + q - n * each;
    const ty = place / cols;
    const y = ty << 2;
    const x = (place - ty * cols) << 2;
    const base = min(x, w - 4);
    const all = order(x - base);
    for (let o = 0; o < results; o += 4) {
      const plane = image + <usize>(n * results + o) * size;
      let p0 = rowAt(plane, y, h, base, w, zeros, Border.Zeros);
      let p1 = rowAt(plane, y + 1, h, base, w, zeros, Border.Zeros);
      let p2 = rowAt(plane, y + 2, h, base, w, zeros, Border.Zeros);
      let p3 = rowAt(plane, y + 3, h, base, w, zeros, Border.Zeros);
      let to4 = block;
      for (let c = 1; c <= 4; ++c) {
        if (base == x) fromResult(to4, 64, v128.load(p0), v128.load(p1), v128.load(p2), v128.load(p3));
        else fromResult(to4, 64, ordered(p0, all), ordered(p1, all), ordered(p2, all), ordered(p3, all));
        to4 += 16;
        if (o + c < results) {
          p0 += size;
          if (p1 != zeros) p1 += size;
          if (p2 != zeros) p2 += size;
          if (p3 != zeros) p3 += size;
        }
      }
      let at = to + <usize>q * row + ((<usize>o) << 2);
      for (let p = block; p != block + BLOCK; p += 64) {
        const d0 = v128.load(p);
        const d1 = v128.load(p, 16);
        const d2 = v128.load(p, 32);
        const d3 = v128.load(p, 48);
        const l01 = v128.shuffle<f32>(d0, d1, 0, 4, 1, 5);
        const l23 = v128.shuffle<f32>(d2, d3, 0, 4, 1, 5);
        const h01 = v128.shuffle<f32>(d0, d1, 2, 6, 3, 7);
        const h23 = v128.shuffle<f32>(d2, d3, 2, 6, 3, 7);
        fromResult(
          at,
          step,
          v128.shuffle<f64>(l01, l23, 0, 2),
          v128.shuffle<f64>(l01, l23, 1, 3),
          v128.shuffle<f64>(h01, h23, 0, 2),
          v128.shuffle<f64>(h01, h23, 1, 3),
        );
        at += 6 * step;
      }
    }
  }
}

/**
 * Values at all points back to tiles of the result, of `results` of its channels from the one at `image` on; added if `add`. They lie
 * as inputTiles leaves them.
 */
export function storeTiles(
  ip: usize,
  image: usize,
  from: i32,
  count: i32,
  results: i32,
  values: usize,
  step: usize,
  row: usize,
  add: bool,
  scratch: usize,
): void {
  const h = arg(ip, Winograd.OutH);
  const w = arg(ip, Winograd.OutW);
  const size = (<usize>(h * w)) << 2;
  const sample = <usize>arg(ip, Winograd.Results) * size;
  const cols = tileCols(ip);
  const each = cols * tileRows(ip);
  for (let q = 0; q < count; ++q) {
    const n = (from + q) / each;
    const place = from + q - n * each;
    const ty = place / cols;
    const tx = place - ty * cols;
    const rows = min(4, h - (ty << 2));
    const some = min(4, w - (tx << 2));
    const corner = image + <usize>n * sample + ((<usize>((ty << 2) * w + (tx << 2))) << 2);
    for (let o = 0; o < results; o += 4) {
      let at = values + <usize>q * row + ((<usize>o) << 2);
      // [4][6]: columns of results, still at the points of the other axis.
      for (let to = scratch; to != scratch + 96; to += 16) {
        let m = at;
        const v0 = v128.load(m);
        const v1 = v128.load((m += 6 * step));
        const v2 = v128.load((m += 6 * step));
        const v3 = v128.load((m += 6 * step));
        const v4 = v128.load((m += 6 * step));
        toResult(to, 96, v0, v1, v2, v3, v4, v128.load(m + 6 * step));
        at += step;
      }
      const planes = results - o;
      let to = corner + <usize>o * size;
      for (let p = scratch; p != scratch + <usize>rows * 96; p += 96) {
        toPlanes(
          to,
          size,
          planes,
          some,
          add,
          v128.load(p),
          v128.load(p, 16),
          v128.load(p, 32),
          v128.load(p, 48),
          v128.load(p, 64),
          v128.load(p, 80),
        );
        to += (<usize>w) << 2;
      }
    }
  }
}

/** Tiles of a product, so that both matrices of all points stay within `bytes`, and its last part is not much smaller than the others. */
export function tilesAtOnce(total: i32, columns: i32, bytes: i32): i32 {
  const most = max(4, min(WinogradTile.Tiles, bytes / (WinogradTile.Points * 4) / columns) & ~3);
  const parts = (total + most - 1) / most;
  return ((total + parts - 1) / max(1, parts) + 3) & ~3;
}
