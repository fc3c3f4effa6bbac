// Which element stands beyond the ends of an axis.
import { Border } from "./isa";

/** The element of an axis of n that stands at place p; farther away than the mode reaches, some element. */
export function borderAt(p: i32, n: i32, border: i32): i32 {
  if (border == Border.Reflect) p = p < 0 ? -p : p >= n ? ((n - 1) << 1) - p : p;
  else if (border == Border.Circular) p = p < 0 ? p + n : p >= n ? p - n : p;
  return max(0, min(p, n - 1));
}
