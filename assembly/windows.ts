// Windows that slide along an axis, added back where they came from.
import { Fold } from "./isa";
import { arg, beat, ptr } from "./simd";

export function fold(ip: usize, begin: i32, end: i32, _scratch: usize): void {
  const extent = arg(ip, Fold.Extent);
  const windows = arg(ip, Fold.Windows);
  const inner = arg(ip, Fold.Inner);
  const size = arg(ip, Fold.Size);
  const step = arg(ip, Fold.Step);
  const dilation = arg(ip, Fold.Dilation);
  const block = arg(ip, Fold.Block);
  const column = (<usize>size) << 2;
  const bytes = (<usize>inner) << 2;
  const last = min(arg(ip, Fold.Outer) * extent, end * block);
  let turn = 0;
  for (let row = begin * block; row < last; row++) {
    const outer = row / extent;
    const at = row - outer * extent;
    const to = ptr(ip, Fold.Out) + <usize>row * bytes;
    const from = ptr(ip, Fold.In) + <usize>(outer * windows) * <usize>inner * column;
    for (let n: usize = 0; n < <usize>inner; n++) {
      if ((++turn & 15) == 0) beat();
      let sum: f64 = 0;
      for (let tap = 0, start = at; tap < size && start >= 0; tap++, start -= dilation) {
        const window = start / step;
        if (window * step == start && window < windows)
          sum += load<f32>(from + (<usize>window * <usize>inner + n) * column + ((<usize>tap) << 2));
      }
      store<f32>(to + (n << 2), <f32>sum);
    }
  }
}
