// The transforms of minimal filtering (Winograd 1980; Lavin and Gray 2016) for 4x4 results of 3x3 taps from 6x6 elements, along one
// axis: y = A^T [(G w) (B^T d)], from the values of polynomials at 0, +-a, +-b and infinity. With a = sqrt(1/2), b = sqrt(2) the error is
// half that of the usual 1 and 2: both transforms then have smaller entries.
import { K } from "../constants";
import { single } from "../math/lanes";
import { loadPart, madd, storePart } from "../simd";

/** c - a*b, fused where madd is. */
// @ts-ignore: decorator
@inline
function nmadd(a: v128, b: v128, c: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return f32x4.relaxed_nmadd(a, b, c);
  return f32x4.sub(c, f32x4.mul(a, b));
}

/** B^T: six elements to values at the six points, `step` bytes apart. */
// @ts-ignore: decorator
@inline
export function fromInput(to: usize, step: usize, d0: v128, d1: v128, d2: v128, d3: v128, d4: v128, d5: v128): void {
  const half = single(K.FilterHalf);
  const two = single(K.FilterTwo);
  const a = single(K.FilterA);
  const b = single(K.FilterB);
  const sum = single(K.FilterSum);
  const evenA = nmadd(two, d2, d4);
  const oddA = nmadd(two, d1, d3);
  const evenB = nmadd(half, d2, d4);
  const oddB = nmadd(half, d1, d3);
  v128.store(to, nmadd(sum, d2, f32x4.add(d0, d4)));
  v128.store((to += step), madd(a, oddA, evenA));
  v128.store((to += step), nmadd(a, oddA, evenA));
  v128.store((to += step), madd(b, oddB, evenB));
  v128.store((to += step), nmadd(b, oddB, evenB));
  v128.store(to + step, nmadd(sum, d3, f32x4.add(d1, d5)));
}

/** A^T: values at the six points to four results, `step` bytes apart. */
// @ts-ignore: decorator
@inline
export function toResult(to: usize, step: usize, m0: v128, m1: v128, m2: v128, m3: v128, m4: v128, m5: v128): void {
  const sumA = f32x4.add(m1, m2);
  const diffA = f32x4.sub(m1, m2);
  const sumB = f32x4.add(m3, m4);
  const diffB = f32x4.sub(m3, m4);
  v128.store(to, f32x4.add(f32x4.add(m0, sumA), sumB));
  v128.store((to += step), madd(single(K.FilterA), diffA, f32x4.mul(single(K.FilterB), diffB)));
  v128.store((to += step), madd(single(K.FilterHalf), sumA, f32x4.mul(single(K.FilterTwo), sumB)));
  v128.store(to + step, madd(single(K.FilterA3), diffA, madd(single(K.FilterB3), diffB, m5)));
}

/** The same of four channels at once; then their results side by side, one vector for each channel, to the first `planes` of four places. */
// @ts-ignore: decorator
@inline
export function toPlanes(
  to: usize,
  plane: usize,
  planes: i32,
  count: i32,
  add: bool,
  m0: v128,
  m1: v128,
  m2: v128,
  m3: v128,
  m4: v128,
  m5: v128,
): void {
  const sumA = f32x4.add(m1, m2);
  const diffA = f32x4.sub(m1, m2);
  const sumB = f32x4.add(m3, m4);
  const diffB = f32x4.sub(m3, m4);
  const y0 = f32x4.add(f32x4.add(m0, sumA), sumB);
  const y1 = madd(single(K.FilterA), diffA, f32x4.mul(single(K.FilterB), diffB));
  const y2 = madd(single(K.FilterHalf), sumA, f32x4.mul(single(K.FilterTwo), sumB));
  const y3 = madd(single(K.FilterA3), diffA, madd(single(K.FilterB3), diffB, m5));
  const l01 = v128.shuffle<f32>(y0, y1, 0, 4, 1, 5);
  const l23 = v128.shuffle<f32>(y2, y3, 0, 4, 1, 5);
  const h01 = v128.shuffle<f32>(y0, y1, 2, 6, 3, 7);
  const h23 = v128.shuffle<f32>(y2, y3, 2, 6, 3, 7);
  storeRow(to, v128.shuffle<f64>(l01, l23, 0, 2), count, add);
  if (planes > 1) storeRow(to + plane, v128.shuffle<f64>(l01, l23, 1, 3), count, add);
  if (planes > 2) storeRow(to + (plane << 1), v128.shuffle<f64>(h01, h23, 0, 2), count, add);
  if (planes > 3) storeRow(to + plane * 3, v128.shuffle<f64>(h01, h23, 1, 3), count, add);
}

