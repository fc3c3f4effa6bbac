// Convolutions of few channels of a group by few results, such as depthwise ones: each plane of the result is a sum of shifted
// planes of the image, vector by vector. Tiles of a product would be almost empty.
import { Convolution, ConvolutionTile } from "../isa";
import { arg, beat, loadUpTo, madd, ptr, storeUpTo } from "../simd";
import { bandRows, fillImage, fillOffsets, height, imageOffsets, kernelOf, placeOf, volume, width } from "./image";

/** Scratch: offsets of taps in the image and in kernels, a result's taps, sums of taps, the image, rows of sums. */
const OFFSETS: usize = 0;
const KERNEL_OFFSETS: usize = OFFSETS + ConvolutionTile.Depth * 4;
const TAPS: usize = KERNEL_OFFSETS + ConvolutionTile.Depth * 4;
const SUMS: usize = 8192;
const IMAGE: usize = SUMS + ConvolutionTile.Sums * 16;
const ROW: usize = IMAGE + 2 * ConvolutionTile.ImageBytes;
/** Places summed one after the other, at most, by four. */
const RUN: i32 = 1600;

/** What four places `step` elements apart see, i elements from p, i < 3; where the step is 1 or 2, both are constants. */
// @ts-ignore: decorator
@inline
function seen(p: usize, step: i32, i: i32): v128 {
  if (step == 1) return i == 0 ? v128.load(p) : i == 1 ? v128.load(p, 4) : v128.load(p, 8);
  if (step == 2) {
    if (i == 0) return v128.shuffle<f32>(v128.load(p), v128.load(p, 12), 0, 2, 5, 7);
    if (i == 1) return v128.shuffle<f32>(v128.load(p, 4), v128.load(p, 16), 0, 2, 5, 7);
    return v128.shuffle<f32>(v128.load(p, 8), v128.load(p, 20), 0, 2, 5, 7);
  }
  const next = (<usize>step) << 2;
  let v = v128.load32_zero(p);
  v = v128.load_lane<u32>(p + next, v, 1);
  v = v128.load_lane<u32>(p + (next << 1), v, 2);
  return v128.load_lane<u32>(p + next * 3, v, 3);
}

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

