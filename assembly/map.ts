// Map: runs a micro-program over a dense iteration space, one tile after the other.
import { Map, MapTile, Micro, Slot, View } from "./isa";
import { runMicro } from "./micro";
import { arg, loadPart, ptr, storePart } from "./simd";

/** Words of a micro-operation. */
const MICRO_WORDS = 5;

// Scratch: the registers, the slot table (an address or an immediate per slot), a vector for each word of a
// micro-operation, the multi-index of a walk.
const TILE_BYTES: usize = MapTile.Elements * 4;
const SLOTS: usize = MapTile.Registers * MapTile.Elements * 4;
const EDGE: usize = SLOTS + MapTile.Slots * 4;
const INDEX: usize = EDGE + MICRO_WORDS * 16;

/** Resolves the slots for a call whose first element is `first`. */
function resolve(ip: usize, first: i32, scratch: usize): void {
  const slots = arg(ip, Map.Slots);
  let entry = ip + (<usize>arg(ip, Map.SlotsAt) << 2);
  for (let s = 0; s < slots; s++, entry += 8) {
    let value = ptr(entry, 1);
    switch (arg(entry, 0)) {
      case Slot.Register:
        value = scratch + value * TILE_BYTES;
        break;
      case Slot.Dense:
        value += <usize>first << 2;
        break;
      case Slot.Bytes:
        value += <usize>first;
        break;
      case Slot.View:
        value = ip + (value << 2);
        break;
    }
    store<u32>(scratch + SLOTS + (<usize>s << 2), <u32>value);
  }
}

/** Moves the dense slots on by n elements. */
function advance(ip: usize, n: i32, scratch: usize): void {
  const slots = arg(ip, Map.Slots);
  let entry = ip + (<usize>arg(ip, Map.SlotsAt) << 2);
  let place = scratch + SLOTS;
  for (let s = 0; s < slots; s++, entry += 8, place += 4) {
    const kind = arg(entry, 0);
    if (kind == Slot.Dense) store<u32>(place, load<u32>(place) + (<u32>n << 2));
    else if (kind == Slot.Bytes) store<u32>(place, load<u32>(place) + <u32>n);
  }
}

/** What slot number `word` of the micro-operation at `micro` resolved to. */
// @ts-ignore: decorator
@inline
function slot(micro: usize, word: i32, scratch: usize): usize {
  return <usize>load<u32>(scratch + SLOTS + (ptr(micro, word) << 2));
}

/** Address of the n < 4 elements `at` bytes into an operand, with room for four: a copy, unless it is a register. */
function edge(ip: usize, micro: usize, word: i32, at: usize, n: i32, scratch: usize): usize {
  const place = slot(micro, word, scratch) + at;
  const entry = ip + (<usize>(arg(ip, Map.SlotsAt) + 2 * arg(micro, word)) << 2);
  if (arg(entry, 0) != Slot.Dense) return place;
  const copy = scratch + EDGE + (<usize>word << 4);
  v128.store(copy, loadPart(place, n));
  return copy;
}

/** Carries out a micro-operation that computes: whole vectors where they are, a ragged end in copies of it. */
function compute(ip: usize, micro: usize, op: i32, n: i32, scratch: usize): void {
  const dst = slot(micro, 1, scratch);
  const whole = n & ~3;
  runMicro(op, dst, slot(micro, 2, scratch), slot(micro, 3, scratch), slot(micro, 4, scratch), whole);
  if (n == whole) return;
  n -= whole;
  const at = <usize>whole << 2;
  const to = edge(ip, micro, 1, at, n, scratch);
  const a = edge(ip, micro, 2, at, n, scratch);
  const b = edge(ip, micro, 3, at, n, scratch);
  runMicro(op, to, a, b, edge(ip, micro, 4, at, n, scratch), 4);
  if (to != dst + at) storePart(dst + at, v128.load(to), n);
}

