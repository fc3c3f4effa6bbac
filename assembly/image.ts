// What a band of a convolution's result sees of its source, in scratch: zeros around it and between, so that the element a tap of
// a place sees lies at the place's address plus an offset of the tap alone.
import { Convolution, ConvolutionTile } from "./isa";
import { arg, beat } from "./simd";

/** The elements that one operand has for each place of a channel, or tap of one. */
export function volume(ip: usize, first: i32): i32 {
  return arg(ip, first) * arg(ip, first + 1) * arg(ip, first + 2);
}

/** Elements of a line of the image that `cols` places of a row see. */
export function width(ip: usize, cols: i32): i32 {
  return (cols - 1) * arg(ip, Convolution.StrideW) + (arg(ip, Convolution.TapsW) - 1) * arg(ip, Convolution.DilationW) + 1;
}

/** Lines of the image that `rows` rows see. */
export function height(ip: usize, rows: i32): i32 {
  return (rows - 1) * arg(ip, Convolution.StrideH) + (arg(ip, Convolution.TapsH) - 1) * arg(ip, Convolution.DilationH) + 1;
}

/** Most rows of a plane, and places of a row where a whole one is too much, that so many channels have room for in the image. */
export function bandRows(ip: usize, channels: i32): i32 {
  const line = <i64>(channels * arg(ip, Convolution.TapsD)) * width(ip, arg(ip, Convolution.OutW)) * 4; // of many channels, beyond 2 GiB
  const lines = <i32>(ConvolutionTile.ImageBytes / line) - height(ip, 1);
  return lines < 0 ? 0 : lines / arg(ip, Convolution.StrideH) + 1;
}

export function bandCols(ip: usize, channels: i32): i32 {
  const line = ConvolutionTile.ImageBytes / (channels * arg(ip, Convolution.TapsD) * height(ip, 1) * 4);
  return (line - width(ip, 1)) / arg(ip, Convolution.StrideW) + 1;
}

/** n elements. */
function copyRow(to: usize, from: usize, n: i32): void {
  for (; n >= 4; n -= 4) {
    v128.store(to, v128.load(from));
    to += 16;
    from += 16;
  }
  for (; n > 0; --n) {
    store<u32>(to, load<u32>(from));
    to += 4;
    from += 4;
  }
}

function zeroRow(to: usize, n: i32): void {
  for (; n >= 4; n -= 4) {
    v128.store(to, i32x4.splat(0));
    to += 16;
  }
  for (; n > 0; --n) {
    store<u32>(to, 0);
    to += 4;
  }
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

/**
 * The image: [channels][TapsD][lines][line] of what `rows` rows from row h of plane d, their `cols` places from w on, see of
 * channels at `from`.
 */
export function fillImage(ip: usize, to: usize, from: usize, channels: i32, d: i32, h: i32, rows: i32, w: i32, cols: i32): void {
  const inD = arg(ip, Convolution.InD);
  const inH = arg(ip, Convolution.InH);
  const inW = arg(ip, Convolution.InW);
  const lines = height(ip, rows);
  const line = width(ip, cols);
  const tapsD = arg(ip, Convolution.TapsD);
  const spreadW = arg(ip, Convolution.SpreadW);
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
      for (let r = 0; r < lines; ++r) {
        const y = z < 0 ? -1 : lineAt(top + r, arg(ip, Convolution.SpreadH), inH);
        if (y < 0) zeroRow(to, line);
        else {
          const row = from + ((<usize>((c * inD + z) * inH + y) * <usize>inW) << 2);
          if (spreadW == 1) {
            zeroRow(to, before);
            copyRow(to + ((<usize>before) << 2), row + ((<usize>skipped) << 2), count);
            zeroRow(to + ((<usize>(before + count)) << 2), line - before - count);
          } else {
            zeroRow(to, line);
            for (let x = 0; x < inW; ++x) {
              const at = x * spreadW - left;
              if (at >= 0 && at < line) store<u32>(to + ((<usize>at) << 2), load<u32>(row + ((<usize>x) << 2)));
            }
          }
        }
        to += (<usize>line) << 2;
      }
    }
  }
}

/** Byte offsets in the image of so many taps, counted through all channels; those of channel `first` begin the image. */
export function fillOffsets(ip: usize, to: usize, from: i32, count: i32, first: i32, lines: i32, line: i32, turned: bool): void {
  const tapsD = arg(ip, Convolution.TapsD);
  const tapsH = arg(ip, Convolution.TapsH);
  const tapsW = arg(ip, Convolution.TapsW);
  let x = from % tapsW;
  let rest = from / tapsW;
  let y = rest % tapsH;
  rest /= tapsH;
  let z = rest % tapsD;
  let c = rest / tapsD - first;
  const stepH = arg(ip, Convolution.DilationH) * line;
  const stepW = arg(ip, Convolution.DilationW);
  for (let i = 0; i < count; ++i) {
    const tz = turned ? tapsD - 1 - z : z;
    const ty = turned ? tapsH - 1 - y : y;
    const tx = turned ? tapsW - 1 - x : x;
    store<i32>(to, ((c * tapsD + tz) * lines * line + ty * stepH + tx * stepW) << 2);
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
