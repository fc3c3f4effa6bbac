// What a band of a convolution's result sees of its source, in scratch: zeros around it, so that the element a tap of
// a place sees lies at the place's address plus an offset of the tap alone.
import { borderAt } from "../borders";
import { Border, Convolution, ConvolutionTile } from "../isa";
import { arg, beat, ptr } from "../simd";

/** The elements that one operand has for each place of a channel, or tap of one. */
export function volume(ip: usize, first: i32): i32 {
  return arg(ip, first) * arg(ip, first + 1) * arg(ip, first + 2);
}

/** The address of place (d, h, w) of a plane of the result, counted through samples. */
export function placeOf(ip: usize, plane: i32, d: i32, h: i32, w: i32): usize {
  const place =
    arg(ip, Convolution.OutFirst) +
    d * arg(ip, Convolution.OutStepD) +
    h * arg(ip, Convolution.OutStepH) +
    w * arg(ip, Convolution.OutStepW);
  return ptr(ip, Convolution.Out) + ((<usize>plane * ptr(ip, Convolution.OutPlane) + <usize>place) << 2);
}

/** The address of the first tap of channel c of result o of a group. */
export function kernelOf(ip: usize, g: i32, o: i32, c: i32): usize {
  const at =
    arg(ip, Convolution.KernelFirst) +
    g * arg(ip, Convolution.KernelGroup) +
    o * arg(ip, Convolution.KernelResult) +
    c * arg(ip, Convolution.KernelChannel);
  return ptr(ip, Convolution.Kernels) + ((<usize>at) << 2);
}

/** Elements of a line of the image that `cols` places of a row see. */
export function width(ip: usize, cols: i32): i32 {
  return (cols - 1) * arg(ip, Convolution.StrideW) + (arg(ip, Convolution.TapsW) - 1) * arg(ip, Convolution.DilationW) + 1;
}

/** Lines of the image that `rows` rows see. */
export function height(ip: usize, rows: i32): i32 {
  return (rows - 1) * arg(ip, Convolution.StrideH) + (arg(ip, Convolution.TapsH) - 1) * arg(ip, Convolution.DilationH) + 1;
}

/** Most rows of `cols` places, and places of a row where those are too many, that so many channels have room for in the image. */
export function bandRows(ip: usize, channels: i32, cols: i32): i32 {
  const line = <i64>(channels * arg(ip, Convolution.TapsD)) * width(ip, cols) * 4; // of many channels, beyond 2 GiB
  const lines = <i32>(ConvolutionTile.ImageBytes / line) - height(ip, 1);
  return lines < 0 ? 0 : lines / arg(ip, Convolution.StrideH) + 1;
}

export function bandCols(ip: usize, channels: i32): i32 {
  const line = ConvolutionTile.ImageBytes / (channels * arg(ip, Convolution.TapsD) * height(ip, 1) * 4);
  return (line - width(ip, 1)) / arg(ip, Convolution.StrideW) + 1;
}

/** Which line of an axis of `extent` lies at a place of the axis spread apart; -1 if none does. */
export function lineAt(place: i32, spread: i32, extent: i32): i32 {
  if (place < 0) return -1;
  if (spread != 1) {
    if (place % spread != 0) return -1;
    place /= spread;
  }
  return place < extent ? place : -1;
}

/** n elements. */
// @ts-ignore: decorator
@inline
function copyRow(to: usize, from: usize, n: i32): void {
  if (n >= 4) {
    // The last four may be some that were there before.
    const last = (<usize>(n - 4)) << 2;
    for (let o: usize = 0; o < last; o += 16) v128.store(to + o, v128.load(from + o));
    v128.store(to + last, v128.load(from + last));
    return;
  }
  for (; n > 0; --n) {
    store<u32>(to, load<u32>(from));
    to += 4;
    from += 4;
  }
}

/** n zeros, and up to three behind them. */
// @ts-ignore: decorator
@inline
function zeroRow(to: usize, n: i32): void {
  for (; n > 0; n -= 4) {
    v128.store(to, i32x4.splat(0));
    to += 16;
  }
}

/** What stands in a line of `n` places from (z, y, from) on of a channel, beyond the ends of a row; `all`: within them too. */
function borderLine(ip: usize, to: usize, channel: usize, z: i32, y: i32, from: i32, n: i32, all: bool): void {
  const around = arg(ip, Convolution.Around);
  const inH = arg(ip, Convolution.InH);
  const extent = arg(ip, Convolution.InW);
  z = borderAt(z, arg(ip, Convolution.InD), around);
  const row = channel + ((<usize>((z * inH + borderAt(y, inH, around)) * extent)) << 2);
  for (let i = 0; i < n; ++i) {
    if (!all && from + i == 0 && i + extent < n) i += extent;
    if (all || <u32>(from + i) >= <u32>extent)
      store<u32>(to + ((<usize>i) << 2), load<u32>(row + ((<usize>borderAt(from + i, extent, around)) << 2)));
  }
}

