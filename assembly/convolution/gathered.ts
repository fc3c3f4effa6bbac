// Convolutions as matrix products whose panels are gathered: no columns in memory, no copy with zeros around it. What the places
// of a band of the result see is copied to scratch, with zeros around it and between; then the element that a tap of a place sees
// lies at the place's address plus an offset of the tap alone, and a panel is gathered without asking what is outside.
//
// As in gemm, an element is a sum over blocks whose length depends on shapes alone, in order, so it has the same bits wherever
// bands and tiles happen to fall.
import { arg, beat, ptr } from "../simd";
import { Convolution, ConvolutionTile, Scratch } from "../isa";
import { bandCols, bandRows, fillImage, fillOffsets, height, imageOffsets, kernelOf, placeOf, volume, width } from "./image";
import { gemmPackA, packColumns } from "../pack";
import { gemmEdge, gemmTiles4x8 } from "../tiles";

/** Scratch: a panel, tiles whose places lie apart and the offsets of these, the offsets of taps in the image and in kernels, a tile for the edges, the image, the packed other side. */
const APART: usize = 16384;
const APART_ROWS: i32 = 256;
const PLACES: usize = APART + APART_ROWS * 32;
const OFFSETS: usize = 32768;
const KERNEL_OFFSETS: usize = OFFSETS + ConvolutionTile.Depth * 4;
const TILE: usize = OFFSETS + ConvolutionTile.Taps * 4;
const IMAGE: usize = TILE + 256;
const A: usize = IMAGE + ConvolutionTile.ImageBytes + 64;
const A_BYTES: i32 = Scratch.Bytes - <i32>A;

/** The address in the image of place j of a band. */
// @ts-ignore: decorator
@inline
function placeAt(image: usize, j: i32, cols: i32, rowStep: i32, step: i32): usize {
  const r = j / cols;
  return image + <usize>(r * rowStep + (j - r * cols) * step);
}

/** A panel of what 8 places from j on see through kc taps, [kc][8]; of fewer places, `left`, the last one stands in. */
function packPlaces(
  to: usize,
  offsets: usize,
  kc: i32,
  image: usize,
  j: i32,
  left: i32,
  cols: i32,
  rowStep: i32,
  step: i32,
): void {
  for (let half = 0; half < 8; half += 4) {
    const last = j + left - 1;
    const p0 = placeAt(image, min(j + half, last), cols, rowStep, step);
    const p1 = placeAt(image, min(j + half + 1, last), cols, rowStep, step);
    const p2 = placeAt(image, min(j + half + 2, last), cols, rowStep, step);
    const p3 = placeAt(image, min(j + half + 3, last), cols, rowStep, step);
    let at = to + ((<usize>half) << 2);
    let offset = offsets;
    const end = offsets + ((<usize>kc) << 2);
    if (p3 - p0 == 12 && p1 - p0 == 4 && p2 - p0 == 8) {
      for (; offset != end; offset += 4) {
        v128.store(at, v128.load(p0 + load<u32>(offset)));
        at += 32;
      }
    } else if (p3 - p0 == 24 && p1 - p0 == 8 && p2 - p0 == 16) {
      for (; offset != end; offset += 4) {
        const p = p0 + load<u32>(offset);
        v128.store(at, v128.shuffle<f32>(v128.load(p), v128.load(p, 12), 0, 2, 5, 7));
        at += 32;
      }
    } else {
      for (; offset != end; offset += 4) {
        const o: usize = load<u32>(offset);
        store<u32>(at, load<u32>(p0 + o));
        store<u32>(at, load<u32>(p1 + o), 4);
        store<u32>(at, load<u32>(p2 + o), 8);
        store<u32>(at, load<u32>(p3 + o), 12);
        at += 32;
      }
    }
  }
}

