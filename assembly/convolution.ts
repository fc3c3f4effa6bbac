// Convolutions as matrix products whose panels are gathered: no columns in memory, no copy with zeros around it. What the places
// of a band of the result see is copied to scratch, with zeros around it and between; then the element that a tap of a place sees
// lies at the place's address plus an offset of the tap alone, and a panel is gathered without asking what is outside.
//
// As in gemm, an element is a sum over blocks whose length depends on shapes alone, in order, so it has the same bits wherever
// bands and tiles happen to fall.
import { arg, beat, ptr } from "./simd";
import { Convolution, ConvolutionTile, Scratch } from "./isa";
import { gemmPackA, packColumns } from "./pack";
import { gemmEdge, gemmTiles4x8 } from "./tiles";

/** Scratch: a panel, the offsets of taps, a tile for the edges, the image, the packed other side. */
const OFFSETS: usize = 32768;
const TILE: usize = OFFSETS + ConvolutionTile.Taps * 4;
const IMAGE: usize = TILE + 256;
const A: usize = IMAGE + ConvolutionTile.ImageBytes;
const A_BYTES: i32 = Scratch.Bytes - <i32>A;

/** The elements that one operand has for each place of a channel, or tap of one. */
function volume(ip: usize, first: i32): i32 {
  return arg(ip, first) * arg(ip, first + 1) * arg(ip, first + 2);
}

/** Elements of a line of the image that `cols` places of a row see. */
function width(ip: usize, cols: i32): i32 {
  return (cols - 1) * arg(ip, Convolution.StrideW) + (arg(ip, Convolution.TapsW) - 1) * arg(ip, Convolution.DilationW) + 1;
}

/** Lines of the image that `rows` rows see. */
function height(ip: usize, rows: i32): i32 {
  return (rows - 1) * arg(ip, Convolution.StrideH) + (arg(ip, Convolution.TapsH) - 1) * arg(ip, Convolution.DilationH) + 1;
}

/** Most rows of a plane, and places of a row where a whole one is too much, that so many channels have room for in the image. */
function bandRows(ip: usize, channels: i32): i32 {
  const line = channels * arg(ip, Convolution.TapsD) * width(ip, arg(ip, Convolution.OutW)) * 4;
  const lines = ConvolutionTile.ImageBytes / line - height(ip, 1);
  return lines < 0 ? 0 : lines / arg(ip, Convolution.StrideH) + 1;
}

function bandCols(ip: usize, channels: i32): i32 {
  const line = ConvolutionTile.ImageBytes / (channels * arg(ip, Convolution.TapsD) * height(ip, 1) * 4);
  return (line - width(ip, 1)) / arg(ip, Convolution.StrideW) + 1;
}

/** n elements. */
function copyRow(to: usize, from: usize, n: i32): void {
  for (; n >= 4; n -= 4) {
    v128.store(to, v128.load(from));
    to += 16;
    from += 16;
  }
  for (; n > 0; --n) {
    store<u32>(to, load<u32>(from));
    to += 4;
    from += 4;
  }
}

function zeroRow(to: usize, n: i32): void {
  for (; n >= 4; n -= 4) {
    v128.store(to, i32x4.splat(0));
    to += 16;
  }
  for (; n > 0; --n) {
    store<u32>(to, 0);
    to += 4;
  }
}

/** Which line of an axis of `extent` lies at a place of the axis spread apart; -1 if none does. */
function lineAt(place: i32, spread: i32, extent: i32): i32 {
  if (place < 0) return -1;
  if (spread != 1) {
    if (place % spread != 0) return -1;
    place /= spread;
  }
  return place < extent ? place : -1;
}

/**
 * The image: [channels][TapsD][lines][line] of what `rows` rows from row h of plane d, their `cols` places from w on, see of
 * channels at `from`.
 */
