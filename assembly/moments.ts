// Statistics of the rows of a norm.
//
// A row is measured by blocks that fit into the first-level cache: the mean of a block by a plain sum, then what differs
// from that mean and its square, in float32, where both are small whatever the mean is; blocks are joined in float64
// (Chan, Golub, LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", 1979). Elements of
// mean 1e6 and variance 1 are measured as well as those of mean 0.
import { high, low } from "./math";
import { beat, loadUpTo } from "./simd";

/** Elements of a block. */
export const BLOCK: i32 = 256;

/** Bytes of a row's statistics: its mean and 1 / sqrt(variance + eps), in float64. */
export const STATISTICS: usize = 16;

/** Whether rows are columns of a matrix: a sample has one element of each. */
// @ts-ignore: decorator
@inline
export function isColumn(samples: i32, width: i32): bool {
  return samples > 1 && width == 1;
}

/** Sum of the lanes, in float64. */
// @ts-ignore: decorator
@inline
export function sumOf(a: v128, b: v128, c: v128, d: v128): f64 {
  const v = f32x4.add(f32x4.add(a, b), f32x4.add(c, d));
  const pair = f64x2.add(low(v), high(v));
  return f64x2.extract_lane(pair, 0) + f64x2.extract_lane(pair, 1);
}

/** Sum of `count` pieces of n elements each, `stride` bytes apart: a block. */
// @ts-ignore: decorator
@inline
function sumBlock(p: usize, n: i32, count: i32, stride: usize): f64 {
  let a = f32x4.splat(0);
  let b = a;
  let c = a;
  let d = a;
  for (; count > 0; count--, p += stride) {
    let q = p;
    let left = n;
    for (; left >= 16; left -= 16, q += 64) {
      a = f32x4.add(a, v128.load(q));
      b = f32x4.add(b, v128.load(q, 16));
      c = f32x4.add(c, v128.load(q, 32));
      d = f32x4.add(d, v128.load(q, 48));
    }
    for (; left > 0; left -= 4, q += 16) a = f32x4.add(a, loadUpTo(q, left, f32x4.splat(0)));
  }
  return sumOf(a, b, c, d);
}

/** Statistics of `count` pieces of n elements each, `stride` bytes apart, to `entry`, with the variance as it is. */
export function measure(entry: usize, p: usize, n: i32, count: i32, stride: usize, centered: bool): void {
  let seen: f64 = 0;
  let mean: f64 = 0;
  let squares: f64 = 0;
  const pieces = max(1, BLOCK / max(1, n));
  let turn = 0;
  for (let done = 0; done < count; done += pieces, p += <usize>pieces * stride) {
    const here = min(pieces, count - done);
    for (let at = 0; at < n; at += BLOCK) {
      if ((++turn & 63) == 0) beat();
      const width = min(BLOCK, n - at);
      const size = <f64>(here * width);
      let from = p + ((<usize>at) << 2);
      // Divisions that wait for no sum: what depends on sums is multiplied.
      const each = 1 / size;
      const m: f32 = centered ? <f32>(sumBlock(from, width, here, stride) * each) : 0;
      const shift = f32x4.splat(m);
      let s0 = f32x4.splat(0);
      let s1 = s0;
      let s2 = s0;
      let s3 = s0;
      let q0 = s0;
      let q1 = s0;
      let q2 = s0;
      let q3 = s0;
      for (let i = here; i > 0; i--, from += stride) {
        let q = from;
        let left = width;
        for (; left >= 16; left -= 16, q += 64) {
          const a = f32x4.sub(v128.load(q), shift);
          const b = f32x4.sub(v128.load(q, 16), shift);
          const c = f32x4.sub(v128.load(q, 32), shift);
          const d = f32x4.sub(v128.load(q, 48), shift);
          s0 = f32x4.add(s0, a);
          s1 = f32x4.add(s1, b);
          s2 = f32x4.add(s2, c);
          s3 = f32x4.add(s3, d);
          q0 = f32x4.add(q0, f32x4.mul(a, a));
          q1 = f32x4.add(q1, f32x4.mul(b, b));
          q2 = f32x4.add(q2, f32x4.mul(c, c));
          q3 = f32x4.add(q3, f32x4.mul(d, d));
        }
        for (; left > 0; left -= 4, q += 16) {
          const a = f32x4.sub(loadUpTo(q, left, shift), shift);
          s0 = f32x4.add(s0, a);
          q0 = f32x4.add(q0, f32x4.mul(a, a));
        }
      }
      const square = sumOf(q0, q1, q2, q3);
      const all = seen + size;
      if (centered) {
        const rest = sumOf(s0, s1, s2, s3);
        const share = size / all;
        const delta = <f64>m + rest * each - mean;
        squares += square - rest * rest * each + delta * delta * (seen * share);
        mean += delta * share;
      } else squares += square;
      seen = all;
    }
  }
  store<f64>(entry, mean);
  store<f64>(entry, max<f64>(squares, 0) * (1 / seen), 8);
}

/** The parameter at an address, or what it is without one. */
// @ts-ignore: decorator
@inline
export function parameter(p: usize, i: i32, otherwise: f64): f64 {
  return p == 0 ? otherwise : <f64>load<f32>(p + ((<usize>i) << 2));
}

/** Statistics of a row from those of blocks of `split` samples, `apart` bytes apart, with the variance as it is. */
export function merge(entry: usize, partials: usize, samples: i32, split: i32, apart: usize): void {
  let seen: f64 = 0;
  let mean: f64 = 0;
  let squares: f64 = 0;
  let turn = 0;
  for (let first = 0; first < samples; first += split, partials += apart) {
    if ((++turn & 1023) == 0) beat();
    const size = <f64>min(split, samples - first);
    const all = seen + size;
    const share = size / all;
    const delta = load<f64>(partials) - mean;
    squares += load<f64>(partials, 8) * size + delta * delta * (seen * share);
    mean += delta * share;
    seen = all;
  }
  store<f64>(entry, mean);
  store<f64>(entry, squares / seen, 8);
}