/** Panels of 4 results each, [kc][4], of the kernels' taps from `from` on, counted through all channels. */
function packKernels(ip: usize, to: usize, g: i32, first: i32, rows: i32, from: i32, kc: i32, offsets: usize): void {
  const row = <usize>(arg(ip, Convolution.KernelResult) << 2);
  fillOffsets(
    ip,
    offsets,
    from,
    kc,
    0,
    arg(ip, Convolution.KernelChannel),
    arg(ip, Convolution.KernelStepD),
    arg(ip, Convolution.KernelStepH),
    arg(ip, Convolution.KernelStepW),
  );
  const a = kernelOf(ip, g, first, 0);
  const end = offsets + ((<usize>kc) << 2);
  // Taps as they lie, one after the other.
  if (load<i32>(end - 4) - load<i32>(offsets) == (kc - 1) << 2 && arg(ip, Convolution.KernelStepW) >= 0) {
    gemmPackA(to, a + load<u32>(offsets), row, 4, kc, rows);
    return;
  }
  for (let i = 0; i < rows; i += 4) {
    const p0 = a + <usize>i * row;
    const p1 = i + 1 < rows ? p0 + row : p0;
    const p2 = i + 2 < rows ? p1 + row : p1;
    const p3 = i + 3 < rows ? p2 + row : p2;
    for (let o = offsets; o != end; o += 4) {
      const at: usize = load<u32>(o);
      store<u32>(to, load<u32>(p0 + at));
      store<u32>(to, load<u32>(p1 + at), 4);
      store<u32>(to, load<u32>(p2 + at), 8);
      store<u32>(to, load<u32>(p3 + at), 12);
      to += 16;
    }
  }
}

/** Tiles of `rows` rows of C and one panel of 8 columns, of which `cols` count. */
function tilesOf(c: usize, cRow: usize, a: usize, rows: i32, panel: usize, cols: i32, kc: i32, add: i32, tile: usize): void {
  const whole = cols >= 8 ? rows >> 2 : 0;
  if (whole) gemmTiles4x8(a, 16, (<usize>kc) << 4, panel, 32, kc, c, cRow, add, whole);
  for (let i = whole << 2; i < rows; i += 4) {
    gemmTiles4x8(a + <usize>i * ((<usize>kc) << 2), 16, 0, panel, 32, kc, tile, 32, 0, 1);
    gemmEdge(c + <usize>i * cRow, cRow, tile, 32, min(rows - i, 4), min(cols, 8), add);
  }
}

/** The offsets of places j to j + 7 from the first one of a band; the last of `left` stands in for others. */
function fillPlaces(to: usize, j: i32, left: i32, cols: i32, rowStep: i32, step: i32): void {
  for (let x = 0; x < 8; ++x) store<u32>(to + ((<usize>x) << 2), <u32>placeAt(0, j + min(x, left - 1), cols, rowStep, step));
}

/** The same tiles where the places of a row or band do not lie side by side: to `apart`, and from there to the places. */
function tilesApart(
  c: usize,
  cRow: usize,
  a: usize,
  rows: i32,
  panel: usize,
  places: usize,
  left: i32,
  kc: i32,
  add: i32,
  apart: usize,
): void {
  const p0 = load<u32>(places);
  const p1 = load<u32>(places, 4);
  const p2 = load<u32>(places, 8);
  const p3 = load<u32>(places, 12);
  const p4 = load<u32>(places, 16);
  const p5 = load<u32>(places, 20);
  const p6 = load<u32>(places, 24);
  const p7 = load<u32>(places, 28);
  for (let i = 0; i < rows; i += APART_ROWS) {
    const some = min(APART_ROWS, rows - i);
    gemmTiles4x8(a, 16, (<usize>kc) << 4, panel, 32, kc, apart, 32, 0, (some + 3) >> 2);
    a += (<usize>(APART_ROWS * kc)) << 2;
    for (let from = apart, end = apart + ((<usize>some) << 5); from != end; from += 32) {
      if (left == 8 && !add) {
        const v0 = v128.load(from);
        const v1 = v128.load(from, 16);
        v128.store_lane<u32>(c + p0, v0, 0);
        v128.store_lane<u32>(c + p1, v0, 1);
        v128.store_lane<u32>(c + p2, v0, 2);
        v128.store_lane<u32>(c + p3, v0, 3);
        v128.store_lane<u32>(c + p4, v1, 0);
        v128.store_lane<u32>(c + p5, v1, 1);
        v128.store_lane<u32>(c + p6, v1, 2);
        v128.store_lane<u32>(c + p7, v1, 3);
      } else {
        for (let x: usize = 0; x < (<usize>left) << 2; x += 4) {
          const to = c + load<u32>(places + x);
          const v = load<f32>(from + x);
          store<f32>(to, add ? load<f32>(to) + v : v);
        }
      }
      c += cRow;
    }
  }
}

