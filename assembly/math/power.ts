// Powers and remainders.
import { K, LIMIT } from "../constants";
import { exp64, octaves } from "./exponential";
import { high, join, k, low } from "./lanes";
import { log64 } from "./logarithm";

/** x^y with all special cases of C's pow. */
// @ts-ignore: decorator
@inline
function pow64(x: v128, y: v128): v128 {
  const a = f64x2.abs(x);
  const infinity = f64x2.splat(Infinity);
  const finite = f64x2.lt(a, infinity);
  let l = v128.bitselect(log64(a), a, finite);
  l = v128.bitselect(f64x2.neg(infinity), l, f64x2.eq(a, f64x2.splat(0)));
  const e = f64x2.pmin(f64x2.pmax(f64x2.mul(l, y), f64x2.splat(-104)), f64x2.splat(89));
  const unit = v128.or(f64x2.eq(y, f64x2.splat(0)), f64x2.eq(a, k(K.One)));
  const magnitude = v128.bitselect(k(K.One), exp64(e), unit);

  const half = f64x2.mul(y, f64x2.splat(0.5));
  const whole = f64x2.eq(f64x2.floor(y), y);
  const odd = v128.and(whole, f64x2.ne(f64x2.floor(half), half));
  const signed = v128.xor(magnitude, v128.and(v128.and(x, odd), f64x2.splat(-0.0)));
  const invalid = v128.andnot(v128.and(f64x2.lt(x, f64x2.splat(0)), finite), whole);
  return v128.or(signed, invalid);
}

// @ts-ignore: decorator
@inline
export function pow(x: v128, y: v128): v128 {
  return join(pow64(low(x), low(y)), pow64(high(x), high(y)));
}

/**
 * a less the multiple of b next to it towards 0, both finite, b not 0: exact, 26 bits of the quotient at a time. These
 * and the 24 bits of a fraction fit a float64, so that no quotient is ever rounded up to the next whole number.
 */
function remainderLong(a: f64, b: f64): f64 {
  const divisor = abs(b);
  let r = abs(a);
  while (r >= divisor) {
    const octaves = <i64>(reinterpret<u64>(r) >> 52) - <i64>(reinterpret<u64>(divisor) >> 52) - 26;
    const multiple = divisor * reinterpret<f64>((max<i64>(octaves, 0) + 1023) << 52);
    r -= floor(r / multiple) * multiple;
  }
  return a < 0 ? -r : r;
}

/** remainderLong for the lanes whose quotient q is long. */
function remainderLongLanes(a: v128, b: v128, q: v128, r: v128): v128 {
  const q0 = abs(f64x2.extract_lane(q, 0));
  const q1 = abs(f64x2.extract_lane(q, 1));
  if (q0 > LIMIT && q0 < Infinity)
    r = f64x2.replace_lane(r, 0, remainderLong(f64x2.extract_lane(a, 0), f64x2.extract_lane(b, 0)));
  if (q1 > LIMIT && q1 < Infinity)
    r = f64x2.replace_lane(r, 1, remainderLong(f64x2.extract_lane(a, 1), f64x2.extract_lane(b, 1)));
  return r;
}

/** a - b floor(a / b), exact until the last rounding; a number less than b keeps its digits. */
// @ts-ignore: decorator
@inline
function remainder64(a: v128, b: v128): v128 {
  const q = f64x2.trunc(f64x2.div(a, b));
  let r = v128.bitselect(a, f64x2.sub(a, f64x2.mul(q, b)), f64x2.lt(f64x2.abs(a), f64x2.abs(b)));
  if (v128.any_true(f64x2.gt(f64x2.abs(q), k(K.Limit)))) r = remainderLongLanes(a, b, q, r);
  const opposite = v128.and(i64x2.lt_s(v128.xor(r, b), i64x2.splat(0)), f64x2.ne(r, f64x2.splat(0)));
  return f64x2.add(r, v128.and(b, opposite));
}

// @ts-ignore: decorator
@inline
export function remainder(a: v128, b: v128): v128 {
  return join(remainder64(low(a), low(b)), remainder64(high(a), high(b)));
}
