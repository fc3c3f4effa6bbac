// Gradients to 3x3 taps by minimal filtering: products of tiles at each point, summed over tiles; their sums become taps once.
import { Scratch, Winograd, WinogradTile } from "../isa";
import { arg, beat, ptr } from "../simd";
import { gemmTiles4x8 } from "../tiles";
import { inputTiles, pointStep, resultTiles, tileCols, tileRows, TILES_BYTES, tilesAtOnce } from "./tiles";
import { toTaps } from "./transform";

/** Scratch: what tiles need, then the values of both at all points. */
const VALUES: usize = (TILES_BYTES + 63) & ~63;
const LINES: i32 = WinogradTile.Points * 128;

/** Sums [36][..] of results [o][c], `step` bytes from point to point, to taps [o, c, 3, 3] of `left` <= 4 channels c. */
function storeTaps(to: usize, sums: usize, step: usize, left: i32, scratch: usize): void {
  for (let i: usize = 0; i < 6; ++i) {
    const v0 = v128.load(sums);
    const v1 = v128.load((sums += step));
    const v2 = v128.load((sums += step));
    const v3 = v128.load((sums += step));
    const v4 = v128.load((sums += step));
    const v5 = v128.load((sums += step));
    sums += step;
    toTaps(scratch + i * 48, 16, v0, v1, v2, v3, v4, v5);
  }
  for (let x: usize = 0; x < 3; ++x) {
    const p = scratch + (x << 4);
    toTaps(
      scratch + 288 + (x << 4),
      48,
      v128.load(p),
      v128.load(p, 48),
      v128.load(p, 96),
      v128.load(p, 144),
      v128.load(p, 192),
      v128.load(p, 240),
    );
  }
  const taps = scratch + 288;
  for (let j = 0; j < left; ++j) {
    for (let t: usize = 0; t < 9; ++t) store<u32>(to + (t << 2), load<u32>(taps + (t << 4) + ((<usize>j) << 2)));
    to += 36;
  }
}

export function winogradKernel(ip: usize, begin: i32, end: i32, scratch: usize): void {
  const channels = arg(ip, Winograd.Channels);
  const results = arg(ip, Winograd.Results);
  const size = (<usize>(arg(ip, Winograd.InH) * arg(ip, Winograd.InW))) << 2;
  const plane = (<usize>(arg(ip, Winograd.OutH) * arg(ip, Winograd.OutW))) << 2;
  const block = arg(ip, Winograd.Block);
  const pieces = arg(ip, Winograd.Pieces);
  const samples = arg(ip, Winograd.N);
  const each = tileRows(ip) * tileCols(ip);
  const quads = (results + 3) >> 2;
  const backRow = (<usize>quads) << 4;
  const sumRow = (<usize>((channels + 7) & ~7)) << 2;
  const sumStep = <usize>(quads << 2) * sumRow;
  const values = scratch + VALUES;
  for (let u = begin; u < end; ++u) {
    const piece = u % pieces;
    // Whole lines of the sums for each piece.
    const lines = (channels + 15) >> 4;
    const from = ((lines * piece) / pieces) << 4;
    const some = min(channels, ((lines * (piece + 1)) / pieces) << 4) - from;
    if (some <= 0) continue;
    const first = (u / pieces) * block;
    const total = min(block, samples - first) * each;
    const row = (<usize>((some + 7) & ~7)) << 2;
    const most = tilesAtOnce(total, <i32>((row + backRow) >> 2), Scratch.Bytes - <i32>VALUES - 2 * LINES);
    const step = pointStep(most, row);
    const backStep = pointStep(most, backRow);
    const back = values + WinogradTile.Points * step;
    const image = ptr(ip, Winograd.In) + <usize>(first * channels + from) * size;
    const grad = ptr(ip, Winograd.Kernels) + <usize>(first * results) * plane;
    const sums = ptr(ip, Winograd.Sums) + <usize>(u / pieces) * WinogradTile.Points * sumStep + ((<usize>from) << 2);
    for (let q = 0; q < total; q += most) {
      const count = min(most, total - q);
      beat();
      inputTiles(ip, image, q, count, some, values, step, row, scratch);
      resultTiles(ip, grad, q, count, back, backStep, backRow, scratch);
      for (let i = 0; i < WinogradTile.Points; ++i) {
        if ((i & 7) == 7) beat();
        const a = back + <usize>i * backStep;
        let b = values + <usize>i * step;
        let c = sums + <usize>i * sumStep;
        for (let j = 0; j < some; j += 8) {
          gemmTiles4x8(a, backRow, 16, b, row, count, c, sumRow, q, quads);
          b += 32;
          c += 32;
        }
      }
    }
    let target = ptr(ip, Winograd.Out) + (<usize>((u / pieces) * results) * <usize>channels + <usize>from) * 36;
    for (let o = 0; o < results; ++o) {
      beat();
      for (let c = 0; c < some; c += 4)
        storeTaps(
          target + <usize>c * 36,
          sums + <usize>o * sumRow + ((<usize>c) << 2),
          sumStep,
          min(4, some - c),
          scratch,
        );
      target += (<usize>channels) * 36;
    }
  }
}
