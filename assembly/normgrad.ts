// What a norm sends back: to its input, row by row, and to weight and bias.
//
// Where d = x - mean and r = 1 / sqrt(variance + eps), the n elements of a row get
// g w r - r/n (sum of g w) - d r^3/n (sum of g w d).
import { NormGrad, NormParameters, NormStage, NormStrip } from "./isa";
import { high, low } from "./math";
import { BLOCK, isColumn, parameter, STATISTICS, sumOf } from "./moments";
import { columnsGrad } from "./normcolumns";
import { arg, beat, loadUpTo, PART, ptr, storeUpTo } from "./simd";

// @ts-ignore: decorator
@inline
function lanes(a: v128, b: v128): f64 {
  const v = f64x2.add(a, b);
  return f64x2.extract_lane(v, 0) + f64x2.extract_lane(v, 1);
}

/** To `sums`, in float64: the sums of g and of g (x - mean) over `count` pieces of n elements, `stride` bytes apart. */
function sumRun(sums: usize, g: usize, x: usize, n: i32, count: i32, stride: usize, mean: f32): void {
  const vm = f32x4.splat(mean);
  const zero = f32x4.splat(0);
  let plainLow = f64x2.splat(0);
  let plainHigh = plainLow;
  let alongLow = plainLow;
  let alongHigh = plainLow;
  let walked = 0;
  for (; count > 0; count--, g += stride, x += stride) {
    let at: usize = 0;
    let left = n;
    while (left > 0) {
      const rest = left > PART ? left - PART : 0;
      walked += left - rest;
      // Four by four in float32, these in float64: that of the weight is often far less than what it is the sum of.
      for (; left - rest >= 16; left -= 16, at += 64) {
        const p = x + at;
        const q = g + at;
        const a = v128.load(q);
        const b = v128.load(q, 16);
        const c = v128.load(q, 32);
        const d = v128.load(q, 48);
        const plain = f32x4.add(f32x4.add(a, b), f32x4.add(c, d));
        const along = f32x4.add(
          f32x4.add(f32x4.mul(a, f32x4.sub(v128.load(p), vm)), f32x4.mul(b, f32x4.sub(v128.load(p, 16), vm))),
          f32x4.add(f32x4.mul(c, f32x4.sub(v128.load(p, 32), vm)), f32x4.mul(d, f32x4.sub(v128.load(p, 48), vm))),
        );
        plainLow = f64x2.add(plainLow, low(plain));
        plainHigh = f64x2.add(plainHigh, high(plain));
        alongLow = f64x2.add(alongLow, low(along));
        alongHigh = f64x2.add(alongHigh, high(along));
      }
      for (; left > rest; left -= 4, at += 16) {
        const plain = loadUpTo(g + at, left, zero);
        const along = f32x4.mul(plain, f32x4.sub(loadUpTo(x + at, left, vm), vm));
        plainLow = f64x2.add(plainLow, low(plain));
        plainHigh = f64x2.add(plainHigh, high(plain));
        alongLow = f64x2.add(alongLow, low(along));
        alongHigh = f64x2.add(alongHigh, high(along));
      }
      if (walked >= PART) {
        walked = 0;
        beat();
      }
    }
  }
  store<f64>(sums, lanes(plainLow, plainHigh));
  store<f64>(sums, lanes(alongLow, alongHigh), 8);
}