/** Runs the micro-operations [from, to) on the n elements from `first` on. */
function runMicros(ip: usize, from: i32, to: i32, first: i32, n: i32, scratch: usize): void {
  let micro = ip + (<usize>(arg(ip, Map.MicrosAt) + from * MICRO_WORDS) << 2);
  for (let m = from; m < to; m++, micro += MICRO_WORDS * 4) {
    const op = arg(micro, 0);
    const dst = slot(micro, 1, scratch);
    const a = slot(micro, 2, scratch);
    switch (op) {
      case Micro.Splat:
        fill(dst, i32x4.splat(<i32>a), n);
        break;
      case Micro.LoadView:
        if (arg(a, View.ElementBytes) == 4) walk<Load>(a, first, n, dst, scratch);
        else walk<LoadBytes>(a, first, n, dst, scratch);
        break;
      case Micro.StoreView:
        if (arg(dst, View.ElementBytes) == 4) walk<Store>(dst, first, n, a, scratch);
        else walk<StoreBytes>(dst, first, n, a, scratch);
        break;
      case Micro.LoadByte:
        widen(dst, a, n);
        break;
      case Micro.StoreByte:
        narrow(dst, a, n);
        break;
      case Micro.Iota:
        iota(dst, first, n);
        break;
      default:
        compute(ip, micro, op, n, scratch);
    }
  }
}

export function map(ip: usize, begin: i32, end: i32, scratch: usize): void {
  const total = arg(ip, Map.N);
  const grain = arg(ip, Map.Grain);
  let first = begin * grain;
  // The last unit may be ragged, and its end beyond the range of i32.
  const stop = <i32>min<i64>(<i64>end * <i64>grain, <i64>total);
  if (first >= stop) return;
  resolve(ip, first, scratch);
  const once = arg(ip, Map.Once);
  const micros = arg(ip, Map.Micros);
  if (once > 0) runMicros(ip, 0, once, first, min<i32>(MapTile.Elements, stop - first), scratch);
  while (true) {
    const n = min<i32>(MapTile.Elements, stop - first);
    runMicros(ip, once, micros, first, n, scratch);
    first += n;
    if (first >= stop) break;
    advance(ip, n, scratch);
  }
}

// Moves of dense operands ---------------------------------------------------------------------------------------------

function fill(dst: usize, value: v128, n: i32): void {
  for (; n >= 4; n -= 4, dst += 16) v128.store(dst, value);
  if (n > 0) storePart(dst, value, n);
}

function copyWords(dst: usize, a: usize, n: i32): void {
  for (; n >= 4; n -= 4, dst += 16, a += 16) v128.store(dst, v128.load(a));
  if (n > 0) storePart(dst, loadPart(a, n), n);
}

/** dst[i] = zero-extended byte i of a. */
function widen(dst: usize, a: usize, n: i32): void {
  for (; n >= 8; n -= 8, dst += 32, a += 8) {
    const x = v128.load_ext<u8>(a);
    v128.store(dst, i32x4.extend_low_i16x8_u(x));
    v128.store(dst, i32x4.extend_high_i16x8_u(x), 16);
  }
  for (; n > 0; n--, dst += 4, a += 1) store<u32>(dst, load<u8>(a));
}

/** Byte i of dst = the low 8 bits of a[i]. */
function narrow(dst: usize, a: usize, n: i32): void {
  const mask = i32x4.splat(255);
  for (; n >= 8; n -= 8, dst += 8, a += 32) {
    const x = i16x8.narrow_i32x4_u(v128.and(v128.load(a), mask), v128.and(v128.load(a, 16), mask));
    v128.store64_lane(dst, i8x16.narrow_i16x8_u(x, x), 0);
  }
  for (; n > 0; n--, dst += 1, a += 4) store<u8>(dst, load<u8>(a));
}

function iota(dst: usize, first: i32, n: i32): void {
  let x = i32x4.add(i32x4.splat(first), i32x4(0, 1, 2, 3));
  const four = i32x4.splat(4);
  for (; n >= 4; n -= 4, dst += 16) {
    v128.store(dst, x);
    x = i32x4.add(x, four);
  }
  if (n > 0) storePart(dst, x, n);
}

