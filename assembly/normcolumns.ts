// Norms of columns: each row of the norm is a column of a matrix of samples, and four lie side by side in a vector.
import { high, low } from "./math";
import { parameter, STATISTICS } from "./moments";
import { beat, loadUpTo, storeUpTo } from "./simd";

/** Samples of a block. */
const BLOCK: i32 = 32;
/** Samples whose sums are of float32. */
const LEAF: i32 = 16;

/** Where in scratch four numbers for as many columns are. */
const MEAN: usize = 0;
const SCALE: usize = 16;
const SHIFT: usize = 32;
const SLOPE: usize = 48;

/** Statistics of n < 5 columns, as `measure` has them. */
export function measureColumns(entry: usize, p: usize, samples: i32, stride: usize, n: i32, centered: bool): void {
  const zero = f32x4.splat(0);
  let seen: f64 = 0;
  let meanLow = f64x2.splat(0);
  let meanHigh = meanLow;
  let squaresLow = meanLow;
  let squaresHigh = meanLow;
  for (let done = 0; done < samples; done += BLOCK) {
    if ((done & (63 * BLOCK)) == 63 * BLOCK) beat();
    const here = min(BLOCK, samples - done);
    const size = <f64>here;
    let shift = zero;
    if (centered) {
      let q = p;
      let odd = zero;
      let i = here;
      for (; i > 1; i -= 2, q += stride << 1) {
        shift = f32x4.add(shift, loadUpTo(q, n, zero));
        odd = f32x4.add(odd, loadUpTo(q + stride, n, zero));
      }
      if (i > 0) shift = f32x4.add(shift, loadUpTo(q, n, zero));
      shift = f32x4.mul(f32x4.add(shift, odd), f32x4.splat(<f32>(1 / size)));
    }
    let s = zero;
    let square = zero;
    for (let i = here; i > 0; i--, p += stride) {
      const d = f32x4.sub(loadUpTo(p, n, shift), shift);
      s = f32x4.add(s, d);
      square = f32x4.add(square, f32x4.mul(d, d));
    }
    const all = seen + size;
    const each = f64x2.splat(1 / size);
    const share = f64x2.splat(size / all);
    const weight = f64x2.splat(seen * (size / all));
    squaresLow = f64x2.add(squaresLow, low(square));
    squaresHigh = f64x2.add(squaresHigh, high(square));
    if (centered) {
      const restLow = f64x2.mul(low(s), each);
      const restHigh = f64x2.mul(high(s), each);
      const deltaLow = f64x2.sub(f64x2.add(low(shift), restLow), meanLow);
      const deltaHigh = f64x2.sub(f64x2.add(high(shift), restHigh), meanHigh);
      squaresLow = f64x2.sub(squaresLow, f64x2.mul(low(s), restLow));
      squaresHigh = f64x2.sub(squaresHigh, f64x2.mul(high(s), restHigh));
      squaresLow = f64x2.add(squaresLow, f64x2.mul(f64x2.mul(deltaLow, deltaLow), weight));
      squaresHigh = f64x2.add(squaresHigh, f64x2.mul(f64x2.mul(deltaHigh, deltaHigh), weight));
      meanLow = f64x2.add(meanLow, f64x2.mul(deltaLow, share));
      meanHigh = f64x2.add(meanHigh, f64x2.mul(deltaHigh, share));
    }
    seen = all;
  }
  const zeros = f64x2.splat(0);
  const count = f64x2.splat(seen);
  squaresLow = f64x2.div(f64x2.max(squaresLow, zeros), count);
  squaresHigh = f64x2.div(f64x2.max(squaresHigh, zeros), count);
  store<f64>(entry, f64x2.extract_lane(meanLow, 0));
  store<f64>(entry, f64x2.extract_lane(squaresLow, 0), 8);
  if (n > 1) {
    store<f64>(entry, f64x2.extract_lane(meanLow, 1), 16);
    store<f64>(entry, f64x2.extract_lane(squaresLow, 1), 24);
  }
  if (n > 2) {
    store<f64>(entry, f64x2.extract_lane(meanHigh, 0), 32);
    store<f64>(entry, f64x2.extract_lane(squaresHigh, 0), 40);
  }
  if (n > 3) {
    store<f64>(entry, f64x2.extract_lane(meanHigh, 1), 48);
    store<f64>(entry, f64x2.extract_lane(squaresHigh, 1), 56);
  }
}

