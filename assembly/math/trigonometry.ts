// Trigonometric functions and their inverses.
import { K, LIMIT } from "../constants";
import { Memory } from "../isa";
import { high, join, k, low, step, withSign } from "./lanes";

/**
 * Finite |x| > LIMIT less its whole quarter turns, by Payne and Hanek's method: of the bits of 2/pi only those are
 * multiplied that neither make whole turns nor vanish. The number of quarter turns, modulo 4, rides in the two lowest
 * bits of the result.
 */
function reduceLong(x: f64): f64 {
  const bits = reinterpret<u32>(<f32>x);
  const exponent = ((bits >> 23) & 255) - 150; // |x| = mantissa * 2^exponent
  // The first `skip` bits of the table (8 zeros and 2/pi) make multiples of 4 quarter turns.
  const skip = exponent + 6;
  const mantissa = (<u64>((bits & 0x7fffff) | 0x800000)) << (skip & 7);
  const window: usize = Memory.Constants + K.TwoOverPiBits * 8 + 16 - (skip >> 3);
  // Quarter turns modulo 4, in units of 2^-62.
  const turns =
    ((mantissa * load<u32>(window, 8)) << 32) +
    mantissa * load<u32>(window, 4) +
    ((mantissa * load<u32>(window)) >> 32);
  let quadrant = (turns + 0x2000000000000000) >> 62;
  let r = <f64>(<i64>(turns - (quadrant << 62))) * (1.5707963267948966 / 4611686018427387904.0);
  if (bits >> 31) {
    quadrant = 4 - quadrant;
    r = -r;
  }
  return reinterpret<f64>((reinterpret<u64>(r) & ~3) | (quadrant & 3));
}

/** reduceLong for the lanes that need it. */
function reduceLongLanes(x: v128, r: v128): v128 {
  const x0 = f64x2.extract_lane(x, 0);
  const x1 = f64x2.extract_lane(x, 1);
  if (abs(x0) > LIMIT && abs(x0) < Infinity) r = f64x2.replace_lane(r, 0, reduceLong(x0));
  if (abs(x1) > LIMIT && abs(x1) < Infinity) r = f64x2.replace_lane(r, 1, reduceLong(x1));
  return r;
}

/** x less its quarter turns, in [-pi/4, pi/4], their number modulo 4 in the two lowest bits; NaN for an infinite x. */
// @ts-ignore: decorator
@inline
function reduce(x: v128): v128 {
  const t = f64x2.add(f64x2.mul(x, k(K.TwoOverPi)), k(K.RoundBias));
  const n = f64x2.sub(t, k(K.RoundBias));
  const r = f64x2.sub(f64x2.sub(x, f64x2.mul(n, k(K.HalfPiHigh))), f64x2.mul(n, k(K.HalfPiLow)));
  const packed = v128.bitselect(t, r, k(K.Three));
  if (!v128.any_true(f64x2.gt(f64x2.abs(x), k(K.Limit)))) return packed;
  return reduceLongLanes(x, packed);
}

// @ts-ignore: decorator
@inline
function sinPoly(r: v128, z: v128): v128 {
  let p = step(k(K.Sin4), z, K.Sin3);
  p = step(p, z, K.Sin2);
  p = step(p, z, K.Sin1);
  p = step(p, z, K.Sin0);
  return f64x2.mul(p, r);
}

// @ts-ignore: decorator
@inline
function cosPoly(z: v128): v128 {
  let p = step(k(K.Cos4), z, K.Cos3);
  p = step(p, z, K.Cos2);
  p = step(p, z, K.Cos1);
  return step(p, z, K.Cos0);
}

/** All ones where the number of quarter turns is odd. */
// @ts-ignore: decorator
@inline
function isOdd(turns: v128): v128 {
  return i64x2.neg(i64x2.shr_u(i64x2.shl(turns, 63), 63));
}

/** The sine of the reduced angle r and so many quarter turns. */
// @ts-ignore: decorator
@inline
function wave(r: v128, turns: v128): v128 {
  const z = f64x2.mul(r, r);
  const magnitude = v128.bitselect(cosPoly(z), sinPoly(r, z), isOdd(turns));
  return v128.xor(magnitude, i64x2.shl(i64x2.shr_u(turns, 1), 63));
}

// @ts-ignore: decorator
@inline
function sin64(x: v128): v128 {
  const r = reduce(x);
  return wave(r, r);
}

// @ts-ignore: decorator
@inline
export function sin(x: v128): v128 {
  return join(sin64(low(x)), sin64(high(x)));
}

// @ts-ignore: decorator
@inline
function cos64(x: v128): v128 {
  const r = reduce(x);
  return wave(r, i64x2.add(r, k(K.Unit)));
}

// @ts-ignore: decorator
@inline
export function cos(x: v128): v128 {
  return join(cos64(low(x)), cos64(high(x)));
}

