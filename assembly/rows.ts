// Softmax, cross entropy and their gradients over the rows of a dense matrix.
//
// Exponentials and row sums are float64 inside: a row of a million columns loses nothing, and neither does x - max.
// A NaN, a +Inf, or nothing but -Inf in a row makes its sum NaN, and with it the row, as in PyTorch.
import { CrossEntropy, CrossEntropyGrad, Softmax, SoftmaxGrad } from "./isa";
import { exp64, high, join, log64, low } from "./math";
import { arg, beat, faultIndex, loadUpTo, PART, ptr, storeUpTo } from "./simd";

/** e^x for two float64; x beyond +-700 counts as that (0 and infinite in float32), NaN stays NaN. */
// @ts-ignore: decorator
@inline
function expPair(x: v128): v128 {
  // pmax and pmin return their first operand when the comparison fails, as it does for NaN.
  return exp64(f64x2.pmin(f64x2.pmax(x, f64x2.splat(-700)), f64x2.splat(700)));
}

/** ln x for a normal positive float64; NaN and Inf come back. */
function logSum(x: f64): f64 {
  if (!(x < Infinity)) return x;
  return f64x2.extract_lane(log64(f64x2.splat(x)), 0);
}

// @ts-ignore: decorator
@inline
function sumLanes(lo: v128, hi: v128): f64 {
  const v = f64x2.add(lo, hi);
  return f64x2.extract_lane(v, 0) + f64x2.extract_lane(v, 1);
}

/** Largest of n float32, NaN passed over (it shows in the sum); -Inf for n = 0. */
function largest(p: usize, n: i32): f64 {
  const none = f32x4.splat(-Infinity);
  let a = none;
  let b = none;
  while (n >= 8) {
    const rest = max(n - PART, 7);
    for (; n > rest; n -= 8, p += 32) {
      a = f32x4.pmax(a, v128.load(p));
      b = f32x4.pmax(b, v128.load(p, 16));
    }
    if (rest > 7) beat();
  }
  for (; n > 0; n -= 4, p += 16) a = f32x4.pmax(a, loadUpTo(p, n, none));
  a = f32x4.pmax(a, b);
  a = f32x4.pmax(a, v128.shuffle<i32>(a, a, 2, 3, 0, 1));
  a = f32x4.pmax(a, v128.shuffle<i32>(a, a, 1, 0, 3, 2));
  return <f64>f32x4.extract_lane(a, 0);
}

/** Sum of e^(x - max) over n float32; their float32 values go to `to` unless that is 0. */
function expSum(to: usize, p: usize, n: i32, max: f64): f64 {
  const none = f32x4.splat(-Infinity);
  const shift = f64x2.splat(max);
  let lo = f64x2.splat(0);
  let hi = f64x2.splat(0);
  while (n > 0) {
    const rest = n > PART ? n - PART : 0;
    for (; n > rest; n -= 4, p += 16) {
      const v = loadUpTo(p, n, none);
      const a = expPair(f64x2.sub(low(v), shift));
      const b = expPair(f64x2.sub(high(v), shift));
      lo = f64x2.add(lo, a);
      hi = f64x2.add(hi, b);
      if (to != 0) {
        storeUpTo(to, join(a, b), n);
        to += 16;
      }
    }
    if (rest > 0) beat();
  }
  return sumLanes(lo, hi);
}

/** Multiplies n float32 in place. */
function scale(p: usize, n: i32, by: f64): void {
  const k = f64x2.splat(by);
  const zero = f32x4.splat(0);
  while (n > 0) {
    const rest = n > PART ? n - PART : 0;
    for (; n > rest; n -= 4, p += 16) {
      const v = loadUpTo(p, n, zero);
      storeUpTo(p, join(f64x2.mul(low(v), k), f64x2.mul(high(v), k)), n);
    }
    if (rest > 0) beat();
  }
}

