// Rows standardised by their statistics.
import { Norm, NormStage } from "./isa";
import { isColumn, measure, merge, parameter, STATISTICS } from "./moments";
import { applyColumns, measureColumns } from "./normcolumns";
import { arg, beat, farg, loadUpTo, PART, ptr, storeUpTo } from "./simd";

/** to = (x - mean) scale + shift, for `count` pieces of n elements each, `stride` bytes apart. */
function applyRuns(
  to: usize,
  x: usize,
  n: i32,
  count: i32,
  stride: usize,
  mean: f32,
  scale: f32,
  shift: f32,
): void {
  const vm = f32x4.splat(mean);
  const vs = f32x4.splat(scale);
  const vt = f32x4.splat(shift);
  let walked = 0;
  for (; count > 0; count--, to += stride, x += stride) {
    let at: usize = 0;
    let left = n;
    while (left > 0) {
      const rest = left > PART ? left - PART : 0;
      walked += left - rest;
      for (; left - rest >= 16; left -= 16, at += 64) {
        const p = x + at;
        const q = to + at;
        v128.store(q, f32x4.add(f32x4.mul(f32x4.sub(v128.load(p), vm), vs), vt));
        v128.store(q, f32x4.add(f32x4.mul(f32x4.sub(v128.load(p, 16), vm), vs), vt), 16);
        v128.store(q, f32x4.add(f32x4.mul(f32x4.sub(v128.load(p, 32), vm), vs), vt), 32);
        v128.store(q, f32x4.add(f32x4.mul(f32x4.sub(v128.load(p, 48), vm), vs), vt), 48);
      }
      for (; left > rest; left -= 4, at += 16) {
        const v = f32x4.sub(loadUpTo(x + at, left, vm), vm);
        storeUpTo(to + at, f32x4.add(f32x4.mul(v, vs), vt), left);
      }
      if (walked >= PART) {
        walked = 0;
        beat();
      }
    }
  }
}

/** to = ((x - mean) scale - rest) w + b, n elements; w and b may be 0, for a weight of 1 and no bias. */
function applyRow(to: usize, x: usize, w: usize, b: usize, n: i32, mean: f32, scale: f32, rest: f32): void {
  const vm = f32x4.splat(mean);
  const vs = f32x4.splat(scale);
  const vr = f32x4.splat(rest);
  const zero = f32x4.splat(0);
  let at: usize = 0;
  while (n > 0) {
    const later = n > PART ? n - PART : 0;
    for (; n - later >= 8; n -= 8, at += 32) {
      let u = f32x4.sub(f32x4.mul(f32x4.sub(v128.load(x + at), vm), vs), vr);
      let v = f32x4.sub(f32x4.mul(f32x4.sub(v128.load(x + at, 16), vm), vs), vr);
      if (w != 0) {
        u = f32x4.mul(u, v128.load(w + at));
        v = f32x4.mul(v, v128.load(w + at, 16));
      }
      if (b != 0) {
        u = f32x4.add(u, v128.load(b + at));
        v = f32x4.add(v, v128.load(b + at, 16));
      }
      v128.store(to + at, u);
      v128.store(to + at, v, 16);
    }
    for (; n > later; n -= 4, at += 16) {
      let v = f32x4.sub(f32x4.mul(f32x4.sub(loadUpTo(x + at, n, zero), vm), vs), vr);
      if (w != 0) v = f32x4.mul(v, loadUpTo(w + at, n, zero));
      if (b != 0) v = f32x4.add(v, loadUpTo(b + at, n, zero));
      storeUpTo(to + at, v, n);
    }
    if (later > 0) beat();
  }
}

