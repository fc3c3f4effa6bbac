// Conditions that a step needs to hold.
import { Assert } from "./isa";
import { arg, ptr, recordFault } from "./simd";

export function assert(ip: usize, _begin: i32, _end: i32, scratch: usize): void {
  const n = arg(ip, Assert.N);
  for (let i = 0; i < n; i++) {
    const at = (<usize>i) << 2;
    const value = load<i32>(ptr(ip, Assert.In) + at);
    store<i32>(ptr(ip, Assert.Out) + at, value);
    if (value != 0) recordFault(scratch, ip, arg(ip, Assert.Code), i, value, 0);
  }
}
