// Running sums along the middle axis of [Outer, R, Inner].
import { Cumsum } from "./isa";
import { arg, beat, ptr } from "./simd";

/** Columns that walk down together: their sums wait in scratch, 8 bytes each. */
const STRIP: i32 = 1024;
/** Elements after which a long walk gives a sign of life. */
const BEAT: i32 = 1 << 18;

/** Sums of T are kept in A, which is wider: float32 in float64, int32 in int64. */
function sumColumns<T, A>(ip: usize, begin: i32, end: i32, sums: usize): void {
  const rows = arg(ip, Cumsum.R);
  const inner = arg(ip, Cumsum.Inner);
  const grain = arg(ip, Cumsum.Grain);
  const bytes = inner << 2;
  const reverse = arg(ip, Cumsum.Reverse) != 0;
  const step = reverse ? -bytes : bytes;
  const last = min(arg(ip, Cumsum.Outer) * inner, end * grain);
  let done = begin * grain;
  let walked = 0;
  while (done < last) {
    const outer = done / inner;
    const column = done - outer * inner;
    const columns = min(min(inner - column, last - done), STRIP);
    memory.fill(sums, 0, (<usize>columns) << 3);
    let at = <usize>(outer * rows * inner + column) << 2;
    if (reverse) at += <usize>((rows - 1) * bytes);
    for (let r = 0; r < rows; r++, at += step) {
      const from = ptr(ip, Cumsum.In) + at;
      const to = ptr(ip, Cumsum.Out) + at;
      for (let c: usize = 0; c < <usize>columns; c++) {
        const sum = load<A>(sums + (c << 3)) + <A>load<T>(from + (c << 2));
        store<A>(sums + (c << 3), sum);
        store<T>(to + (c << 2), <T>sum);
      }
      walked += columns;
      if (walked >= BEAT) {
        walked = 0;
        beat();
      }
    }
    done += columns;
  }
}

export function cumsum(ip: usize, begin: i32, end: i32, scratch: usize): void {
  if (arg(ip, Cumsum.Integer) != 0) sumColumns<i32, i64>(ip, begin, end, scratch);
  else sumColumns<f32, f64>(ip, begin, end, scratch);
}