/**
 * The image: [channels][TapsD][lines][line] of what `rows` rows from row h of plane d, their `cols` places from w on, see of
 * channels at `from`. Up to three elements behind it are written too.
 */
export function fillImage(ip: usize, to: usize, from: usize, channels: i32, d: i32, h: i32, rows: i32, w: i32, cols: i32): void {
  const inD = arg(ip, Convolution.InD);
  const inH = arg(ip, Convolution.InH);
  const inW = arg(ip, Convolution.InW);
  const lines = height(ip, rows);
  const line = width(ip, cols);
  const tapsD = arg(ip, Convolution.TapsD);
  const spreadH = arg(ip, Convolution.SpreadH);
  const spreadW = arg(ip, Convolution.SpreadW);
  const around = arg(ip, Convolution.Around);
  const top = h * arg(ip, Convolution.StrideH) - arg(ip, Convolution.PadH);
  const left = w * arg(ip, Convolution.StrideW) - arg(ip, Convolution.PadW);
  const front = d * arg(ip, Convolution.StrideD) - arg(ip, Convolution.PadD);
  // Elements of the line before the first one of In, and those that are there.
  const before = max(0, min(line, -left));
  const skipped = max(0, left);
  const count = max(0, min(line - before, inW - skipped));
  for (let c = 0; c < channels; ++c) {
    if ((c & 31) == 31) beat();
    for (let t = 0; t < tapsD; ++t) {
      const z = lineAt(front + t * arg(ip, Convolution.DilationD), arg(ip, Convolution.SpreadD), inD);
      const plane = from + ((<usize>((c * inD + z) * inH) * <usize>inW) << 2);
      if (z >= 0 && top >= 0 && top + lines <= inH && count == inW && line == inW && spreadH == 1) {
        // Whole rows, and nothing around them.
        copyRow(to, plane + ((<usize>(top * inW)) << 2), lines * line);
        to += (<usize>(lines * line)) << 2;
        continue;
      }
      for (let r = 0; r < lines; ++r) {
        const y = spreadH == 1 ? top + r : lineAt(top + r, spreadH, inH);
        if (z < 0 || <u32>y >= <u32>inH) {
          if (around == Border.Zeros) zeroRow(to, line);
          else {
            const channel = from + ((<usize>(c * inD * inH) * <usize>inW) << 2);
            borderLine(ip, to, channel, front + t * arg(ip, Convolution.DilationD), top + r, left, line, true);
          }
        } else if (spreadW != 1) {
          const row = plane + ((<usize>(y * inW)) << 2);
          zeroRow(to, line);
          for (let x = 0, at = -left; x < inW && at < line; ++x, at += spreadW)
            if (at >= 0) store<u32>(to + ((<usize>at) << 2), load<u32>(row + ((<usize>x) << 2)));
        } else {
          const row = plane + ((<usize>(y * inW)) << 2);
          const inside = to + ((<usize>before) << 2);
          zeroRow(to, before);
          copyRow(inside, row + ((<usize>skipped) << 2), count);
          zeroRow(inside + ((<usize>count) << 2), line - before - count);
          if (around != Border.Zeros) {
            const channel = from + ((<usize>(c * inD * inH) * <usize>inW) << 2);
            borderLine(ip, to, channel, z, y, left, line, false);
          }
        }
        to += (<usize>line) << 2;
      }
    }
  }
}

/**
 * Byte offsets of so many taps from number `from` on, counted through all channels, by elements from channel to channel and from
 * tap to tap along each axis; `first`: of the first tap of channel 0.
 */
export function fillOffsets(
  ip: usize,
  to: usize,
  from: i32,
  count: i32,
  first: i32,
  channel: i32,
  stepD: i32,
  stepH: i32,
  stepW: i32,
): void {
  const tapsD = arg(ip, Convolution.TapsD);
  const tapsH = arg(ip, Convolution.TapsH);
  const tapsW = arg(ip, Convolution.TapsW);
  let x = from % tapsW;
  let rest = from / tapsW;
  let y = rest % tapsH;
  rest /= tapsH;
  let z = rest % tapsD;
  let c = rest / tapsD;
  for (let i = 0; i < count; ++i) {
    store<i32>(to, (first + c * channel + z * stepD + y * stepH + x * stepW) << 2);
    to += 4;
    if (++x == tapsW) {
      x = 0;
      if (++y == tapsH) {
        y = 0;
        if (++z == tapsD) {
          z = 0;
          ++c;
        }
      }
    }
  }
}

/** Those in the image, from channel `first` on. */
export function imageOffsets(ip: usize, to: usize, from: i32, count: i32, first: i32, lines: i32, line: i32): void {
  const plane = lines * line;
  const channel = arg(ip, Convolution.TapsD) * plane;
  const stepH = arg(ip, Convolution.DilationH) * line;
  fillOffsets(ip, to, from, count, -first * channel, channel, plane, stepH, arg(ip, Convolution.DilationW));
}
