// Images as tiles and back. Four channels lie side by side in a vector, so that transforms need no shuffles, and the values of a
// tile at one point, [channels], are a row of a matrix as the product wants it, for its sum over channels or over tiles.
import { Winograd, WinogradTile } from "../isa";
import { arg, storeUpTo } from "../simd";
import { fromInput, fromResult, toResult } from "./transform";

/** Tiles along a row, and channels, that are worked on together: their 16 channels are a line of the cache. */
const RUN: i32 = 8;
const QUADS: i32 = 4;
/** Scratch: 6 rows of 4 elements; then of each quad of channels the columns of a run, [4 RUN + 4][6]. */
const COLUMNS: usize = 512;
const QUAD: usize = (RUN * 4 + 4) * 96;
/** Bytes of scratch in all. */
export const TILES_BYTES: usize = COLUMNS + QUAD * QUADS;

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

/** Four vectors, turned: vector i of the result has element i of each. */
// @ts-ignore: decorator
@inline
export function storeTurned(to: usize, v0: v128, v1: v128, v2: v128, v3: v128): void {
  const l01 = v128.shuffle<f32>(v0, v1, 0, 4, 1, 5);
  const l23 = v128.shuffle<f32>(v2, v3, 0, 4, 1, 5);
  const h01 = v128.shuffle<f32>(v0, v1, 2, 6, 3, 7);
  const h23 = v128.shuffle<f32>(v2, v3, 2, 6, 3, 7);
  v128.store(to, v128.shuffle<f64>(l01, l23, 0, 2));
  v128.store(to, v128.shuffle<f64>(l01, l23, 1, 3), 16);
  v128.store(to, v128.shuffle<f64>(h01, h23, 0, 2), 32);
  v128.store(to, v128.shuffle<f64>(h01, h23, 1, 3), 48);
}

/**
 * Elements x to x + 3 of rows y to y + rows - 1 of four planes, zeros outside, [rows][4][planes]. Beyond `planes` of them, the last
 * one stands in.
 */
