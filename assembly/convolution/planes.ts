// Convolutions of few channels of a group by few results, such as depthwise ones: each plane of the result is a sum of shifted
// planes of the image, vector by vector. Tiles of a product would be almost empty.
import { Convolution, ConvolutionTile } from "../isa";
import { arg, beat, loadUpTo, madd, ptr, storeUpTo } from "../simd";
import { bandRows, fillImage, fillOffsets, height, imageOffsets, kernelOf, placeOf, volume, width } from "./image";
import { seen, together } from "./taps";

/** Scratch: offsets of taps in the image and in kernels, a result's taps, the image, rows of sums. */
const OFFSETS: usize = 0;
const KERNEL_OFFSETS: usize = OFFSETS + ConvolutionTile.Depth * 4;
const TAPS: usize = KERNEL_OFFSETS + ConvolutionTile.Depth * 4;
const IMAGE: usize = 8192;
const ROW: usize = IMAGE + 2 * ConvolutionTile.ImageBytes;

/** Adds to rows of sums, or begins them, what three times three taps see that lie side by side: their weights fit into registers. */
// @ts-ignore: decorator
@inline
function nine(
  to: usize,
  toRow: usize,
  rows: i32,
  cols: i32,
  add: bool,
  image: usize,
  rowStep: usize,
  step: i32,
  taps: usize,
): void {
  const w0 = v128.load32_splat(taps, TAPS);
  const w1 = v128.load32_splat(taps, TAPS + 4);
  const w2 = v128.load32_splat(taps, TAPS + 8);
  const w3 = v128.load32_splat(taps, TAPS + 12);
  const w4 = v128.load32_splat(taps, TAPS + 16);
  const w5 = v128.load32_splat(taps, TAPS + 20);
  const w6 = v128.load32_splat(taps, TAPS + 24);
  const w7 = v128.load32_splat(taps, TAPS + 28);
  const w8 = v128.load32_splat(taps, TAPS + 32);
  const p0 = image + load<u32>(taps);
  const p1 = image + load<u32>(taps, 12);
  const p2 = image + load<u32>(taps, 24);
  for (let y = 0; y < rows; ++y) {
    let at = to;
    let x = cols;
    for (let o = <usize>y * rowStep; x > 0; x -= 4, o += (<usize>step) << 4, at += 16) {
      let sum = f32x4.splat(0);
      if (add) sum = loadUpTo(at, x, sum);
      sum = madd(w0, seen(p0 + o, step, 0), sum);
      sum = madd(w1, seen(p0 + o, step, 1), sum);
      sum = madd(w2, seen(p0 + o, step, 2), sum);
      let sum1 = f32x4.mul(w3, seen(p1 + o, step, 0));
      sum1 = madd(w4, seen(p1 + o, step, 1), sum1);
      sum1 = madd(w5, seen(p1 + o, step, 2), sum1);
      let sum2 = f32x4.mul(w6, seen(p2 + o, step, 0));
      sum2 = madd(w7, seen(p2 + o, step, 1), sum2);
      sum2 = madd(w8, seen(p2 + o, step, 2), sum2);
      storeUpTo(at, f32x4.add(sum, f32x4.add(sum1, sum2)), x);
    }
    to += toRow;
  }
}

/** The same of five taps side by side. */
// @ts-ignore: decorator
@inline
function five(
  to: usize,
  toRow: usize,
  rows: i32,
  cols: i32,
  add: bool,
  image: usize,
  rowStep: usize,
  step: i32,
  taps: usize,
): void {
  const w0 = v128.load32_splat(taps, TAPS);
  const w1 = v128.load32_splat(taps, TAPS + 4);
  const w2 = v128.load32_splat(taps, TAPS + 8);
  const w3 = v128.load32_splat(taps, TAPS + 12);
  const w4 = v128.load32_splat(taps, TAPS + 16);
  const p0 = image + load<u32>(taps);
  for (let y = 0; y < rows; ++y) {
    let at = to;
    let x = cols;
    for (let o = <usize>y * rowStep; x > 0; x -= 4, o += (<usize>step) << 4, at += 16) {
      let sum = f32x4.splat(0);
      if (add) sum = loadUpTo(at, x, sum);
      sum = madd(w0, seen(p0 + o, step, 0), sum);
      sum = madd(w1, seen(p0 + o, step, 1), sum);
      sum = madd(w2, seen(p0 + o, step, 2), sum);
      sum = madd(w3, seen(p0 + o, step, 3), sum);
      sum = madd(w4, seen(p0 + o, step, 4), sum);
      storeUpTo(at, sum, x);
    }
    to += toRow;
  }
}

/** The same of three taps side by side. */
// @ts-ignore: decorator
@inline
function three(
  to: usize,
  toRow: usize,
  rows: i32,
  cols: i32,
  add: bool,
  image: usize,
  rowStep: usize,
  step: i32,
  taps: usize,
): void {
  const w0 = v128.load32_splat(taps, TAPS);
  const w1 = v128.load32_splat(taps, TAPS + 4);
  const w2 = v128.load32_splat(taps, TAPS + 8);
  const p0 = image + load<u32>(taps);
  for (let y = 0; y < rows; ++y) {
    let at = to;
    let x = cols;
    for (let o = <usize>y * rowStep; x > 0; x -= 4, o += (<usize>step) << 4, at += 16) {
      let sum = f32x4.splat(0);
      if (add) sum = loadUpTo(at, x, sum);
      sum = madd(w0, seen(p0 + o, step, 0), sum);
      sum = madd(w1, seen(p0 + o, step, 1), sum);
      sum = madd(w2, seen(p0 + o, step, 2), sum);
      storeUpTo(at, sum, x);
    }
    to += toRow;
  }
}