/** The same of g w instead of g, for one piece, of float32 within a block; w may be 0, for a weight of 1. */
function sumRow(sums: usize, g: usize, x: usize, w: usize, n: i32, mean: f32): void {
  const vm = f32x4.splat(mean);
  const zero = f32x4.splat(0);
  let plain: f64 = 0;
  let along: f64 = 0;
  let turn = 0;
  for (let at: usize = 0; n > 0; n -= BLOCK) {
    if ((++turn & 63) == 0) beat();
    let s0 = zero;
    let s1 = zero;
    let q0 = zero;
    let q1 = zero;
    let left = min(n, BLOCK);
    for (; left >= 8; left -= 8, at += 32) {
      let a = v128.load(g + at);
      let b = v128.load(g + at, 16);
      if (w != 0) {
        a = f32x4.mul(a, v128.load(w + at));
        b = f32x4.mul(b, v128.load(w + at, 16));
      }
      s0 = f32x4.add(s0, a);
      s1 = f32x4.add(s1, b);
      q0 = f32x4.add(q0, f32x4.mul(a, f32x4.sub(v128.load(x + at), vm)));
      q1 = f32x4.add(q1, f32x4.mul(b, f32x4.sub(v128.load(x + at, 16), vm)));
    }
    for (; left > 0; left -= 4, at += 16) {
      let a = loadUpTo(g + at, left, zero);
      if (w != 0) a = f32x4.mul(a, loadUpTo(w + at, left, zero));
      s0 = f32x4.add(s0, a);
      q0 = f32x4.add(q0, f32x4.mul(a, f32x4.sub(loadUpTo(x + at, left, vm), vm)));
    }
    plain += sumOf(s0, s1, zero, zero);
    along += sumOf(q0, q1, zero, zero);
  }
  store<f64>(sums, plain);
  store<f64>(sums, along, 8);
}

/** to = g scale + ((x - mean) slope + shift), for `count` pieces of n elements each, `stride` bytes apart. */
function gradRuns(
  to: usize,
  g: usize,
  x: usize,
  n: i32,
  count: i32,
  stride: usize,
  mean: f32,
  scale: f32,
  slope: f32,
  shift: f32,
): void {
  const vm = f32x4.splat(mean);
  const vs = f32x4.splat(scale);
  const vk = f32x4.splat(slope);
  const vt = f32x4.splat(shift);
  let walked = 0;
  for (; count > 0; count--, to += stride, g += stride, x += stride) {
    let at: usize = 0;
    let left = n;
    while (left > 0) {
      const rest = left > PART ? left - PART : 0;
      walked += left - rest;
      for (; left - rest >= 8; left -= 8, at += 32) {
        const a = f32x4.add(f32x4.mul(f32x4.sub(v128.load(x + at), vm), vk), vt);
        const b = f32x4.add(f32x4.mul(f32x4.sub(v128.load(x + at, 16), vm), vk), vt);
        v128.store(to + at, f32x4.add(f32x4.mul(v128.load(g + at), vs), a));
        v128.store(to + at, f32x4.add(f32x4.mul(v128.load(g + at, 16), vs), b), 16);
      }
      for (; left > rest; left -= 4, at += 16) {
        const a = f32x4.add(f32x4.mul(f32x4.sub(loadUpTo(x + at, left, vm), vm), vk), vt);
        storeUpTo(to + at, f32x4.add(f32x4.mul(loadUpTo(g + at, left, vm), vs), a), left);
      }
      if (walked >= PART) {
        walked = 0;
        beat();
      }
    }
  }
}

/** The same for one piece, with a weight for each element; w may be 0, for a weight of 1. */
function gradRow(to: usize, g: usize, x: usize, w: usize, n: i32, mean: f32, scale: f32, slope: f32, shift: f32): void {
  if (w == 0) {
    gradRuns(to, g, x, n, 1, 0, mean, scale, slope, shift);
    return;
  }
  const vm = f32x4.splat(mean);
  const vs = f32x4.splat(scale);
  const vk = f32x4.splat(slope);
  const vt = f32x4.splat(shift);
  const zero = f32x4.splat(0);
  let at: usize = 0;
  while (n > 0) {
    const rest = n > PART ? n - PART : 0;
    for (; n - rest >= 8; n -= 8, at += 32) {
      const a = f32x4.add(f32x4.mul(f32x4.sub(v128.load(x + at), vm), vk), vt);
      const b = f32x4.add(f32x4.mul(f32x4.sub(v128.load(x + at, 16), vm), vk), vt);
      const u = f32x4.mul(f32x4.mul(v128.load(g + at), vs), v128.load(w + at));
      const v = f32x4.mul(f32x4.mul(v128.load(g + at, 16), vs), v128.load(w + at, 16));
      v128.store(to + at, f32x4.add(u, a));
      v128.store(to + at, f32x4.add(v, b), 16);
    }
    for (; n > rest; n -= 4, at += 16) {
      const a = f32x4.add(f32x4.mul(f32x4.sub(loadUpTo(x + at, n, vm), vm), vk), vt);
      const weighted = f32x4.mul(f32x4.mul(loadUpTo(g + at, n, zero), vs), loadUpTo(w + at, n, zero));
      storeUpTo(to + at, f32x4.add(weighted, a), n);
    }
    if (rest > 0) beat();
  }
}