/** The first `count` elements, of at most 4. */
// @ts-ignore: decorator
@inline
function storeRow(to: usize, v: v128, count: i32, add: bool): void {
  if (count == 4) v128.store(to, add ? f32x4.add(v128.load(to), v) : v);
  else storePart(to, add ? f32x4.add(loadPart(to, count), v) : v, count);
}

/** A: four elements that come back from results to values at the six points. */
// @ts-ignore: decorator
@inline
export function fromResult(to: usize, step: usize, g0: v128, g1: v128, g2: v128, g3: v128): void {
  const half = single(K.FilterHalf);
  const two = single(K.FilterTwo);
  const a = single(K.FilterA);
  const b = single(K.FilterB);
  const evenA = madd(half, g2, g0);
  const oddA = madd(half, g3, g1);
  const evenB = madd(two, g2, g0);
  const oddB = madd(two, g3, g1);
  v128.store(to, g0);
  v128.store((to += step), madd(a, oddA, evenA));
  v128.store((to += step), nmadd(a, oddA, evenA));
  v128.store((to += step), madd(b, oddB, evenB));
  v128.store((to += step), nmadd(b, oddB, evenB));
  v128.store(to + step, g3);
}

/** G: three taps to values at the six points. */
// @ts-ignore: decorator
@inline
export function fromTaps(to: usize, step: usize, w0: v128, w1: v128, w2: v128): void {
  const atA = f32x4.splat(-2 / 3);
  const atB = f32x4.splat(1 / 6);
  const evenA = f32x4.mul(atA, madd(single(K.FilterHalf), w2, w0));
  const oddA = f32x4.mul(atA, f32x4.mul(single(K.FilterA), w1));
  const evenB = f32x4.mul(atB, madd(single(K.FilterTwo), w2, w0));
  const oddB = f32x4.mul(atB, f32x4.mul(single(K.FilterB), w1));
  v128.store(to, w0);
  v128.store((to += step), f32x4.add(evenA, oddA));
  v128.store((to += step), f32x4.sub(evenA, oddA));
  v128.store((to += step), f32x4.add(evenB, oddB));
  v128.store((to += step), f32x4.sub(evenB, oddB));
  v128.store(to + step, w2);
}

/** G^T: values at the six points to three taps. */
// @ts-ignore: decorator
@inline
export function toTaps(to: usize, step: usize, m0: v128, m1: v128, m2: v128, m3: v128, m4: v128, m5: v128): void {
  const atA = f32x4.splat(-2 / 3);
  const atB = f32x4.splat(1 / 6);
  const sumA = f32x4.mul(atA, f32x4.add(m1, m2));
  const diffA = f32x4.mul(atA, f32x4.sub(m1, m2));
  const sumB = f32x4.mul(atB, f32x4.add(m3, m4));
  const diffB = f32x4.mul(atB, f32x4.sub(m3, m4));
  v128.store(to, f32x4.add(f32x4.add(m0, sumA), sumB));
  v128.store((to += step), madd(single(K.FilterA), diffA, f32x4.mul(single(K.FilterB), diffB)));
  v128.store(to + step, madd(single(K.FilterHalf), sumA, madd(single(K.FilterTwo), sumB, m5)));
}