/** to = (x - a) - b for n float32. */
function shift2(to: usize, p: usize, n: i32, a: f64, b: f64): void {
  const va = f64x2.splat(a);
  const vb = f64x2.splat(b);
  const zero = f32x4.splat(0);
  while (n > 0) {
    const rest = n > PART ? n - PART : 0;
    for (; n > rest; n -= 4, p += 16, to += 16) {
      const v = loadUpTo(p, n, zero);
      storeUpTo(to, join(f64x2.sub(f64x2.sub(low(v), va), vb), f64x2.sub(f64x2.sub(high(v), va), vb)), n);
    }
    if (rest > 0) beat();
  }
}

/** Sets n 4-byte elements. */
function fillRow(to: usize, n: i32, v: v128): void {
  while (n > 0) {
    const rest = n > PART ? n - PART : 0;
    for (; n > rest; n -= 4, to += 16) {
      storeUpTo(to, v, n);
    }
    if (rest > 0) beat();
  }
}

export function softmax(ip: usize, begin: i32, end: i32, _scratch: usize): void {
  const cols = arg(ip, Softmax.Cols);
  const block = arg(ip, Softmax.Block);
  const last = min(arg(ip, Softmax.Rows), end * block);
  const log = arg(ip, Softmax.Log) != 0;
  const bytes = (<usize>cols) << 2;
  for (let r = begin * block; r < last; r++) {
    const from = ptr(ip, Softmax.In) + <usize>r * bytes;
    const to = ptr(ip, Softmax.Out) + <usize>r * bytes;
    const max = largest(from, cols);
    const sum = expSum(log ? 0 : to, from, cols, max);
    if (log) shift2(to, from, cols, max, logSum(sum));
    else scale(to, cols, 1.0 / sum);
  }
}

/** Sum of n float32. */
function sumRow(p: usize, n: i32): f64 {
  const zero = f32x4.splat(0);
  let lo = f64x2.splat(0);
  let hi = f64x2.splat(0);
  while (n > 0) {
    const rest = n > PART ? n - PART : 0;
    for (; n > rest; n -= 4, p += 16) {
      const v = loadUpTo(p, n, zero);
      lo = f64x2.add(lo, low(v));
      hi = f64x2.add(hi, high(v));
    }
    if (rest > 0) beat();
  }
  return sumLanes(lo, hi);
}

/** Sum of the n products of float32, each exact in float64. */
// @ts-ignore: decorator
@inline
function dotRow(p: usize, q: usize, n: i32): f64 {
  const zero = f32x4.splat(0);
  let lo = f64x2.splat(0);
  let hi = f64x2.splat(0);
  while (n > 0) {
    const rest = n > PART ? n - PART : 0;
    for (; n > rest; n -= 4, p += 16, q += 16) {
      const a = loadUpTo(p, n, zero);
      const b = loadUpTo(q, n, zero);
      lo = f64x2.add(lo, f64x2.mul(low(a), low(b)));
      hi = f64x2.add(hi, f64x2.mul(high(a), high(b)));
    }
    if (rest > 0) beat();
  }
  return sumLanes(lo, hi);
}

/** to = y (g - s) for n float32. */
// @ts-ignore: decorator
@inline
function softmaxGradRow(to: usize, y: usize, g: usize, n: i32, s: f64): void {
  const vs = f64x2.splat(s);
  const zero = f32x4.splat(0);
  while (n > 0) {
    const rest = n > PART ? n - PART : 0;
    for (; n > rest; n -= 4, y += 16, g += 16, to += 16) {
      const a = loadUpTo(y, n, zero);
      const b = loadUpTo(g, n, zero);
      const lo = f64x2.mul(low(a), f64x2.sub(low(b), vs));
      const hi = f64x2.mul(high(a), f64x2.sub(high(b), vs));
      storeUpTo(to, join(lo, hi), n);
    }
    if (rest > 0) beat();
  }
}