/** Units of Split samples, each with all rows. */
function gradSamples(ip: usize, begin: i32, end: i32, scratch: usize): void {
  const samples = arg(ip, NormGrad.A);
  const rows = arg(ip, NormGrad.Rows);
  const places = arg(ip, NormGrad.Places);
  const centered = arg(ip, NormGrad.Centered) != 0;
  const split = arg(ip, NormGrad.Split);
  const apply = arg(ip, NormGrad.Stage) == NormStage.Apply;
  const bytes = (<usize>places) << 2;
  const stride = <usize>rows * bytes;
  const behind = (<usize>rows) << 2;
  const each = 1 / (<f64>samples * <f64>places);
  const blocks = arg(ip, NormGrad.Blocks);
  if (apply && blocks > 0)
    // Each worker adds for itself, what takes less time than to wait for the one that does it for all.
    for (let row = 0; row < rows; row++) {
      if ((row & 255) == 255) beat();
      let plain: f64 = 0;
      let along: f64 = 0;
      let from = ptr(ip, NormGrad.Sums) + ((<usize>row) << 2);
      for (let b = 0; b < blocks; b++, from += 2 * behind) {
        plain += <f64>load<f32>(from);
        along += <f64>load<f32>(from + behind);
      }
      store<f32>(scratch + ((<usize>row) << 2), <f32>plain);
      store<f32>(scratch + behind + ((<usize>row) << 2), <f32>along);
    }
  for (let unit = begin; unit < end; unit++) {
    const first = unit * split;
    const count = min(split, samples - first);
    const all = apply && blocks > 0 ? scratch : ptr(ip, NormGrad.Sums) + (apply ? 0 : <usize>unit * 2 * behind);
    for (let row = 0; row < rows; row++) {
      if ((row & 255) == 255) beat();
      const at = <usize>first * stride + <usize>row * bytes;
      const x = ptr(ip, NormGrad.In) + at;
      const g = ptr(ip, NormGrad.Grad) + at;
      const sums = all + ((<usize>row) << 2);
      const entry = ptr(ip, NormGrad.Statistics) + <usize>row * STATISTICS;
      const mean = load<f64>(entry);
      const root = load<f64>(entry, 8);
      const near = <f32>mean;
      const rest = mean - <f64>near;
      if (!apply) {
        sumRun(scratch, g, x, places, count, stride, near);
        const plain = load<f64>(scratch);
        store<f32>(sums, <f32>plain);
        store<f32>(sums + behind, <f32>((load<f64>(scratch, 8) - rest * plain) * root));
        continue;
      }
      const scale = root * parameter(ptr(ip, NormGrad.Weight), row, 1);
      const slope = -scale * root * <f64>load<f32>(sums + behind) * each;
      const shift = (centered ? -scale * <f64>load<f32>(sums) * each : 0) - rest * slope;
      const to = ptr(ip, NormGrad.Out) + at;
      gradRuns(to, g, x, places, count, stride, near, <f32>scale, <f32>slope, <f32>shift);
    }
  }
}