/** sin / cos, or -cos / sin after an odd number of quarter turns. */
// @ts-ignore: decorator
@inline
function tan64(x: v128): v128 {
  const r = reduce(x);
  const z = f64x2.mul(r, r);
  const s = sinPoly(r, z);
  const c = cosPoly(z);
  const odd = isOdd(r);
  return f64x2.div(v128.bitselect(f64x2.neg(c), s, odd), v128.bitselect(s, c, odd));
}

// @ts-ignore: decorator
@inline
export function tan(x: v128): v128 {
  return join(tan64(low(x)), tan64(high(x)));
}

/** atan t for 0 <= t <= 1. */
// @ts-ignore: decorator
@inline
function atanPoly(t: v128): v128 {
  const z = f64x2.mul(t, t);
  let p = step(k(K.Atan11), z, K.Atan10);
  p = step(p, z, K.Atan9);
  p = step(p, z, K.Atan8);
  p = step(p, z, K.Atan7);
  p = step(p, z, K.Atan6);
  p = step(p, z, K.Atan5);
  p = step(p, z, K.Atan4);
  p = step(p, z, K.Atan3);
  p = step(p, z, K.Atan2);
  p = step(p, z, K.Atan1);
  p = step(p, z, K.Atan0);
  return f64x2.mul(p, t);
}

// @ts-ignore: decorator
@inline
function atan64(x: v128): v128 {
  const a = f64x2.abs(x);
  const one = k(K.One);
  const p = atanPoly(f64x2.div(f64x2.min(a, one), f64x2.max(a, one)));
  return withSign(v128.bitselect(f64x2.sub(k(K.HalfPi), p), p, f64x2.gt(a, one)), x);
}

// @ts-ignore: decorator
@inline
export function atan(x: v128): v128 {
  return join(atan64(low(x)), atan64(high(x)));
}

/** The angle of the point (x, y), with the signs of zeros and the infinities as in C. */
// @ts-ignore: decorator
@inline
function atan264(y: v128, x: v128): v128 {
  const ax = f64x2.abs(x);
  const ay = f64x2.abs(y);
  const one = k(K.One);
  let less = f64x2.min(ax, ay);
  let more = f64x2.max(ax, ay);
  // Inf / Inf counts as 1 / 1, 0 / 0 as 0 / 1.
  const infinite = f64x2.eq(less, f64x2.splat(Infinity));
  less = v128.bitselect(one, less, infinite);
  more = v128.bitselect(one, more, v128.or(infinite, f64x2.eq(more, f64x2.splat(0))));
  let p = atanPoly(f64x2.div(less, more));
  p = v128.bitselect(f64x2.sub(k(K.HalfPi), p), p, f64x2.gt(ay, ax));
  p = v128.bitselect(f64x2.sub(k(K.Pi), p), p, i64x2.lt_s(x, i64x2.splat(0)));
  return withSign(p, y);
}

// @ts-ignore: decorator
@inline
export function atan2(y: v128, x: v128): v128 {
  return join(atan264(low(y), low(x)), atan264(high(y), high(x)));
}

/** asin a for 0 <= a <= 1/2, half of acos a above; NaN where a > 1. */
// @ts-ignore: decorator
@inline
function asinPoly(a: v128, small: v128): v128 {
  const z = v128.bitselect(f64x2.mul(a, a), f64x2.mul(f64x2.sub(k(K.One), a), f64x2.splat(0.5)), small);
  let p = step(k(K.Asin8), z, K.Asin7);
  p = step(p, z, K.Asin6);
  p = step(p, z, K.Asin5);
  p = step(p, z, K.Asin4);
  p = step(p, z, K.Asin3);
  p = step(p, z, K.Asin2);
  p = step(p, z, K.Asin1);
  p = step(p, z, K.Asin0);
  return f64x2.mul(p, f64x2.sqrt(z));
}

// @ts-ignore: decorator
@inline
function asin64(x: v128): v128 {
  const a = f64x2.abs(x);
  const small = f64x2.le(a, f64x2.splat(0.5));
  const p = asinPoly(a, small);
  return withSign(v128.bitselect(p, f64x2.sub(k(K.HalfPi), f64x2.add(p, p)), small), x);
}

// @ts-ignore: decorator
@inline
export function asin(x: v128): v128 {
  return join(asin64(low(x)), asin64(high(x)));
}

// @ts-ignore: decorator
@inline
function acos64(x: v128): v128 {
  const a = f64x2.abs(x);
  const small = f64x2.le(a, f64x2.splat(0.5));
  const p = asinPoly(a, small);
  const twice = f64x2.add(p, p);
  const wide = v128.bitselect(f64x2.sub(k(K.Pi), twice), twice, f64x2.lt(x, f64x2.splat(0)));
  return v128.bitselect(f64x2.sub(k(K.HalfPi), withSign(p, x)), wide, small);
}

// @ts-ignore: decorator
@inline
export function acos(x: v128): v128 {
  return join(acos64(low(x)), acos64(high(x)));
}
