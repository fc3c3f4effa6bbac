// Counter-based random numbers: threefry2x32 with 20 rounds (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as
// easy as 1, 2, 3", SC 2011; rotations and key schedule from there). Element e is a function of the key, the counters
// and e alone. No fused multiply-adds here: a seed gives the same numbers in every build.
import { Random, RandomKind } from "./isa";
import { log64 } from "./math";
import { arg, farg, ptr, storeUpTo } from "./simd";

// @ts-ignore: decorator
@inline
function rotate(v: v128, by: i32): v128 {
  return v128.or(i32x4.shl(v, by), i32x4.shr_u(v, 32 - by));
}

/**
 * Encrypts four counters under one key: word 0 of the results goes to `to`, word 1 to `to` + 16.
 * Four rounds mix, then a word of the extended key is added; 20 rounds are five such groups.
 */
function threefry(to: usize, key0: i32, key1: i32, counter0: v128, counter1: v128): void {
  const k0 = i32x4.splat(key0);
  const k1 = i32x4.splat(key1);
  const k2 = i32x4.splat(key0 ^ key1 ^ 0x1bd11bda);
  let x = i32x4.add(counter0, k0);
  let y = i32x4.add(counter1, k1);

  x = i32x4.add(x, y), y = v128.xor(rotate(y, 13), x);
  x = i32x4.add(x, y), y = v128.xor(rotate(y, 15), x);
  x = i32x4.add(x, y), y = v128.xor(rotate(y, 26), x);
  x = i32x4.add(x, y), y = v128.xor(rotate(y, 6), x);
  x = i32x4.add(x, k1), y = i32x4.add(y, i32x4.add(k2, i32x4.splat(1)));

  x = i32x4.add(x, y), y = v128.xor(rotate(y, 17), x);
  x = i32x4.add(x, y), y = v128.xor(rotate(y, 29), x);
  x = i32x4.add(x, y), y = v128.xor(rotate(y, 16), x);
  x = i32x4.add(x, y), y = v128.xor(rotate(y, 24), x);
  x = i32x4.add(x, k2), y = i32x4.add(y, i32x4.add(k0, i32x4.splat(2)));

  x = i32x4.add(x, y), y = v128.xor(rotate(y, 13), x);
  x = i32x4.add(x, y), y = v128.xor(rotate(y, 15), x);
  x = i32x4.add(x, y), y = v128.xor(rotate(y, 26), x);
  x = i32x4.add(x, y), y = v128.xor(rotate(y, 6), x);
  x = i32x4.add(x, k0), y = i32x4.add(y, i32x4.add(k1, i32x4.splat(3)));

  x = i32x4.add(x, y), y = v128.xor(rotate(y, 17), x);
  x = i32x4.add(x, y), y = v128.xor(rotate(y, 29), x);
  x = i32x4.add(x, y), y = v128.xor(rotate(y, 16), x);
  x = i32x4.add(x, y), y = v128.xor(rotate(y, 24), x);
  x = i32x4.add(x, k1), y = i32x4.add(y, i32x4.add(k2, i32x4.splat(4)));

  x = i32x4.add(x, y), y = v128.xor(rotate(y, 13), x);
  x = i32x4.add(x, y), y = v128.xor(rotate(y, 15), x);
  x = i32x4.add(x, y), y = v128.xor(rotate(y, 26), x);
  x = i32x4.add(x, y), y = v128.xor(rotate(y, 6), x);
  x = i32x4.add(x, k2), y = i32x4.add(y, i32x4.add(k0, i32x4.splat(5)));

  v128.store(to, x);
  v128.store(to, y, 16);
}

/** Writes the vector constants of `normalPair` to the table at t. */
function writeNormalTable(t: usize): void {
  v128.store(t, f64x2.splat(-1.0 / 1307674368000.0)); // sin(a) = a - a^3/3! + a^5/5! - ...
  v128.store(t, f64x2.splat(1.0 / 6227020800.0), 16);
  v128.store(t, f64x2.splat(-1.0 / 39916800.0), 32);
  v128.store(t, f64x2.splat(1.0 / 362880.0), 48);
  v128.store(t, f64x2.splat(-1.0 / 5040.0), 64);
  v128.store(t, f64x2.splat(1.0 / 120.0), 80);
  v128.store(t, f64x2.splat(-1.0 / 6.0), 96);
  v128.store(t, f64x2.splat(0.25), 112);
  v128.store(t, f64x2.splat(6.283185307179586), 128); // 2 pi
  v128.store(t, f64x2.splat(5.9604644775390625e-8), 144);
  v128.store(t, f64x2.splat(1.0), 160);
}

// @ts-ignore: decorator
@inline
function multiplyAdd(a: v128, b: v128, c: v128): v128 {
  return f64x2.add(f64x2.mul(a, b), c);
}