export function normGrad(ip: usize, begin: i32, end: i32, scratch: usize): void {
  if (arg(ip, NormGrad.Split) != 0) {
    gradSamples(ip, begin, end, scratch);
    return;
  }
  const samples = arg(ip, NormGrad.A);
  const rows = arg(ip, NormGrad.Rows);
  const groups = arg(ip, NormGrad.Groups);
  const channels = arg(ip, NormGrad.Channels);
  const places = arg(ip, NormGrad.Places);
  const centered = arg(ip, NormGrad.Centered) != 0;
  const block = arg(ip, NormGrad.Block);
  const weight = ptr(ip, NormGrad.Weight);
  const out = ptr(ip, NormGrad.Out);
  const all = ptr(ip, NormGrad.Sums);
  const width = channels * places;
  const bytes = (<usize>width) << 2;
  const run = (<usize>places) << 2;
  const stride = <usize>rows * bytes;
  const each = 1 / (<f64>samples * <f64>width);
  const behind = <usize>(groups * channels) << 2;
  const last = min(rows, end * block);
  const column = isColumn(samples, width);
  for (let row = begin * block; row < last; ) {
    const entry = ptr(ip, NormGrad.Statistics) + <usize>row * STATISTICS;
    const x = ptr(ip, NormGrad.In) + <usize>row * bytes;
    const g = ptr(ip, NormGrad.Grad) + <usize>row * bytes;
    const to = out == 0 ? 0 : out + <usize>row * bytes;
    const whole = row / groups;
    const group = row - whole * groups;
    const first = group * channels;
    const sums = all == 0 ? 0 : all + <usize>whole * 2 * behind + ((<usize>first) << 2);
    if (column) {
      // Columns go four by four, as long as their sums lie side by side.
      const n = min(4, min(last - row, groups - group));
      columnsGrad(to, x, g, entry, weight, row, groups, samples, stride, n, centered, sums, behind, scratch);
      row += n;
      continue;
    }
    row++;
    const mean = load<f64>(entry);
    const root = load<f64>(entry, 8);
    const near = <f32>mean;
    const rest = mean - <f64>near;
    let plain: f64 = 0;
    let along: f64 = 0;
    const w = weight == 0 ? 0 : weight + ((<usize>first) << 2);
    if (places == 1) {
      sumRow(scratch, g, x, w, width, near);
      plain = load<f64>(scratch);
      along = (load<f64>(scratch, 8) - rest * plain) * root;
    } else
      for (let c = 0; c < channels; c++) {
        if ((c & 1023) == 1023) beat();
        const at = <usize>c * run;
        sumRun(scratch, g + at, x + at, places, samples, stride, near);
        const a = load<f64>(scratch);
        const b = (load<f64>(scratch, 8) - rest * a) * root;
        if (sums != 0) {
          store<f32>(sums + ((<usize>c) << 2), <f32>a);
          store<f32>(sums + behind + ((<usize>c) << 2), <f32>b);
        }
        const by = parameter(weight, first + c, 1);
        plain += by * a;
        along += by * b;
      }
    if (to == 0) continue;
    const slope = -root * root * along * each;
    const shift = <f32>((centered ? -root * plain * each : 0) - rest * slope);
    if (places == 1) {
      gradRow(to, g, x, w, width, near, <f32>root, <f32>slope, shift);
      continue;
    }
    for (let c = 0; c < channels; c++) {
      const at = <usize>c * run;
      const scale = <f32>(root * parameter(weight, first + c, 1));
      gradRuns(to + at, g + at, x + at, places, samples, stride, near, scale, <f32>slope, shift);
      if ((c & 1023) == 1023) beat();
    }
  }
}

/** Rows whose sums are of float32. */
const LEAF: i32 = 16;

/** Adds four float32 to as many float64 at p. */
// @ts-ignore: decorator
@inline
function gather(p: usize, v: v128): void {
  v128.store(p, f64x2.add(v128.load(p), low(v)));
  v128.store(p, f64x2.add(v128.load(p, 16), high(v)), 16);
}

/**
 * Sums of n columns, a strip or four at a time (lines of one set of the cache do not stay for a second time): of g to `scratch`,
 * of g times standardised x 128 bytes behind.
 */
