// Gradients to kernels of few channels of a group by few results: each tap's is a sum over places of what it sees there, times what
// comes back.
import { Convolution, ConvolutionTile } from "../isa";
import { arg, beat, loadUpTo, madd, ptr } from "../simd";
import { bandRows, fillImage, height, imageOffsets, volume, width } from "./image";
import { seen, together } from "./taps";

/** Scratch: offsets of taps in the image, sums of taps, the image. */
const OFFSETS: usize = 0;
const SUMS: usize = OFFSETS + ConvolutionTile.Depth * 4;
const IMAGE: usize = SUMS + ConvolutionTile.Sums * 16;
/** Places summed one after the other, at most, by four. */
const RUN: i32 = 1600;

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

/** The same of five taps side by side. */
// @ts-ignore: decorator
@inline
function fiveSums(
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
  const p0 = image + load<u32>(taps);
  for (let y = 0; y < rows; ++y) {
    let x = cols;
    for (let o = <usize>y * rowStep; x > 0; x -= 4, o += (<usize>step) << 4) {
      const g = loadUpTo(grad, x, zero);
      s0 = madd(g, seen(p0 + o, step, 0), s0);
      s1 = madd(g, seen(p0 + o, step, 1), s1);
      s2 = madd(g, seen(p0 + o, step, 2), s2);
      s3 = madd(g, seen(p0 + o, step, 3), s3);
      s4 = madd(g, seen(p0 + o, step, 4), s4);
      grad += (<usize>min(x, 4)) << 2;
    }
  }
  addTo(sums, 0, s0);
  addTo(sums, 16, s1);
  addTo(sums, 32, s2);
  addTo(sums, 48, s3);
  addTo(sums, 64, s4);
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
    } else if (some == 5) {
      if (step == 1) fiveSums(sums, grad, rows, cols, image, rowStep, 1, taps);
      else fiveSums(sums, grad, rows, cols, image, rowStep, 2, taps);
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