function fillImage(ip: usize, to: usize, from: usize, channels: i32, d: i32, h: i32, rows: i32, w: i32, cols: i32): void {
  const inD = arg(ip, Convolution.InD);
  const inH = arg(ip, Convolution.InH);
  const inW = arg(ip, Convolution.InW);
  const lines = height(ip, rows);
  const line = width(ip, cols);
  const tapsD = arg(ip, Convolution.TapsD);
  const spreadW = arg(ip, Convolution.SpreadW);
  const top = h * arg(ip, Convolution.StrideH) - arg(ip, Convolution.PadH);
  const left = w * arg(ip, Convolution.StrideW) - arg(ip, Convolution.PadW);
  const front = d * arg(ip, Convolution.StrideD) - arg(ip, Convolution.PadD);
  // Elements of the line before the first one of In, and those that are there.
  const before = max(0, min(line, -left));
  const skipped = max(0, left);
  const count = max(0, min(line - before, inW - skipped));
  for (let c = 0; c < channels; ++c) {
    if ((c & 31) == 31) beat();
    for (let t = 0; t < tapsD; ++t) {
      const z = lineAt(front + t * arg(ip, Convolution.DilationD), arg(ip, Convolution.SpreadD), inD);
      for (let r = 0; r < lines; ++r) {
        const y = z < 0 ? -1 : lineAt(top + r, arg(ip, Convolution.SpreadH), inH);
        if (y < 0) zeroRow(to, line);
        else {
          const row = from + ((<usize>((c * inD + z) * inH + y) * <usize>inW) << 2);
          if (spreadW == 1) {
            zeroRow(to, before);
            copyRow(to + ((<usize>before) << 2), row + ((<usize>skipped) << 2), count);
            zeroRow(to + ((<usize>(before + count)) << 2), line - before - count);
          } else {
            zeroRow(to, line);
            for (let x = 0; x < inW; ++x) {
              const at = x * spreadW - left;
              if (at >= 0 && at < line) store<u32>(to + ((<usize>at) << 2), load<u32>(row + ((<usize>x) << 2)));
            }
          }
        }
        to += (<usize>line) << 2;
      }
    }
  }
}