function sumStrip(scratch: usize, x: usize, g: usize, entry: usize, rows: i32, n: i32, bytes: usize, apart: usize): void {
  const zero = f32x4.splat(0);
  memory.fill(scratch, 0, 256);
  for (let done = 0; done < rows; done += LEAF) {
    if ((done & (127 * LEAF)) == 127 * LEAF) beat();
    const here = min(LEAF, rows - done);
    for (let c = 0; c < n; c += n == NormStrip.Columns ? NormStrip.Columns : 4) {
      const at = (<usize>c) << 2;
      let p = x + at;
      let q = g + at;
      let own = entry;
      let s0 = zero;
      let s1 = zero;
      let s2 = zero;
      let s3 = zero;
      let q0 = zero;
      let q1 = zero;
      let q2 = zero;
      let q3 = zero;
      for (let i = here; i > 0; i--, p += bytes, q += bytes, own += apart) {
        const mean = load<f64>(own);
        const root = load<f64>(own, 8);
        const near = <f32>mean;
        const vm = f32x4.splat(near);
        const vs = f32x4.splat(<f32>root);
        const vr = f32x4.splat(<f32>((mean - <f64>near) * root));
        const whole = n == NormStrip.Columns;
        let v = whole ? v128.load(q) : loadUpTo(q, n - c, zero);
        let d = whole ? v128.load(p) : loadUpTo(p, n - c, vm);
        s0 = f32x4.add(s0, v);
        q0 = f32x4.add(q0, f32x4.mul(v, f32x4.sub(f32x4.mul(f32x4.sub(d, vm), vs), vr)));
        if (!whole) continue;
        v = v128.load(q, 16);
        s1 = f32x4.add(s1, v);
        q1 = f32x4.add(q1, f32x4.mul(v, f32x4.sub(f32x4.mul(f32x4.sub(v128.load(p, 16), vm), vs), vr)));
        v = v128.load(q, 32);
        s2 = f32x4.add(s2, v);
        q2 = f32x4.add(q2, f32x4.mul(v, f32x4.sub(f32x4.mul(f32x4.sub(v128.load(p, 32), vm), vs), vr)));
        v = v128.load(q, 48);
        s3 = f32x4.add(s3, v);
        q3 = f32x4.add(q3, f32x4.mul(v, f32x4.sub(f32x4.mul(f32x4.sub(v128.load(p, 48), vm), vs), vr)));
      }
      const to = scratch + (at << 1);
      gather(to, s0);
      gather(to + 128, q0);
      if (n < NormStrip.Columns) continue;
      gather(to + 32, s1);
      gather(to + 64, s2);
      gather(to + 96, s3);
      gather(to + 160, q1);
      gather(to + 192, q2);
      gather(to + 224, q3);
    }
    x += <usize>here * bytes;
    g += <usize>here * bytes;
    entry += <usize>here * apart;
  }
}

export function normParameters(ip: usize, begin: i32, end: i32, scratch: usize): void {
  const groups = arg(ip, NormParameters.Groups);
  const channels = arg(ip, NormParameters.Channels);
  const block = arg(ip, NormParameters.Block);
  const rows = arg(ip, NormParameters.Rows) / groups;
  const strips = (channels + NormStrip.Columns - 1) / NormStrip.Columns;
  const width = <usize>(groups * channels);
  for (let unit = begin; unit < end; unit++) {
    const line = unit / strips;
    const b = line / groups;
    const group = line - b * groups;
    const column = (unit - line * strips) * NormStrip.Columns;
    const first = b * block;
    const at = (<usize>first * width + <usize>(group * channels + column)) << 2;
    const entry = ptr(ip, NormParameters.Statistics) + <usize>(first * groups + group) * STATISTICS;
    const n = min(NormStrip.Columns, channels - column);
    const x = ptr(ip, NormParameters.In) + at;
    const g = ptr(ip, NormParameters.Grad) + at;
    sumStrip(scratch, x, g, entry, min(block, rows - first), n, width << 2, <usize>groups * STATISTICS);
    const to = ptr(ip, NormParameters.Out) + ((<usize>b * 2 * width + <usize>(group * channels + column)) << 2);
    for (let c: usize = 0; c < <usize>n; c++) {
      store<f32>(to + (c << 2), <f32>load<f64>(scratch + (c << 3)));
      store<f32>(to + ((c + width) << 2), <f32>load<f64>(scratch + (c << 3), 128));
    }
  }
}