/** How many of the next taps see elements side by side: nine by threes, three, or one. */
function together(taps: usize, left: i32): i32 {
  if (left < 3 || load<u32>(taps, 8) - load<u32>(taps) != 8) return 1;
  if (left < 9 || load<u32>(taps, 20) - load<u32>(taps, 12) != 8) return 3;
  return load<u32>(taps, 32) - load<u32>(taps, 24) == 8 ? 9 : 3;
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

// @ts-ignore: decorator
@inline
function addTo(sums: usize, offset: usize, v: v128): void {
  v128.store(sums + offset, f32x4.add(v128.load(sums + offset), v));
}

/** Adds to the sums of three times three taps side by side what they have at some rows. */
// @ts-ignore: decorator
@inline
function nineSums(
  sums: usize,
  grad: usize,
  rows: i32,
  cols: i32,
  image: usize,
  rowStep: usize,
  step: i32,
  taps: usize,
): void {
  const zero = f32x4.splat(0);
  let s0 = zero;
  let s1 = zero;
  let s2 = zero;
  let s3 = zero;
  let s4 = zero;
  let s5 = zero;
  let s6 = zero;
  let s7 = zero;
  let s8 = zero;
  const p0 = image + load<u32>(taps);
  const p1 = image + load<u32>(taps, 12);
  const p2 = image + load<u32>(taps, 24);
  for (let y = 0; y < rows; ++y) {
    let x = cols;
    for (let o = <usize>y * rowStep; x > 0; x -= 4, o += (<usize>step) << 4) {
      const g = loadUpTo(grad, x, zero);
      s0 = madd(g, seen(p0 + o, step, 0), s0);
      s1 = madd(g, seen(p0 + o, step, 1), s1);
      s2 = madd(g, seen(p0 + o, step, 2), s2);
      s3 = madd(g, seen(p1 + o, step, 0), s3);
      s4 = madd(g, seen(p1 + o, step, 1), s4);
      s5 = madd(g, seen(p1 + o, step, 2), s5);
      s6 = madd(g, seen(p2 + o, step, 0), s6);
      s7 = madd(g, seen(p2 + o, step, 1), s7);
      s8 = madd(g, seen(p2 + o, step, 2), s8);
      grad += (<usize>min(x, 4)) << 2;
    }
  }
  addTo(sums, 0, s0);
  addTo(sums, 16, s1);
  addTo(sums, 32, s2);
  addTo(sums, 48, s3);
  addTo(sums, 64, s4);
  addTo(sums, 80, s5);
  addTo(sums, 96, s6);
  addTo(sums, 112, s7);
  addTo(sums, 128, s8);
}

/** The same of three taps side by side. */
// @ts-ignore: decorator
@inline
function threeSums(
  sums: usize,
  grad: usize,
  rows: i32,
  cols: i32,
  image: usize,
  rowStep: usize,
  step: i32,
  taps: usize,
): void {
  const zero = f32x4.splat(0);
  let s0 = zero;
  let s1 = zero;
  let s2 = zero;
  const p0 = image + load<u32>(taps);
  for (let y = 0; y < rows; ++y) {
    let x = cols;
    for (let o = <usize>y * rowStep; x > 0; x -= 4, o += (<usize>step) << 4) {
      const g = loadUpTo(grad, x, zero);
      s0 = madd(g, seen(p0 + o, step, 0), s0);
      s1 = madd(g, seen(p0 + o, step, 1), s1);
      s2 = madd(g, seen(p0 + o, step, 2), s2);
      grad += (<usize>min(x, 4)) << 2;
    }
  }
  addTo(sums, 0, s0);
  addTo(sums, 16, s1);
  addTo(sums, 32, s2);
}

/** The same of one tap. */
// @ts-ignore: decorator
@inline
function oneSum(
  sums: usize,
  grad: usize,
  rows: i32,
  cols: i32,
  image: usize,
  rowStep: usize,
  step: i32,
  taps: usize,
): void {
  const zero = f32x4.splat(0);
  let s0 = zero;
  const p0 = image + load<u32>(taps);
  for (let y = 0; y < rows; ++y) {
    let x = cols;
    for (let o = <usize>y * rowStep; x > 0; x -= 4, o += (<usize>step) << 4) {
      const g = loadUpTo(grad, x, zero);
      s0 = madd(g, seen(p0 + o, step, 0), s0);
      grad += (<usize>min(x, 4)) << 2;
    }
  }
  addTo(sums, 0, s0);
}

/** The sums of k taps at some rows, added to those of others. */
function sumPlaces(
  sums: usize,
  grad: usize,
  rows: i32,
  cols: i32,
  image: usize,
  rowStep: usize,
  step: i32,
  taps: usize,
  k: i32,
): void {
  while (k > 0) {
    const some = step <= 2 ? together(taps, k) : 1;
    if (some == 9) {
      if (step == 1) nineSums(sums, grad, rows, cols, image, rowStep, 1, taps);
      else nineSums(sums, grad, rows, cols, image, rowStep, 2, taps);
    } else if (some == 3) {
      if (step == 1) threeSums(sums, grad, rows, cols, image, rowStep, 1, taps);
      else threeSums(sums, grad, rows, cols, image, rowStep, 2, taps);
    } else oneSum(sums, grad, rows, cols, image, rowStep, step, taps);
    k -= some;
    taps += (<usize>some) << 2;
    sums += (<usize>some) << 4;
  }
}

export function planesKernel(ip: usize, begin: i32, end: i32, scratch: usize): void {
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
  const stride = arg(ip, Convolution.StrideW);
  const wide = (outW + 3) & ~3;
  const line = width(ip, wide);
  const rowStep = (<usize>(arg(ip, Convolution.StrideH) * line)) << 2;
  const maxRows = min(bandRows(ip, channels, wide), max(1, RUN / outW));
  const image = scratch + IMAGE;
  const sums = scratch + SUMS;
  for (let u = begin; u < end; ++u) {
    const piece = u % pieces;
    const from = <i32>((<i64>channels * piece) / pieces);
    const k = (<i32>((<i64>channels * (piece + 1)) / pieces) - from) * taps;
    const first = (u / pieces) * block;
    let known = 0;
    for (let g = 0; g < groups; ++g) {
      memory.fill(sums, 0, (<usize>(results * k)) << 4);
      for (let n = first; n < min(first + block, arg(ip, Convolution.N)); ++n) {
        const source = ptr(ip, Convolution.In) + ((<usize>((n * groups + g) * channels + from) * <usize>inner) << 2);
        const grad = ptr(ip, Convolution.Kernels) + ((<usize>((n * groups + g) * results) * <usize>places) << 2);
        for (let place = 0; place < planeRows; ) {
          const d = place / outH;
          const h = place - d * outH;
          const rows = min(maxRows, outH - h);
          beat();
          fillImage(ip, image, source, k / taps, d, h, rows, 0, wide);
          if (rows != known) imageOffsets(ip, scratch + OFFSETS, 0, k, 0, height(ip, rows), line);
          known = rows;
          for (let o = 0; o < results; ++o) {
            const at = grad + ((<usize>o * <usize>places + <usize>(place * outW)) << 2);
            sumPlaces(sums + ((<usize>(o * k)) << 4), at, rows, outW, image, rowStep, stride, scratch, k);
          }
          place += rows;
        }
      }
      for (let o = 0; o < results; ++o) {
        let to =
          ptr(ip, Convolution.Out) +
          ((<usize>((((u / pieces) * groups + g) * results + o) * channels + from) * <usize>taps) << 2);
        let at = sums + ((<usize>(o * k)) << 4);
        for (let t = 0; t < k; ++t) {
          const s = v128.load(at);
          store<f32>(
            to,
            f32x4.extract_lane(s, 0) + f32x4.extract_lane(s, 1) + (f32x4.extract_lane(s, 2) + f32x4.extract_lane(s, 3)),
          );
          to += 4;
          at += 16;
        }
      }
    }
  }
}