/** sqrt(-2 ln u1) cos(2 pi u2) in float64, for u1 = (a + 1) 2^-24 and u2 = b 2^-24 of the two low int32 lanes. */
// @ts-ignore: decorator
@inline
function normalPair(a: v128, b: v128, t: usize): v128 {
  const one = v128.load(t, 160);
  const unit = v128.load(t, 144);
  const u1 = f64x2.mul(f64x2.add(f64x2.convert_low_i32x4_s(a), one), unit);
  const u2 = f64x2.mul(f64x2.convert_low_i32x4_s(b), unit);

  const minusTwoLog = f64x2.mul(log64(u1), f64x2.splat(-2)); // exactly 0 for u1 = 1

  // cos(2 pi u2) = sin(2 pi w), w = 1/4 - |u2 - nearest integer|, exact and at most 1/4: no cancellation at the zeros.
  const w = f64x2.sub(v128.load(t, 112), f64x2.abs(f64x2.sub(u2, f64x2.nearest(u2))));
  const angle = f64x2.mul(w, v128.load(t, 128));
  const q = f64x2.mul(angle, angle);
  let c = multiplyAdd(v128.load(t), q, v128.load(t, 16));
  c = multiplyAdd(c, q, v128.load(t, 32));
  c = multiplyAdd(c, q, v128.load(t, 48));
  c = multiplyAdd(c, q, v128.load(t, 64));
  c = multiplyAdd(c, q, v128.load(t, 80));
  c = multiplyAdd(c, q, v128.load(t, 96));
  c = multiplyAdd(c, q, one);
  return f64x2.mul(f64x2.sqrt(minusTwoLog), f64x2.mul(c, angle));
}

/** The largest float32 below x. */
function below(x: f32): f32 {
  const bits = reinterpret<i32>(x);
  if (x > 0) return reinterpret<f32>(bits - 1);
  if (x < 0) return reinterpret<f32>(bits + 1);
  return reinterpret<f32>(0x80000001);
}

// @ts-ignore: decorator
@inline
function uniform(bits: v128, low: v128, width: v128, limit: v128): v128 {
  const u = f32x4.mul(f32x4.convert_i32x4_u(i32x4.shr_u(bits, 8)), f32x4.splat(5.9604644775390625e-8));
  return f32x4.pmin(f32x4.add(low, f32x4.mul(width, u)), limit);
}

export function random(ip: usize, begin: i32, end: i32, scratch: usize): void {
  const state = ptr(ip, Random.State);
  const key0 = load<i32>(state);
  const key1 = load<i32>(state, 4);
  const counter = i32x4.splat(load<i32>(state, 8) + arg(ip, Random.Draw));
  const kind = arg(ip, Random.Kind);
  const a = farg(ip, Random.A);
  const b = farg(ip, Random.B);
  const grain = arg(ip, Random.Grain);
  const last = min(arg(ip, Random.N), end * grain);
  const lanes = i32x4(0, 1, 2, 3);
  const words = scratch;
  let e = begin * grain;
  let to = ptr(ip, Random.Out) + ((<usize>e) << 2);

  if (kind == RandomKind.Normal) {
    const table = scratch + 32;
    writeNormalTable(table);
    const shift = f64x2.splat(<f64>a);
    const factor = f64x2.splat(<f64>b);
    for (; e < last; e += 4, to += 16) {
      threefry(words, key0, key1, i32x4.add(i32x4.splat(e), lanes), counter);
      const x = i32x4.shr_u(v128.load(words), 8);
      const y = i32x4.shr_u(v128.load(words, 16), 8);
      const lo = normalPair(x, y, table);
      const hi = normalPair(v128.shuffle<i64>(x, x, 1, 1), v128.shuffle<i64>(y, y, 1, 1), table);
      const z = v128.shuffle<i64>(
        f32x4.demote_f64x2_zero(multiplyAdd(lo, factor, shift)),
        f32x4.demote_f64x2_zero(multiplyAdd(hi, factor, shift)),
        0,
        2,
      );
      storeUpTo(to, z, last - e);
    }
    return;
  }

  // Rounding could lift low + (high-low)*u to high: such an element becomes the float32 below high. Without a value
  // between (high <= low) there is nothing to keep out.
  const low = f32x4.splat(a);
  const width = f32x4.splat(b - a);
  const limit = f32x4.splat(b > a ? below(b) : f32.MAX_VALUE);
  for (; e < last; e += 8, to += 32) {
    threefry(words, key0, key1, i32x4.add(i32x4.splat((e >> 3) << 2), lanes), counter);
    let x = v128.load(words);
    let y = v128.load(words, 16);
    if (kind == RandomKind.Uniform) {
      x = uniform(x, low, width, limit);
      y = uniform(y, low, width, limit);
    }
    const left = last - e;
    storeUpTo(to, x, left);
    if (left > 4) storeUpTo(to + 16, y, left - 4);
  }
}