// Views ---------------------------------------------------------------------------------------------------------------
//
// A walk goes through a view in runs along its innermost extent. Each class carries out one kind of run: n elements at
// `place`, `step` bytes apart, and as many words of a tile at `tile`. Eight elements one by one cost less than the
// set-up of a vector loop.

/** Tile = elements. */
@unmanaged
class Load {
  @inline
  of(tile: usize, place: usize, step: i32, n: i32): void {
    if (n >= 8) {
      if (step == 4) return copyWords(tile, place, n);
      if (step == 0) return fill(tile, v128.load32_splat(place), n);
    }
    do {
      store<u32>(tile, load<u32>(place));
      tile += 4;
      place += step;
    } while (--n > 0);
  }
}

/** Elements = tile. */
@unmanaged
class Store {
  @inline
  of(tile: usize, place: usize, step: i32, n: i32): void {
    if (n >= 8 && step == 4) return copyWords(place, tile, n);
    do {
      store<u32>(place, load<u32>(tile));
      tile += 4;
      place += step;
    } while (--n > 0);
  }
}

/** Tile = elements of one byte. */
@unmanaged
class LoadBytes {
  @inline
  of(tile: usize, place: usize, step: i32, n: i32): void {
    if (n >= 8) {
      if (step == 1) return widen(tile, place, n);
      if (step == 0) return fill(tile, i32x4.splat(load<u8>(place)), n);
    }
    do {
      store<u32>(tile, load<u8>(place));
      tile += 4;
      place += step;
    } while (--n > 0);
  }
}

/** Elements of one byte = tile. */
@unmanaged
class StoreBytes {
  @inline
  of(tile: usize, place: usize, step: i32, n: i32): void {
    if (n >= 8 && step == 1) return narrow(place, tile, n);
    do {
      store<u8>(place, load<u8>(tile));
      tile += 4;
      place += step;
    } while (--n > 0);
  }
}

/** Moves the n > 0 elements from flat index `first` on between a view and a tile. */
function walk<F>(view: usize, first: i32, n: i32, tile: usize, scratch: usize): void {
  const f = changetype<F>(0);
  const bytes = arg(view, View.ElementBytes);
  const rank = arg(view, View.Rank);
  const extents = view + View.Dims * 4;
  const strides = extents + (<usize>rank << 2);
  const index = scratch + INDEX;

  // The innermost run, as long as it may be: dimensions that continue it join it.
  let outer = rank - 1;
  let extent = 1;
  let step = 0;
  for (; outer >= 0; outer--) {
    const e = arg(extents, outer);
    const s = arg(strides, outer) * bytes;
    if (extent == 1) {
      extent = e;
      step = s;
    } else if (e == 1 || s == extent * step) extent *= e;
    else break;
  }

  // Where `first` is: `place` stays at the start of a run, `at` is the index in it.
  let place = ptr(view, View.Address);
  let rest = first / extent;
  let at = first - rest * extent;
  for (let d = outer; d >= 0; d--) {
    const e = arg(extents, d);
    const next = rest / e;
    const i = rest - next * e;
    store<i32>(index + (<usize>d << 2), i);
    place += i * arg(strides, d) * bytes;
    rest = next;
  }

  while (true) {
    const run = min<i32>(n, extent - at);
    // @ts-ignore: F is a class with the method `of`
    f.of(tile, place + at * step, step, run);
    n -= run;
    if (n <= 0) return;
    tile += <usize>run << 2;
    at = 0;
    for (let d = outer; d >= 0; d--) {
      const where = index + (<usize>d << 2);
      const i = load<i32>(where) + 1;
      const stride = arg(strides, d) * bytes;
      if (i < arg(extents, d)) {
        store<i32>(where, i);
        place += stride;
        break;
      }
      store<i32>(where, 0);
      place -= (i - 1) * stride;
    }
  }
}