/** Zeros at all places of some rows of a result, if there is nothing to be summed. */
function zeros(ip: usize, plane: i32, results: i32, from: i32, to: i32): void {
  const outH = arg(ip, Convolution.OutH);
  const outW = arg(ip, Convolution.OutW);
  const step = (<usize>arg(ip, Convolution.OutStepW)) << 2;
  for (let o = 0; o < results; ++o) {
    beat();
    for (let row = from; row < to; ++row) {
      const d = row / outH;
      let at = placeOf(ip, plane + o, d, row - d * outH, 0);
      for (let w = 0; w < outW; ++w, at += step) store<u32>(at, 0);
    }
  }
}

export function gathered(ip: usize, begin: i32, end: i32, scratch: usize): void {
  const groups = arg(ip, Convolution.Groups);
  const channels = arg(ip, Convolution.Channels);
  const results = arg(ip, Convolution.Results);
  const taps = volume(ip, Convolution.TapsD);
  const inner = volume(ip, Convolution.InD);
  const outH = arg(ip, Convolution.OutH);
  const outW = arg(ip, Convolution.OutW);
  const block = arg(ip, Convolution.Block);
  const more = arg(ip, Convolution.Add);
  const pieces = arg(ip, Convolution.Pieces);
  const samples = arg(ip, Convolution.N);
  const k = channels * taps;
  const depths = (k + ConvolutionTile.Depth - 1) / ConvolutionTile.Depth;
  const depth = max(4, ((k + depths - 1) / max(1, depths) + 3) & ~3);
  const span = max(1, min(channels, (depth + taps - 2) / taps + 1));
  const maxRows = bandRows(ip, span, outW);
  const maxCols = maxRows > 0 ? outW : min(outW, bandCols(ip, span));
  const padded = (results + 3) & ~3;
  const together = padded <= A_BYTES / 4 / max(1, k);
  const most = together ? padded : (A_BYTES / 4 / depth) & ~3;
  const offsets = scratch + OFFSETS;
  const kernelOffsets = scratch + KERNEL_OFFSETS;
  const image = scratch + IMAGE;
  const packed = scratch + A;
  const planeRows = arg(ip, Convolution.OutD) * outH;
  const outPlane = ptr(ip, Convolution.OutPlane) << 2;
  const outRow = arg(ip, Convolution.OutStepH) << 2;
  const outStep = arg(ip, Convolution.OutStepW) << 2;
  // Places of a band that lie side by side in the result.
  const dense = outStep == 4 && (outRow == outW << 2 || maxRows == 1 || maxRows == 0);
  let known: i64 = -1;
  for (let g = 0; g < groups; ++g) {
    if (together)
      for (let p = 0; p < k; p += depth)
        packKernels(ip, packed + ((<usize>(p * padded)) << 2), g, 0, results, p, min(depth, k - p), kernelOffsets);
    for (let u = begin; u < end; ++u) {
      const piece = u % pieces;
      const from = <i32>((<i64>planeRows * piece) / pieces);
      const to = <i32>((<i64>planeRows * (piece + 1)) / pieces);
      const first = (u / pieces) * block;
      for (let n = first; n < min(first + block, samples); ++n) {
        const source = ptr(ip, Convolution.In) + ((<usize>(n * groups + g) * <usize>(channels * inner)) << 2);
        if (k == 0) zeros(ip, (n * groups + g) * results, results, from, to);
        for (let row = k == 0 ? to : from; row < to; ) {
          const d = row / outH;
          const h = row - d * outH;
          const rows = max(1, min(min(maxRows, outH - h), to - row));
          for (let w = 0; w < outW; w += maxCols) {
            const cols = min(maxCols, outW - w);
            const lines = height(ip, rows);
            const line = width(ip, cols);
            const count = rows * cols;
            const out = placeOf(ip, (n * groups + g) * results, d, h, w);
            for (let p = 0; p < k; p += depth) {
              beat();
              const kc = min(depth, k - p);
              const c0 = p / taps;
              const c1 = (p + kc + taps - 1) / taps;
              fillImage(ip, image, source + ((<usize>c0 * <usize>inner) << 2), c1 - c0, d, h, rows, w, cols);
              const key = ((<i64>p) << 40) | ((<i64>lines) << 20) | <i64>line;
              if (key != known) imageOffsets(ip, offsets, p, kc, c0, lines, line);
              known = key;
              for (let o = 0; o < results; o += most) {
                const m = min(most, results - o);
                let a = packed + ((<usize>(p * padded)) << 2);
                if (!together) {
                  a = packed;
                  packKernels(ip, a, g, o, m, p, kc, kernelOffsets);
                }
                for (let j = 0; j < count; j += 8) {
                  if ((j & 127) == 120) beat();
                  const left = min(8, count - j);
                  packPlaces(
                    scratch,
                    offsets,
                    kc,
                    image,
                    j,
                    left,
                    cols,
                    (arg(ip, Convolution.StrideH) * line) << 2,
                    arg(ip, Convolution.StrideW) << 2,
                  );
                  const c = out + <usize>o * outPlane;
                  if (dense) tilesOf(c + ((<usize>j) << 2), outPlane, a, m, scratch, left, kc, p | more, scratch + TILE);
                  else {
                    fillPlaces(scratch + PLACES, j, left, cols, outRow, outStep);
                    tilesApart(c, outPlane, a, m, scratch, scratch + PLACES, left, kc, p | more, scratch + APART);
                  }
                }
              }
            }
          }
          row += rows;
        }
      }
    }
  }
}