/** n < 5 columns of samples standardised by their statistics. */
export function applyColumns(
  to: usize,
  from: usize,
  entry: usize,
  weight: usize,
  bias: usize,
  row: i32,
  groups: i32,
  samples: i32,
  stride: usize,
  n: i32,
  scratch: usize,
): void {
  for (let i = 0; i < n; i++) {
    const mean = load<f64>(entry + <usize>i * STATISTICS);
    const near = <f32>mean;
    const group = (row + i) % groups;
    const scale = load<f64>(entry + <usize>i * STATISTICS, 8) * parameter(weight, group, 1);
    const at = scratch + ((<usize>i) << 2);
    store<f32>(at + MEAN, near);
    store<f32>(at + SCALE, <f32>scale);
    store<f32>(at + SHIFT, <f32>(parameter(bias, group, 0) - (mean - <f64>near) * scale));
  }
  const mean = v128.load(scratch + MEAN);
  const scale = v128.load(scratch + SCALE);
  const shift = v128.load(scratch + SHIFT);
  for (let a = 0; a < samples; a++, from += stride, to += stride) {
    storeUpTo(to, f32x4.add(f32x4.mul(f32x4.sub(loadUpTo(from, n, mean), mean), scale), shift), n);
    if ((a & 4095) == 4095) beat();
  }
}

/**
 * Sums of n < 5 columns of g, to sums and, of g times x standardised, `behind` bytes behind them (unless sums is 0); and what
 * the norm sends back to x (unless to is 0).
 */
export function columnsGrad(
  to: usize,
  x: usize,
  g: usize,
  entry: usize,
  weight: usize,
  row: i32,
  groups: i32,
  samples: i32,
  stride: usize,
  n: i32,
  centered: bool,
  sums: usize,
  behind: usize,
  scratch: usize,
): void {
  const zero = f32x4.splat(0);
  for (let i = 0; i < n; i++) store<f32>(scratch + ((<usize>i) << 2), <f32>load<f64>(entry + <usize>i * STATISTICS));
  const mean = v128.load(scratch + MEAN);
  let plainLow = f64x2.splat(0);
  let plainHigh = plainLow;
  let alongLow = plainLow;
  let alongHigh = plainLow;
  let p = x;
  let q = g;
  for (let done = 0; done < samples; done += LEAF) {
    if ((done & (127 * LEAF)) == 127 * LEAF) beat();
    let plain = zero;
    let along = zero;
    for (let i = min(LEAF, samples - done); i > 0; i--, p += stride, q += stride) {
      const v = loadUpTo(q, n, zero);
      plain = f32x4.add(plain, v);
      along = f32x4.add(along, f32x4.mul(v, f32x4.sub(loadUpTo(p, n, mean), mean)));
    }
    plainLow = f64x2.add(plainLow, low(plain));
    plainHigh = f64x2.add(plainHigh, high(plain));
    alongLow = f64x2.add(alongLow, low(along));
    alongHigh = f64x2.add(alongHigh, high(along));
  }
  v128.store(scratch + 64, plainLow);
  v128.store(scratch + 80, plainHigh);
  v128.store(scratch + 96, alongLow);
  v128.store(scratch + 112, alongHigh);
  for (let i = 0; i < n; i++) {
    const own = entry + <usize>i * STATISTICS;
    const root = load<f64>(own, 8);
    const rest = load<f64>(own) - <f64>(<f32>load<f64>(own));
    const plain = load<f64>(scratch + ((<usize>i) << 3), 64);
    const along = (load<f64>(scratch + ((<usize>i) << 3), 96) - rest * plain) * root;
    if (sums != 0) {
      const at = sums + ((<usize>i) << 2);
      store<f32>(at, <f32>plain);
      store<f32>(at + behind, <f32>along);
    }
    const scale = root * parameter(weight, (row + i) % groups, 1);
    const slope = (-scale * root * along) / <f64>samples;
    const at = scratch + ((<usize>i) << 2);
    store<f32>(at + SCALE, <f32>scale);
    store<f32>(at + SLOPE, <f32>slope);
    store<f32>(at + SHIFT, <f32>((centered ? (-scale * plain) / <f64>samples : 0) - rest * slope));
  }
  if (to == 0) return;
  const scale = v128.load(scratch + SCALE);
  const slope = v128.load(scratch + SLOPE);
  const shift = v128.load(scratch + SHIFT);
  for (let a = 0; a < samples; a++, x += stride, g += stride, to += stride) {
    const d = f32x4.sub(loadUpTo(x, n, mean), mean);
    const rest = f32x4.add(f32x4.mul(d, slope), shift);
    storeUpTo(to, f32x4.add(f32x4.mul(loadUpTo(g, n, zero), scale), rest), n);
    if ((a & 4095) == 4095) beat();
  }
}
