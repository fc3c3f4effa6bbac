// What taps of a plane see of its image, vector by vector.

/** What four places `step` elements apart see, i elements from p, i < 5; where the step is 1 or 2, both are constants. */
// @ts-ignore: decorator
@inline
export function seen(p: usize, step: i32, i: i32): v128 {
  if (step == 1) {
    if (i == 0) return v128.load(p);
    if (i == 1) return v128.load(p, 4);
    if (i == 2) return v128.load(p, 8);
    return i == 3 ? v128.load(p, 12) : v128.load(p, 16);
  }
  if (step == 2) {
    if (i == 0) return v128.shuffle<f32>(v128.load(p), v128.load(p, 12), 0, 2, 5, 7);
    if (i == 1) return v128.shuffle<f32>(v128.load(p, 4), v128.load(p, 16), 0, 2, 5, 7);
    if (i == 2) return v128.shuffle<f32>(v128.load(p, 8), v128.load(p, 20), 0, 2, 5, 7);
    if (i == 3) return v128.shuffle<f32>(v128.load(p, 12), v128.load(p, 24), 0, 2, 5, 7);
    return v128.shuffle<f32>(v128.load(p, 16), v128.load(p, 28), 0, 2, 5, 7);
  }
  const next = (<usize>step) << 2;
  let v = v128.load32_zero(p);
  v = v128.load_lane<u32>(p + next, v, 1);
  v = v128.load_lane<u32>(p + (next << 1), v, 2);
  return v128.load_lane<u32>(p + next * 3, v, 3);
}

/** How many of the next taps see elements side by side: five, nine by threes, three, or one. */
export function together(taps: usize, left: i32): i32 {
  if (left >= 5 && load<u32>(taps, 16) - load<u32>(taps) == 16 && load<u32>(taps, 8) - load<u32>(taps) == 8) return 5;
  if (left < 3 || load<u32>(taps, 8) - load<u32>(taps) != 8) return 1;
  if (left < 9 || load<u32>(taps, 20) - load<u32>(taps, 12) != 8) return 3;
  return load<u32>(taps, 32) - load<u32>(taps, 24) == 8 ? 9 : 3;
}
