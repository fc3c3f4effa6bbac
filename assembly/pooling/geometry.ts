// Where windows lie: see Pool in isa.ts. Axes are 0, 1, 2 for D, H, W.
import { Pool } from "../isa";
import { arg } from "../simd";

/** Elements of images | windows | taps: `word` is the first of three extents. */
export function volume(ip: usize, word: i32): i32 {
  return arg(ip, word) * arg(ip, word + 1) * arg(ip, word + 2);
}

/** floor(k n / m) */
// @ts-ignore: decorator
@inline
export function share(k: i32, n: i32, m: i32): i32 {
  return <i32>((<i64>k * <i64>n) / <i64>m);
}

/** ceil(k n / m) */
// @ts-ignore: decorator
@inline
export function shareUp(k: i32, n: i32, m: i32): i32 {
  return <i32>((<i64>k * <i64>n + <i64>(m - 1)) / <i64>m);
}

/** The element of an axis that tap 0 of window k is; may lie outside. */
export function windowStart(ip: usize, axis: i32, k: i32): i32 {
  if (arg(ip, Pool.Adaptive)) return share(k, arg(ip, Pool.ImageD + axis), arg(ip, Pool.CountD + axis));
  return k * arg(ip, Pool.StrideD + axis) - arg(ip, Pool.PadD + axis);
}

/** The first tap of a window that is inside. */
export function firstTap(ip: usize, axis: i32, start: i32): i32 {
  if (start >= 0) return 0;
  const dilation = arg(ip, Pool.DilationD + axis);
  return (dilation - 1 - start) / dilation;
}

/** Behind the last tap of window k that is inside. */
export function lastTap(ip: usize, axis: i32, k: i32, start: i32): i32 {
  const image = arg(ip, Pool.ImageD + axis);
  if (arg(ip, Pool.Adaptive)) return shareUp(k + 1, image, arg(ip, Pool.CountD + axis)) - start;
  if (start >= image) return 0;
  return min(arg(ip, Pool.KernelD + axis), (image - 1 - start) / arg(ip, Pool.DilationD + axis) + 1);
}