/** One half of a panel: what 4 taps see at the places of a band, [places][8]. */
function packTaps(
  to: usize,
  p0: usize,
  p1: usize,
  p2: usize,
  p3: usize,
  rows: i32,
  cols: i32,
  rowStep: i32,
  step: i32,
): void {
  for (let r = 0; r < rows; ++r) {
    let x = 0;
    let at: usize = 0;
    if (step == 4) {
      for (; x + 4 <= cols; x += 4) {
        const r0 = v128.load(p0 + at);
        const r1 = v128.load(p1 + at);
        const r2 = v128.load(p2 + at);
        const r3 = v128.load(p3 + at);
        const l01 = v128.shuffle<f32>(r0, r1, 0, 4, 1, 5);
        const l23 = v128.shuffle<f32>(r2, r3, 0, 4, 1, 5);
        const h01 = v128.shuffle<f32>(r0, r1, 2, 6, 3, 7);
        const h23 = v128.shuffle<f32>(r2, r3, 2, 6, 3, 7);
        v128.store(to, v128.shuffle<f64>(l01, l23, 0, 2));
        v128.store(to, v128.shuffle<f64>(l01, l23, 1, 3), 32);
        v128.store(to, v128.shuffle<f64>(h01, h23, 0, 2), 64);
        v128.store(to, v128.shuffle<f64>(h01, h23, 1, 3), 96);
        to += 128;
        at += 16;
      }
    }
    for (; x < cols; ++x) {
      store<u32>(to, load<u32>(p0 + at));
      store<u32>(to, load<u32>(p1 + at), 4);
      store<u32>(to, load<u32>(p2 + at), 8);
      store<u32>(to, load<u32>(p3 + at), 12);
      to += 32;
      at += <usize>step;
    }
    p0 += <usize>rowStep;
    p1 += <usize>rowStep;
    p2 += <usize>rowStep;
    p3 += <usize>rowStep;
  }
}