/** Byte offsets in the image of so many taps, counted through all channels; those of channel `first` begin the image. */
function fillOffsets(ip: usize, to: usize, from: i32, count: i32, first: i32, lines: i32, line: i32, turned: bool): void {
  const tapsD = arg(ip, Convolution.TapsD);
  const tapsH = arg(ip, Convolution.TapsH);
  const tapsW = arg(ip, Convolution.TapsW);
  let x = from % tapsW;
  let rest = from / tapsW;
  let y = rest % tapsH;
  rest /= tapsH;
  let z = rest % tapsD;
  let c = rest / tapsD - first;
  const stepH = arg(ip, Convolution.DilationH) * line;
  const stepW = arg(ip, Convolution.DilationW);
  for (let i = 0; i < count; ++i) {
    const tz = turned ? tapsD - 1 - z : z;
    const ty = turned ? tapsH - 1 - y : y;
    const tx = turned ? tapsW - 1 - x : x;
    store<i32>(to, ((c * tapsD + tz) * lines * line + ty * stepH + tx * stepW) << 2);
    to += 4;
    if (++x == tapsW) {
      x = 0;
      if (++y == tapsH) {
        y = 0;
        if (++z == tapsD) {
          z = 0;
          ++c;
        }
      }
    }
  }
}

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
function packKernels(ip: usize, to: usize, g: i32, first: i32, rows: i32, from: i32, kc: i32): void {
  const results = arg(ip, Convolution.Results);
  const channels = arg(ip, Convolution.Channels);
  const taps = volume(ip, Convolution.TapsD);
  const kernels = ptr(ip, Convolution.Kernels);
  if (!arg(ip, Convolution.Adjoint)) {
    const row = <usize>(channels * taps) << 2;
    gemmPackA(to, kernels + <usize>(g * results + first) * row + ((<usize>from) << 2), row, 4, kc, rows);
    return;
  }
  for (let i = 0; i < rows; i += 4) {
    for (let k = 0; k < kc; ) {
      const c = (from + k) / taps;
      const t = from + k - c * taps;
      const run = min(taps - t, kc - k);
      const a = kernels + ((<usize>((g * channels + c) * results + first + i) * <usize>taps + <usize>t) << 2);
      packColumns(to + ((<usize>k) << 4), 16, a, 4, (<usize>taps) << 2, run, rows - i);
      k += run;
    }
    to += (<usize>kc) << 4;
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

export function convolution(ip: usize, begin: i32, end: i32, scratch: usize): void {
  if (arg(ip, Convolution.Direct)) {
    direct(ip, begin, end);
    return;
  }
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
  const samples = arg(ip, Convolution.N);
  const turned = arg(ip, Convolution.Adjoint) != 0;
  const k = channels * taps;
  const depths = (k + ConvolutionTile.Depth - 1) / ConvolutionTile.Depth;
  const depth = ((k + depths - 1) / depths + 3) & ~3;
  const span = min(channels, (depth + taps - 2) / taps + 1);
  const maxRows = bandRows(ip, span);
  const maxCols = maxRows > 0 ? outW : min(outW, bandCols(ip, span));
  const padded = (results + 3) & ~3;
  const together = padded <= A_BYTES / 4 / k;
  const most = together ? padded : (A_BYTES / 4 / depth) & ~3;
  const offsets = scratch + OFFSETS;
  const image = scratch + IMAGE;
  const packed = scratch + A;
  const planeRows = arg(ip, Convolution.OutD) * outH;
  let known: i64 = -1;
  for (let g = 0; g < groups; ++g) {
    if (together)
      for (let p = 0; p < k; p += depth)
        packKernels(ip, packed + ((<usize>(p * padded)) << 2), g, 0, results, p, min(depth, k - p));
    for (let u = begin; u < end; ++u) {
      const piece = u % pieces;
      const from = <i32>((<i64>planeRows * piece) / pieces);
      const to = <i32>((<i64>planeRows * (piece + 1)) / pieces);
      const first = (u / pieces) * block;
      for (let n = first; n < min(first + block, samples); ++n) {
        const source = ptr(ip, Convolution.In) + ((<usize>(n * groups + g) * <usize>(channels * inner)) << 2);
        const target = ptr(ip, Convolution.Out) + ((<usize>(n * groups + g) * <usize>(results * places)) << 2);
        for (let row = from; row < to; ) {
          const d = row / outH;
          const h = row - d * outH;
          const rows = max(1, min(min(maxRows, outH - h), to - row));
          for (let w = 0; w < outW; w += maxCols) {
            const cols = min(maxCols, outW - w);
            const lines = height(ip, rows);
            const line = width(ip, cols);
            const count = rows * cols;
            const out = target + ((<usize>row * <usize>outW + <usize>w) << 2);
            for (let p = 0; p < k; p += depth) {
              beat();
              const kc = min(depth, k - p);
              const c0 = p / taps;
              const c1 = (p + kc + taps - 1) / taps;
              fillImage(ip, image, source + ((<usize>c0 * <usize>inner) << 2), c1 - c0, d, h, rows, w, cols);
              const key = ((<i64>p) << 40) | ((<i64>lines) << 20) | <i64>line;
              if (key != known) fillOffsets(ip, offsets, p, kc, c0, lines, line, turned);
              known = key;
              for (let o = 0; o < results; o += most) {
                const m = min(most, results - o);
                let a = packed + ((<usize>(p * padded)) << 2);
                if (!together) {
                  a = packed;
                  packKernels(ip, a, g, o, m, p, kc);
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
                  const c = out + ((<usize>o * <usize>places + <usize>j) << 2);
                  tilesOf(c, (<usize>places) << 2, a, m, scratch, left, kc, p, scratch + TILE);
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

export function convolutionKernel(ip: usize, begin: i32, end: i32, scratch: usize): void {
  if (arg(ip, Convolution.Direct)) {
    directKernel(ip, begin, end);
    return;
  }
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
  const maxRows = maxCols < outW ? 1 : max(1, min(bandRows(ip, 1), ConvolutionTile.Depth / outW));
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
                fillOffsets(ip, offsets, 0, columns, 0, lines, line, false);
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

/** Element (z, y, x) of the axes of In, as they are spread; 0 outside. */
function seen(ip: usize, source: usize, z: i32, y: i32, x: i32): f64 {
  z = lineAt(z - arg(ip, Convolution.PadD), arg(ip, Convolution.SpreadD), arg(ip, Convolution.InD));
  y = lineAt(y - arg(ip, Convolution.PadH), arg(ip, Convolution.SpreadH), arg(ip, Convolution.InH));
  x = lineAt(x - arg(ip, Convolution.PadW), arg(ip, Convolution.SpreadW), arg(ip, Convolution.InW));
  if ((z | y | x) < 0) return 0;
  const at = (<usize>(z * arg(ip, Convolution.InH) + y) * <usize>arg(ip, Convolution.InW) + <usize>x) << 2;
  return <f64>load<f32>(source + at);
}

/** What `taps` (three axes) of a plane at `kernel` make of place (d, h, w) of a plane of In. */
function planeSum(ip: usize, source: usize, kernel: usize, taps: i32, d: i32, h: i32, w: i32, byTaps: bool): f64 {
  const tapsD = arg(ip, taps);
  const tapsH = arg(ip, taps + 1);
  const tapsW = arg(ip, taps + 2);
  // Places and taps take each other's part where kernels are what is wanted.
  const place = byTaps ? Convolution.DilationD : Convolution.StrideD;
  const tap = byTaps ? Convolution.StrideD : Convolution.DilationD;
  const turned = arg(ip, Convolution.Adjoint) != 0;
  let sum: f64 = 0;
  for (let z = 0; z < tapsD; ++z) {
    for (let y = 0; y < tapsH; ++y) {
      if ((y & 63) == 63) beat();
      for (let x = 0; x < tapsW; ++x) {
        if ((x & 4095) == 4095) beat();
        const e = seen(
          ip,
          source,
          d * arg(ip, place) + (turned ? tapsD - 1 - z : z) * arg(ip, tap),
          h * arg(ip, place + 1) + (turned ? tapsH - 1 - y : y) * arg(ip, tap + 1),
          w * arg(ip, place + 2) + (turned ? tapsW - 1 - x : x) * arg(ip, tap + 2),
        );
        sum += e * <f64>load<f32>(kernel);
        kernel += 4;
      }
    }
  }
  return sum;
}

/** Place by place, in float64. */
function direct(ip: usize, begin: i32, end: i32): void {
  const groups = arg(ip, Convolution.Groups);
  const channels = arg(ip, Convolution.Channels);
  const results = arg(ip, Convolution.Results);
  const taps = volume(ip, Convolution.TapsD);
  const inner = volume(ip, Convolution.InD);
  const outH = arg(ip, Convolution.OutH);
  const outW = arg(ip, Convolution.OutW);
  const block = arg(ip, Convolution.Block);
  const pieces = arg(ip, Convolution.Pieces);
  const planeRows = arg(ip, Convolution.OutD) * outH;
  const adjoint = arg(ip, Convolution.Adjoint) != 0;
  for (let u = begin; u < end; ++u) {
    const piece = u % pieces;
    const from = <i32>((<i64>planeRows * piece) / pieces);
    const to = <i32>((<i64>planeRows * (piece + 1)) / pieces);
    const first = (u / pieces) * block;
    for (let n = first; n < min(first + block, arg(ip, Convolution.N)); ++n) {
      for (let r = 0; r < groups * results; ++r) {
        const g = r / results;
        const source = ptr(ip, Convolution.In) + ((<usize>(n * groups + g) * <usize>(channels * inner)) << 2);
        let out =
          ptr(ip, Convolution.Out) +
          ((<usize>((n * groups * results + r) * planeRows + from) * <usize>outW) << 2);
        for (let row = from; row < to; ++row) {
          for (let w = 0; w < outW; ++w) {
            let sum: f64 = 0;
            for (let c = 0; c < channels; ++c) {
              if ((c & 7) == 0) beat();
              const kernel = adjoint ? (g * channels + c) * results + (r - g * results) : r * channels + c;
              const at = ptr(ip, Convolution.Kernels) + ((<usize>kernel * <usize>taps) << 2);
              const plane = source + ((<usize>c * <usize>inner) << 2);
              sum += planeSum(ip, plane, at, Convolution.TapsD, row / outH, row % outH, w, false);
            }
            store<f32>(out, <f32>sum);
            out += 4;
          }
        }
      }
    }
  }
}

/** Tap by tap, in float64. */
function directKernel(ip: usize, begin: i32, end: i32): void {
  const groups = arg(ip, Convolution.Groups);
  const channels = arg(ip, Convolution.Channels);
  const results = arg(ip, Convolution.Results);
  const tapsH = arg(ip, Convolution.TapsH);
  const tapsW = arg(ip, Convolution.TapsW);
  const taps = volume(ip, Convolution.TapsD);
  const inner = volume(ip, Convolution.InD);
  const places = volume(ip, Convolution.OutD);
  const block = arg(ip, Convolution.Block);
  const pieces = arg(ip, Convolution.Pieces);
  for (let u = begin; u < end; ++u) {
    const piece = u % pieces;
    const from = <i32>((<i64>channels * piece) / pieces);
    const to = <i32>((<i64>channels * (piece + 1)) / pieces);
    const first = (u / pieces) * block;
    const last = min(first + block, arg(ip, Convolution.N));
    for (let r = 0; r < groups * results; ++r) {
      const g = r / results;
      for (let c = from; c < to; ++c) {
        let out =
          ptr(ip, Convolution.Out) +
          ((<usize>(((u / pieces) * groups * results + r) * channels + c) * <usize>taps) << 2);
        for (let t = 0; t < taps; ++t) {
          let sum: f64 = 0;
          for (let n = first; n < last; ++n) {
            beat();
            const source = ptr(ip, Convolution.In) + ((<usize>((n * groups + g) * channels + c) * <usize>inner) << 2);
            const grad = ptr(ip, Convolution.Kernels) + ((<usize>(n * groups * results + r) * <usize>places) << 2);
            const rest = t / tapsW;
            sum += planeSum(ip, source, grad, Convolution.OutD, rest / tapsH, rest % tapsH, t % tapsW, true);
          }
          store<f32>(out, <f32>sum);
          out += 4;
        }
      }
    }
  }
}