/** The same of one tap. */
// @ts-ignore: decorator
@inline
function one(
  to: usize,
  toRow: usize,
  rows: i32,
  cols: i32,
  add: bool,
  image: usize,
  rowStep: usize,
  step: i32,
  taps: usize,
): void {
  const w0 = v128.load32_splat(taps, TAPS);
  const p0 = image + load<u32>(taps);
  for (let y = 0; y < rows; ++y) {
    let at = to;
    let x = cols;
    for (let o = <usize>y * rowStep; x > 0; x -= 4, o += (<usize>step) << 4, at += 16) {
      let sum = f32x4.splat(0);
      if (add) sum = loadUpTo(at, x, sum);
      sum = madd(w0, seen(p0 + o, step, 0), sum);
      storeUpTo(at, sum, x);
    }
    to += toRow;
  }
}

/** Rows of a plane of the result: what k taps make of them. */
function sumTaps(
  to: usize,
  toRow: usize,
  rows: i32,
  cols: i32,
  image: usize,
  rowStep: usize,
  step: i32,
  taps: usize,
  k: i32,
): void {
  for (let add = false; k > 0; add = true) {
    const some = step <= 2 ? together(taps, k) : 1;
    if (some == 9) {
      if (step == 1) nine(to, toRow, rows, cols, add, image, rowStep, 1, taps);
      else nine(to, toRow, rows, cols, add, image, rowStep, 2, taps);
    } else if (some == 5) {
      if (step == 1) five(to, toRow, rows, cols, add, image, rowStep, 1, taps);
      else five(to, toRow, rows, cols, add, image, rowStep, 2, taps);
    } else if (some == 3) {
      if (step == 1) three(to, toRow, rows, cols, add, image, rowStep, 1, taps);
      else three(to, toRow, rows, cols, add, image, rowStep, 2, taps);
    } else one(to, toRow, rows, cols, add, image, rowStep, step, taps);
    k -= some;
    taps += (<usize>some) << 2;
  }
}

/** A row of `count` sums to places `step` bytes apart. */
function storeSums(to: usize, step: usize, from: usize, count: i32): void {
  for (; count > 0; --count) {
    store<u32>(to, load<u32>(from));
    to += step;
    from += 4;
  }
}

export function planes(ip: usize, begin: i32, end: i32, scratch: usize): void {
  const groups = arg(ip, Convolution.Groups);
  const channels = arg(ip, Convolution.Channels);
  const results = arg(ip, Convolution.Results);
  const k = channels * volume(ip, Convolution.TapsD);
  const inner = channels * volume(ip, Convolution.InD);
  const outH = arg(ip, Convolution.OutH);
  const outW = arg(ip, Convolution.OutW);
  const block = arg(ip, Convolution.Block);
  const pieces = arg(ip, Convolution.Pieces);
  const planeRows = arg(ip, Convolution.OutD) * outH;
  const stride = arg(ip, Convolution.StrideW);
  const outStep = (<usize>arg(ip, Convolution.OutStepW)) << 2;
  const outRow = (<usize>arg(ip, Convolution.OutStepH)) << 2;
  const wide = (outW + 3) & ~3;
  const line = width(ip, wide);
  const rowStep = (<usize>(arg(ip, Convolution.StrideH) * line)) << 2;
  const maxRows = min(bandRows(ip, channels, wide), max(1, ConvolutionTile.ImageBytes / 4 / wide));
  const image = scratch + IMAGE;
  const sums = scratch + ROW;
  let known = 0;
  fillOffsets(
    ip,
    scratch + KERNEL_OFFSETS,
    0,
    k,
    0,
    arg(ip, Convolution.KernelChannel),
    arg(ip, Convolution.KernelStepD),
    arg(ip, Convolution.KernelStepH),
    arg(ip, Convolution.KernelStepW),
  );
  for (let u = begin; u < end; ++u) {
    const piece = u % pieces;
    const from = <i32>((<i64>planeRows * piece) / pieces);
    const to = <i32>((<i64>planeRows * (piece + 1)) / pieces);
    const first = (u / pieces) * block;
    for (let n = first; n < min(first + block, arg(ip, Convolution.N)); ++n) {
      for (let g = 0; g < groups; ++g) {
        const source = ptr(ip, Convolution.In) + ((<usize>(n * groups + g) * <usize>inner) << 2);
        for (let place = from; place < to; ) {
          const d = place / outH;
          const h = place - d * outH;
          const rows = min(min(maxRows, outH - h), to - place);
          beat();
          fillImage(ip, image, source, channels, d, h, rows, 0, wide);
          if (rows != known) imageOffsets(ip, scratch + OFFSETS, 0, k, 0, height(ip, rows), line);
          known = rows;
          for (let o = 0; o < results; ++o) {
            const taps = kernelOf(ip, g, o, 0);
            for (let i: usize = 0; i < (<usize>k) << 2; i += 4)
              store<u32>(scratch + TAPS + i, load<u32>(taps + load<u32>(scratch + KERNEL_OFFSETS + i)));
            // Where places do not lie side by side they are summed elsewhere.
            const apart = outStep != 4;
            const out = placeOf(ip, (n * groups + g) * results + o, d, h, 0);
            const target = apart ? sums : out;
            const toRow = apart ? (<usize>wide) << 2 : outRow;
            sumTaps(target, toRow, rows, outW, image, rowStep, stride, scratch, k);
            if (apart)
              for (let y: usize = 0; y < <usize>rows; ++y)
                storeSums(out + y * outRow, outStep, sums + y * toRow, outW);
          }
          place += rows;
        }
      }
    }
  }
}