export function gatheredKernel(ip: usize, begin: i32, end: i32, scratch: usize): void {
  const groups = arg(ip, Convolution.Groups);
  const channels = arg(ip, Convolution.Channels);
  const results = arg(ip, Convolution.Results);
  const taps = volume(ip, Convolution.TapsD);
  const inner = volume(ip, Convolution.InD);
  const places = volume(ip, Convolution.OutD);
  const outH = arg(ip, Convolution.OutH);
  const outW = arg(ip, Convolution.OutW);
  const block = arg(ip, Convolution.Block);
  const pieces = arg(ip, Convolution.Pieces);
  const planeRows = arg(ip, Convolution.OutD) * outH;
  const maxCols = min(outW, min(ConvolutionTile.Depth, max(1, bandCols(ip, 1))));
  const maxRows = maxCols < outW ? 1 : max(1, min(bandRows(ip, 1, outW), ConvolutionTile.Depth / outW));
  const row32 = (<usize>places) << 2;
  const cRow = (<usize>(channels * taps)) << 2;
  const offsets = scratch + OFFSETS;
  const image = scratch + IMAGE;
  const packed = scratch + A;
  for (let u = begin; u < end; ++u) {
    const piece = u % pieces;
    const from = <i32>((<i64>channels * piece) / pieces);
    const to = <i32>((<i64>channels * (piece + 1)) / pieces);
    const first = (u / pieces) * block;
    const last = min(first + block, arg(ip, Convolution.N));
    for (let g = 0; g < groups; ++g) {
      const target =
        ptr(ip, Convolution.Out) + <usize>(((u / pieces) * groups + g) * results) * cRow;
      for (let n = first; n < last; ++n) {
        const source = ptr(ip, Convolution.In) + ((<usize>(n * groups + g) * <usize>(channels * inner)) << 2);
        const grad = ptr(ip, Convolution.Kernels) + <usize>((n * groups + g) * results) * row32;
        for (let row = 0; row < planeRows; ) {
          const d = row / outH;
          const h = row - d * outH;
          const rows = min(maxRows, outH - h);
          for (let w = 0; w < outW; w += maxCols) {
            const cols = min(maxCols, outW - w);
            const count = rows * cols;
            const lines = height(ip, rows);
            const line = width(ip, cols);
            const add = <i32>(n > first || row > 0 || w > 0);
            const chunk = max(1, min(ConvolutionTile.Taps / taps, ConvolutionTile.ImageBytes / 4 / (arg(ip, Convolution.TapsD) * lines * line)));
            const most = (A_BYTES / 4 / count) & ~3;
            for (let o = 0; o < results; o += most) {
              const m = min(most, results - o);
              gemmPackA(packed, grad + <usize>o * row32 + ((<usize>row * <usize>outW + <usize>w) << 2), row32, 4, count, m);
              for (let c = from; c < to; c += chunk) {
                beat();
                const some = min(chunk, to - c);
                fillImage(ip, image, source + ((<usize>c * <usize>inner) << 2), some, d, h, rows, w, cols);
                const columns = some * taps;
                imageOffsets(ip, offsets, 0, columns, 0, lines, line);
                for (let j = 0; j < columns; j += 8) {
                  if ((j & 127) == 120) beat();
                  for (let half = 0; half < 8; half += 4) {
                    const p0 = image + load<u32>(offsets + ((<usize>min(j + half, columns - 1)) << 2));
                    const p1 = image + load<u32>(offsets + ((<usize>min(j + half + 1, columns - 1)) << 2));
                    const p2 = image + load<u32>(offsets + ((<usize>min(j + half + 2, columns - 1)) << 2));
                    const p3 = image + load<u32>(offsets + ((<usize>min(j + half + 3, columns - 1)) << 2));
                    packTaps(
                      scratch + ((<usize>half) << 2),
                      p0,
                      p1,
                      p2,
                      p3,
                      rows,
                      cols,
                      (arg(ip, Convolution.StrideH) * line) << 2,
                      arg(ip, Convolution.StrideW) << 2,
                    );
                  }
                  const at = target + <usize>o * cRow + ((<usize>(c * taps + j)) << 2);
                  tilesOf(at, cRow, packed, m, scratch, min(8, columns - j), count, add, scratch + TILE);
                }
              }
            }
          }
          row += rows;
        }
      }
    }
  }
}
