// Convolutions by 3x3 taps with stride 1 by minimal filtering: with tiles of 4x4, a quarter of the multiplications.
import { Scratch, Winograd, WinogradTaps, WinogradTile } from "../isa";
import { arg, beat, ptr } from "../simd";
import { gemmRows4x8 } from "../tiles";
import { inputTiles, pointStep, storeTiles, tileCols, tileRows, TILES_BYTES, tilesAtOnce } from "./tiles";
import { fromTaps } from "./transform";

/** Scratch: what tiles need, then the values of tiles at all points, then those of results. */
const VALUES: usize = (TILES_BYTES + 63) & ~63;
const LINES: i32 = WinogradTile.Points * 128;
const HALF: i32 = ((Scratch.Bytes - <i32>VALUES) / 2 - LINES) & ~63;

export function winograd(ip: usize, begin: i32, end: i32, scratch: usize): void {
  const channels = arg(ip, Winograd.Channels);
  const results = arg(ip, Winograd.Results);
  const size = (<usize>(arg(ip, Winograd.InH) * arg(ip, Winograd.InW))) << 2;
  const plane = (<usize>(arg(ip, Winograd.OutH) * arg(ip, Winograd.OutW))) << 2;
  const block = arg(ip, Winograd.Block);
  const pieces = arg(ip, Winograd.Pieces);
  const samples = arg(ip, Winograd.N);
  const rows = tileRows(ip);
  const cols = tileCols(ip);
  const panels = (results + 7) >> 3;
  const tapsStep = pointStep(panels * channels, 32);
  const values = scratch + VALUES;
  // Blocks of the sum: as long as each other.
  const depths = (channels + WinogradTile.Channels - 1) / WinogradTile.Channels;
  const depth = min(channels, ((channels + depths - 1) / depths + 3) & ~3);
  const row = (<usize>((depth + 7) & ~7)) << 2;
  for (let u = begin; u < end; ++u) {
    const first = (u / pieces) * block;
    const piece = u % pieces;
    const from = ((rows * piece) / pieces) * cols;
    const to = pieces == 1 ? min(block, samples - first) * rows * cols : ((rows * (piece + 1)) / pieces) * cols;
    const most = tilesAtOnce(to - from, <i32>(row >> 2), HALF);
    const step = pointStep(most, row);
    const wide = min(panels, HALF / (WinogradTile.Points * 32) / most);
    const outRow = (<usize>wide) << 5;
    const outStep = pointStep(most, outRow);
    const products = values + WinogradTile.Points * step;
    const image = ptr(ip, Winograd.In) + <usize>first * <usize>channels * size;
    const target = ptr(ip, Winograd.Out) + <usize>first * <usize>results * plane;
    for (let q = from; q < to; q += most) {
      const count = min(most, to - q);
      for (let c = 0; c < channels; c += depth) {
        const kc = min(depth, channels - c);
        beat();
        inputTiles(ip, image + <usize>c * size, q, count, kc, values, step, row, scratch);
        for (let o = 0; o < panels; o += wide) {
          const some = min(wide, panels - o);
          beat();
          for (let i = 0; i < WinogradTile.Points; ++i) {
            let kernels =
              ptr(ip, Winograd.Kernels) + <usize>i * tapsStep + ((<usize>(o * channels + c)) << 5);
            let product = products + <usize>i * outStep;
            for (let p = 0; p < some; ++p) {
              gemmRows4x8(values + <usize>i * step, row, 4, 4, kernels, 32, kc, product, outRow, 0, (count + 3) >> 2, false);
              kernels += (<usize>channels) << 5;
              product += 32;
            }
          }
          storeTiles(
            ip,
            target + ((<usize>o) << 3) * plane,
            q,
            count,
            min(some << 3, results - (o << 3)),
            products,
            outStep,
            outRow,
            c > 0,
            scratch,
          );
        }
      }
    }
  }
}

/** Kernels at all points, in panels as gemmRows4x8 reads them. */
export function winogradTaps(ip: usize, begin: i32, end: i32, scratch: usize): void {
  const channels = arg(ip, WinogradTaps.Channels);
  const results = arg(ip, WinogradTaps.Results);
  const adjoint = arg(ip, WinogradTaps.Adjoint) != 0;
  const panels = (results + 7) >> 3;
  const point = pointStep(panels * channels, 32);
  const between: usize = adjoint ? 36 : (<usize>channels) * 36;
  for (let u = begin; u < end; ++u) {
    for (let c = 0; c < channels; ++c) {
      if ((c & 255) == 255) beat();
      let to = ptr(ip, WinogradTaps.Out) + ((<usize>(u * channels + c)) << 5);
      for (let o = u << 3; o < (u << 3) + 8; o += 4) {
        const taps = ptr(ip, WinogradTaps.Taps) + <usize>(adjoint ? c * results + o : o * channels + c) * 36;
        const left = min(4, results - o);
        // Nine taps of four results, side by side; results beyond the last are zeros.
        for (let t: usize = 0; t < 9; ++t) {
          const place = scratch + ((adjoint ? 8 - t : t) << 4);
          v128.store(place, i32x4.splat(0));
          for (let j = 0; j < left; ++j)
            store<u32>(place + ((<usize>j) << 2), load<u32>(taps + <usize>j * between + (t << 2)));
        }
        for (let x: usize = 0; x < 3; ++x) {
          const p = scratch + (x << 4);
          fromTaps(scratch + 256 + (x << 4), 48, v128.load(p), v128.load(p, 48), v128.load(p, 96));
        }
        for (let i: usize = 0; i < 6; ++i) {
          const p = scratch + 256 + i * 48;
          fromTaps(to + i * 6 * point, point, v128.load(p), v128.load(p, 16), v128.load(p, 32));
        }
        to += 16;
      }
    }
  }
}