function loadBlock(to: usize, plane: usize, size: usize, planes: i32, y: i32, rows: i32, h: i32, x: i32, w: i32): void {
  const base = max(0, min(x, w - 4));
  const shift = x - base;
  const outside = shift <= -4 || shift >= 4;
  const order = i8x16.add(i8x16(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15), i8x16.splat(<i8>(shift << 2)));
  const d1 = planes > 1 ? size : 0;
  const d2 = planes > 2 ? d1 + size : d1;
  const d3 = planes > 3 ? d2 + size : d2;
  for (const last = y + rows; y < last; ++y) {
    if (outside || y < 0 || y >= h) {
      const zero = i32x4.splat(0);
      v128.store(to, zero);
      v128.store(to, zero, 16);
      v128.store(to, zero, 32);
      v128.store(to, zero, 48);
    } else {
      const p = plane + ((<usize>(y * w + base)) << 2);
      let v0 = v128.load(p);
      let v1 = v128.load(p + d1);
      let v2 = v128.load(p + d2);
      let v3 = v128.load(p + d3);
      if (shift) {
        v0 = i8x16.swizzle(v0, order);
        v1 = i8x16.swizzle(v1, order);
        v2 = i8x16.swizzle(v2, order);
        v3 = i8x16.swizzle(v3, order);
      }
      storeTurned(to, v0, v1, v2, v3);
    }
    to += 64;
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
  const size = (<usize>(h * w)) << 2;
  const sample = <usize>arg(ip, Winograd.Channels) * size;
  const cols = tileCols(ip);
  const each = cols * tileRows(ip);
  for (let q = 0; q < count; ) {
    const n = (from + q) / each;
    const place = from + q - n * each;
    const ty = place / cols;
    const tx = place - ty * cols;
    const run = min(min(RUN, cols - tx), count - q);
    const y = (ty << 2) - arg(ip, Winograd.PadH);
    const x = (tx << 2) - arg(ip, Winograd.PadW);
    for (let c = 0; c < channels; c += QUADS << 2) {
      const quads = min(QUADS, (channels - c + 3) >> 2);
      for (let k = 0; k < quads; ++k) {
        const first = c + (k << 2);
        const plane = image + <usize>n * sample + <usize>first * size;
        let column = scratch + COLUMNS + <usize>k * QUAD;
        for (let b = 0; b <= run; ++b) {
          loadBlock(scratch, plane, size, channels - first, y, 6, h, x + (b << 2), w);
          for (let p = scratch; p != scratch + 64; p += 16) {
            fromInput(
              column,
              16,
              v128.load(p),
              v128.load(p, 64),
              v128.load(p, 128),
              v128.load(p, 192),
              v128.load(p, 256),
              v128.load(p, 320),
            );
            column += 96;
          }
        }
      }
      for (let t = 0; t < run; ++t) {
        let target = to + <usize>(q + t) * row + ((<usize>c) << 2);
        let p = scratch + COLUMNS + <usize>t * 384;
        for (let k = 0; k < quads; ++k) {
          let at = target;
          for (let i = 0; i < 6; ++i) {
            fromInput(
              at,
              step,
              v128.load(p),
              v128.load(p, 96),
              v128.load(p, 192),
              v128.load(p, 288),
              v128.load(p, 384),
              v128.load(p, 480),
            );
            at += 6 * step;
            p += 16;
          }
          target += 16;
          p += QUAD - 96;
        }
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
  const columns = scratch + COLUMNS;
  for (let q = 0; q < count; ++q) {
    const n = (from + q) / each;
    const place = from + q - n * each;
    const ty = place / cols;
    const tx = place - ty * cols;
    for (let o = 0; o < results; o += 4) {
      const plane = image + <usize>(n * results + o) * size;
      loadBlock(scratch, plane, size, results - o, ty << 2, 4, h, tx << 2, w);
      for (let x: usize = 0; x < 4; ++x) {
        const p = scratch + (x << 4);
        fromResult(columns + x * 96, 16, v128.load(p), v128.load(p, 64), v128.load(p, 128), v128.load(p, 192));
      }
      let at = to + <usize>q * row + ((<usize>o) << 2);
      for (let p = columns; p != columns + 96; p += 16) {
        fromResult(at, step, v128.load(p), v128.load(p, 96), v128.load(p, 192), v128.load(p, 288));
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
  const turned = scratch + 448;
  const block = scratch + COLUMNS;
  for (let q = 0; q < count; ++q) {
    const n = (from + q) / each;
    const place = from + q - n * each;
    const ty = place / cols;
    const tx = place - ty * cols;
    const rows = min(4, h - (ty << 2));
    const some = min(4, w - (tx << 2));
    const corner = image + <usize>n * sample + ((<usize>((ty << 2) * w + (tx << 2))) << 2);
    for (let o = 0; o < results; o += 4) {
      let m = values + <usize>q * row + ((<usize>o) << 2);
      for (let i: usize = 0; i < 6; ++i) {
        const v0 = v128.load(m);
        const v1 = v128.load((m += step));
        const v2 = v128.load((m += step));
        const v3 = v128.load((m += step));
        const v4 = v128.load((m += step));
        const v5 = v128.load((m += step));
        m += step;
        toResult(scratch + (i << 6), 16, v0, v1, v2, v3, v4, v5);
      }
      for (let p = scratch, to = block; p != scratch + 64; p += 16, to += 16)
        toResult(
          to,
          64,
          v128.load(p),
          v128.load(p, 64),
          v128.load(p, 128),
          v128.load(p, 192),
          v128.load(p, 256),
          v128.load(p, 320),
        );
      const planes = min(4, results - o);
      for (let y = 0; y < rows; ++y) {
        const p = block + ((<usize>y) << 6);
        storeTurned(turned, v128.load(p), v128.load(p, 16), v128.load(p, 32), v128.load(p, 48));
        let to = corner + <usize>o * size + ((<usize>(y * w)) << 2);
        for (let k = 0; k < planes; ++k) {
          let v = v128.load(turned + ((<usize>k) << 4));
          if (add) {
            if (some == 4) v = f32x4.add(v, v128.load(to));
            else {
              for (let x: usize = 0; x < <usize>some; ++x) {
                const e = turned + ((<usize>k) << 4) + (x << 2);
                store<f32>(e, load<f32>(e) + load<f32>(to + (x << 2)));
              }
              v = v128.load(turned + ((<usize>k) << 4));
            }
          }
          storeUpTo(to, v, some);
          to += size;
        }
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