/** Units of Split samples, each with all rows. */
function normSamples(ip: usize, begin: i32, end: i32, scratch: usize): void {
  const samples = arg(ip, Norm.A);
  const rows = arg(ip, Norm.Rows);
  const groups = arg(ip, Norm.Groups);
  const places = arg(ip, Norm.Places);
  const centered = arg(ip, Norm.Centered) != 0;
  const stage = arg(ip, Norm.Stage);
  const split = arg(ip, Norm.Split);
  const bytes = (<usize>places) << 2;
  const stride = <usize>rows * bytes;
  let statistics = ptr(ip, Norm.Statistics);
  if (stage == NormStage.Apply && ptr(ip, Norm.Partials) != 0) {
    // Each worker merges for itself, what takes less time than to wait for the one that does it for all.
    statistics = scratch;
    for (let row = 0; row < rows; row++) {
      const at = <usize>row * STATISTICS;
      merge(scratch + at, ptr(ip, Norm.Partials) + at, samples, split, <usize>rows * STATISTICS);
      store<f64>(scratch + at, 1 / sqrt<f64>(load<f64>(scratch + at, 8) + <f64>farg(ip, Norm.Eps)), 8);
      if ((row & 255) == 255) beat();
    }
  }
  for (let unit = begin; unit < end; unit++) {
    const first = unit * split;
    const count = min(split, samples - first);
    const partials = ptr(ip, Norm.Partials) + <usize>unit * <usize>rows * STATISTICS;
    for (let row = 0; row < rows; row++) {
      const at = <usize>first * stride + <usize>row * bytes;
      const from = ptr(ip, Norm.In) + at;
      if ((row & 255) == 255) beat();
      if (stage == NormStage.Measure) {
        measure(partials + <usize>row * STATISTICS, from, places, count, stride, centered);
        continue;
      }
      const entry = statistics + <usize>row * STATISTICS;
      const mean = load<f64>(entry);
      const near = <f32>mean;
      const scale = load<f64>(entry, 8) * parameter(ptr(ip, Norm.Weight), row % groups, 1);
      const shift = parameter(ptr(ip, Norm.Bias), row % groups, 0) - (mean - <f64>near) * scale;
      applyRuns(ptr(ip, Norm.Out) + at, from, places, count, stride, near, <f32>scale, <f32>shift);
    }
  }
}

export function norm(ip: usize, begin: i32, end: i32, scratch: usize): void {
  const samples = arg(ip, Norm.A);
  const rows = arg(ip, Norm.Rows);
  const groups = arg(ip, Norm.Groups);
  const channels = arg(ip, Norm.Channels);
  const places = arg(ip, Norm.Places);
  const eps = <f64>farg(ip, Norm.Eps);
  const centered = arg(ip, Norm.Centered) != 0;
  const stage = arg(ip, Norm.Stage);
  const split = arg(ip, Norm.Split);
  if (split != 0 && stage != NormStage.Merge) {
    normSamples(ip, begin, end, scratch);
    return;
  }
  const block = arg(ip, Norm.Block);
  const moments = ptr(ip, Norm.Moments);
  const weight = ptr(ip, Norm.Weight);
  const bias = ptr(ip, Norm.Bias);
  const width = channels * places;
  const bytes = (<usize>width) << 2;
  const stride = <usize>rows * bytes;
  const last = min(rows, end * block);
  const column = isColumn(samples, width);
  for (let row = begin * block; row < last; ) {
    const entry = ptr(ip, Norm.Statistics) + <usize>row * STATISTICS;
    const from = ptr(ip, Norm.In) + <usize>row * bytes;
    const to = ptr(ip, Norm.Out) + <usize>row * bytes;
    // Columns go four by four.
    const count = column ? min(4, last - row) : 1;
    if (stage != NormStage.Apply) {
      const partials = ptr(ip, Norm.Partials) + <usize>row * STATISTICS;
      if (stage == NormStage.Merge) merge(entry, partials, samples, split, <usize>rows * STATISTICS);
      else if (column) measureColumns(entry, from, samples, stride, count, centered);
      else measure(entry, from, width, samples, stride, centered);
      for (let i = 0; i < count; i++) {
        const own = entry + <usize>i * STATISTICS;
        const variance = load<f64>(own, 8);
        if (moments != 0) {
          store<f32>(moments + ((<usize>(row + i)) << 2), <f32>load<f64>(own));
          store<f32>(moments + ((<usize>(rows + row + i)) << 2), <f32>variance);
        }
        store<f64>(own, 1 / sqrt<f64>(variance + eps), 8);
      }
    }
    if ((stage & NormStage.Apply) != 0) {
      if (column) applyColumns(to, from, entry, weight, bias, row, groups, samples, stride, count, scratch);
      else {
        const mean = load<f64>(entry);
        const root = load<f64>(entry, 8);
        const near = <f32>mean;
        // What float32 does not have of the mean.
        const rest = mean - <f64>near;
        const first = (row % groups) * channels;
        if (places == 1) {
          const at = (<usize>first) << 2;
          const w = weight == 0 ? 0 : weight + at;
          const b = bias == 0 ? 0 : bias + at;
          applyRow(to, from, w, b, width, near, <f32>root, <f32>(rest * root));
        } else {
          const run = (<usize>places) << 2;
          for (let c = 0; c < channels; c++) {
            const scale = root * parameter(weight, first + c, 1);
            const shift = parameter(bias, first + c, 0) - rest * scale;
            const at = <usize>c * run;
            applyRuns(to + at, from + at, places, samples, stride, near, <f32>scale, <f32>shift);
            if ((c & 1023) == 1023) beat();
          }
        }
      }
    }
    row += count;
  }
}