/** to = g - e^y s for n float32. */
function logSoftmaxGradRow(to: usize, y: usize, g: usize, n: i32, s: f64): void {
  const vs = f64x2.splat(s);
  const zero = f32x4.splat(0);
  while (n > 0) {
    const rest = n > PART ? n - PART : 0;
    for (; n > rest; n -= 4, y += 16, g += 16, to += 16) {
      const a = loadUpTo(y, n, zero);
      const b = loadUpTo(g, n, zero);
      const lo = f64x2.sub(low(b), f64x2.mul(expPair(low(a)), vs));
      const hi = f64x2.sub(high(b), f64x2.mul(expPair(high(a)), vs));
      storeUpTo(to, join(lo, hi), n);
    }
    if (rest > 0) beat();
  }
}

export function softmaxGrad(ip: usize, begin: i32, end: i32, _scratch: usize): void {
  const cols = arg(ip, SoftmaxGrad.Cols);
  const block = arg(ip, SoftmaxGrad.Block);
  const last = min(arg(ip, SoftmaxGrad.Rows), end * block);
  const log = arg(ip, SoftmaxGrad.Log) != 0;
  const bytes = (<usize>cols) << 2;
  for (let r = begin * block; r < last; r++) {
    const y = ptr(ip, SoftmaxGrad.Y) + <usize>r * bytes;
    const g = ptr(ip, SoftmaxGrad.G) + <usize>r * bytes;
    const to = ptr(ip, SoftmaxGrad.Out) + <usize>r * bytes;
    if (log) logSoftmaxGradRow(to, y, g, cols, sumRow(g, cols));
    else softmaxGradRow(to, y, g, cols, dotRow(y, g, cols));
  }
}

export function crossEntropy(ip: usize, begin: i32, end: i32, scratch: usize): void {
  const cols = arg(ip, CrossEntropy.Cols);
  const ignore = arg(ip, CrossEntropy.Ignore);
  const block = arg(ip, CrossEntropy.Block);
  const last = min(arg(ip, CrossEntropy.Rows), end * block);
  for (let r = begin * block; r < last; r++) {
    const at = (<usize>r) << 2;
    const label = load<i32>(ptr(ip, CrossEntropy.Label) + at);
    let loss: f64 = 0;
    if (label != ignore) {
      if (<u32>label >= <u32>cols) {
        faultIndex(scratch, ip, r, label, cols);
        loss = NaN;
      } else {
        const x = ptr(ip, CrossEntropy.X) + at * <usize>cols;
        const max = largest(x, cols);
        const sum = expSum(0, x, cols, max);
        loss = max - <f64>load<f32>(x + ((<usize>label) << 2)) + logSum(sum);
      }
    }
    store<f32>(ptr(ip, CrossEntropy.Out) + at, <f32>loss);
  }
}

export function crossEntropyGrad(ip: usize, begin: i32, end: i32, scratch: usize): void {
  const cols = arg(ip, CrossEntropyGrad.Cols);
  const ignore = arg(ip, CrossEntropyGrad.Ignore);
  const block = arg(ip, CrossEntropyGrad.Block);
  const last = min(arg(ip, CrossEntropyGrad.Rows), end * block);
  for (let r = begin * block; r < last; r++) {
    const at = (<usize>r) << 2;
    const label = load<i32>(ptr(ip, CrossEntropyGrad.Label) + at);
    const to = ptr(ip, CrossEntropyGrad.Out) + at * <usize>cols;
    if (label == ignore) {
      fillRow(to, cols, f32x4.splat(0));
      continue;
    }
    if (<u32>label >= <u32>cols) {
      faultIndex(scratch, ip, r, label, cols);
      fillRow(to, cols, f32x4.splat(NaN));
      continue;
    }
    const x = ptr(ip, CrossEntropyGrad.X) + at * <usize>cols;
    const g = <f64>load<f32>(ptr(ip, CrossEntropyGrad.G) + at);
    const max = largest(x, cols);
    const hit = <f64>load<f32>(x + ((<usize>label) << 2)) - max;
    const sum = expSum(to, x, cols, max);
    scale(to, cols, g / sum);
    // p - 1 from the unrounded p: near p = 1 all digits of the difference are right.
    const p = f64x2.extract_lane(expPair(f64x2.splat(hit)), 0) / sum;
    store<f32>(to + ((<usize>label) << 2), <f32>((p - 1.0) * g));
  }
}
