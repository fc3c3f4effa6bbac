/** @file Elementwise nodes, copies and fillings as Map instructions: slots, micro-operations, and the tiles they run over. */
import * as isa from "../../../assembly/isa.ts";
import { bytesOf, isFloat } from "../../core/dtype.ts";
import { numel } from "../../core/shape.ts";
import type { Node } from "../../graph/node.ts";
import { constantValue } from "../../ops/leaf.ts";
import type { Allocation, Ref, Word } from "../instr.ts";
import { collapse, isDense, type Strided } from "../view.ts";
import { NS } from "./cost.ts";
import { type Emission, floatBits, GRAIN, grainOf, type Touch } from "./emission.ts";
import { microsOf } from "./micros.ts";

/** Buffers by when, within a tile, a Map reads them last and writes them first: by the number of the micro-operation. */
function touched(
  slots: readonly (readonly [isa.Slot, Word])[],
  micros: readonly (readonly number[])[],
): { lastRead: Map<Allocation, number>; firstWrite: Map<Allocation, number> } {
  const bufferOf = (slot: number): Allocation | undefined => {
    const word = slots[slot]?.[1];
    return typeof word === "object" ? word.buffer : undefined;
  };
  const lastRead = new Map<Allocation, number>();
  const firstWrite = new Map<Allocation, number>();
  micros.forEach(([op, dst, ...operands], m) => {
    for (const slot of operands) {
      const b = bufferOf(slot);
      if (b) lastRead.set(b, m);
    }
    const written = op === isa.Micro.Splat ? undefined : bufferOf(dst);
    if (written && !firstWrite.has(written)) firstWrite.set(written, m);
  });
  return { lastRead, firstWrite };
}

/** How many elements of a buffer are cut like those of the shape: row by row, if there are more of them; 0: it is not cut. */
type Cut = number;

/** The extent of the first axis with more than one place. */
const rowCount = (shape: readonly number[]): number => shape.find((d) => d > 1) ?? 1;

/** Elements from one row to the next of what the view is of, if each of the view's rows lies within one of those; else 0. */
function rowStride({ shape, strides, offset }: Strided): number {
  const axis = shape.findIndex((d) => d > 1);
  const stride = axis < 0 ? 0 : strides[axis];
  const within = strides.slice(axis + 1);
  const last = within.reduce((sum, s, i) => sum + s * (shape[axis + 1 + i] - 1), offset);
  return stride > 0 && offset >= 0 && last < stride && within.every((s) => s >= 0) ? stride : 0;
}

/**
 * One Map instruction over `shape`: computes `nodes`, then writes each of `outs` to its place. With `into`, an output goes
 * to a strided part of its place instead. False, and nothing emitted, if there is not room for all in one.
 */
export function emitMap(
  l: Emission,
  label: Node,
  shape: readonly number[],
  nodes: readonly Node[],
  outs: readonly { node: Node; to: Ref; into?: Strided }[],
): boolean {
  const n = numel(shape);
  const slots: [number, Word][] = [];
  const viewWords: { slot: number; words: Word[] }[] = [];
  const once: number[][] = [];
  const each: number[][] = [];
  const reads = new Map<Allocation, [Ref, Cut]>();
  /** Buffers of which views are read: any place of a unit, to its end, so nothing may lie over them. */
  const viewed = new Set<Allocation>();
  const free: number[] = [];
  const registerOf = new Map<number, number>();
  let registers = 0;

  const slot = (kind: isa.Slot, value: Word): number => slots.push([kind, value]) - 1;
  const register = (): number => {
    const r = free.pop() ?? registers++;
    const s = slot(isa.Slot.Register, r);
    registerOf.set(s, r);
    return s;
  };
  // A register filled once per call keeps its tile for good: neither taken from the free ones nor freed.
  const keptRegister = (): number => slot(isa.Slot.Register, registers++);
  const splats = new Map<number, number>();
  const immediate = (bits: number): number => {
    let s = splats.get(bits);
    if (s === undefined) {
      s = keptRegister();
      once.push([isa.Micro.Splat, s, slot(isa.Slot.Immediate, bits), 0, 0]);
      splats.set(bits, s);
    }
    return s;
  };
  const reading = (ref: Ref, how: Cut): void => {
    const before = reads.get(ref.buffer);
    const same = !before || (before[1] === how && before[0].offset === ref.offset);
    reads.set(ref.buffer, [ref, same ? how : 0]);
  };

  const slotOf = new Map<Node, number>();
  const lastUse = new Map<Node, number>();
  nodes.forEach((x, i) => x.src.forEach((s) => lastUse.set(s, i)));
  // What goes to a strided part is stored as soon as it is there; other results keep their places to the end.
  const parts = new Map(outs.filter((o) => o.into && nodes.includes(o.node)).map((o) => [o.node, o]));
  for (const o of outs) if (!parts.has(o.node)) lastUse.set(o.node, Number.POSITIVE_INFINITY);

  const viewSlot = (address: Ref, bytes: number, v: Strided): number => {
    const { dims, strides } = collapse(v.shape, v.strides);
    const words: Word[] = [address, bytes, dims.length, ...dims, ...strides];
    const s = slot(isa.Slot.View, 0);
    viewWords.push({ slot: s, words });
    return s;
  };

  const operand = (x: Node): number => {
    const known = slotOf.get(x);
    if (known !== undefined) return known;
    const v = l.view(x);
    const value = constantValue(v.base);
    let s: number;
    if (value !== undefined) s = immediate(isFloat(x.dtype) ? floatBits(value) : value);
    else {
      const bytes = bytesOf(x.dtype);
      const at = l.origin(v);
      if (isDense(v) && numel(v.shape) === n) {
        reading(at, n);
        if (bytes === 4) s = slot(isa.Slot.Dense, at);
        else {
          s = register();
          each.push([isa.Micro.LoadByte, s, slot(isa.Slot.Bytes, at), 0, 0]);
        }
      } else {
        const stride = rowStride(v);
        viewed.add(at.buffer);
        reading(stride > 0 ? l.ref(v.base) : at, stride * rowCount(shape));
        const single = v.strides.every((st, i) => st === 0 || v.shape[i] === 1);
        s = single ? keptRegister() : register();
        (single ? once : each).push([isa.Micro.LoadView, s, viewSlot(at, bytes, v), 0, 0]);
      }
    }
    slotOf.set(x, s);
    return s;
  };

  const outOf = new Map(outs.filter((o) => !o.into && bytesOf(o.node.dtype) === 4).map((o) => [o.node, o]));
  nodes.forEach((x, i) => {
    let src = x.src.map(operand);
    const steps = microsOf(x);
    const out = outOf.get(x);
    for (const s of new Set(x.src))
      if (lastUse.get(s) === i) {
        const sl = slotOf.get(s) as number;
        const r = registerOf.get(sl);
        if (r !== undefined) {
          free.push(r);
          registerOf.delete(sl);
        }
      }
    const dst = out ? slot(isa.Slot.Dense, out.to) : register();
    for (const [micro, ...immediates] of steps) {
      const args = [...src, ...immediates.map(immediate)];
      each.push([micro, dst, args[0], args[1] ?? 0, args[2] ?? 0]);
      src = [dst];
    }
    slotOf.set(x, dst);
    const part = parts.get(x);
    if (part?.into) each.push([isa.Micro.StoreView, viewSlot(part.to, bytesOf(x.dtype), part.into), dst, 0, 0]);
  });
  for (const o of outs) {
    if (parts.has(o.node)) continue;
    const bytes = bytesOf(o.node.dtype);
    const from = operand(o.node);
    if (o.into) each.push([isa.Micro.StoreView, viewSlot(o.to, bytes, o.into), from, 0, 0]);
    else if (bytes === 1) each.push([isa.Micro.StoreByte, slot(isa.Slot.Bytes, o.to), from, 0, 0]);
    else if (!nodes.includes(o.node)) each.push([isa.Micro.Copy, slot(isa.Slot.Dense, o.to), from, 0, 0]);
  }
  if (registers > isa.MapTile.Registers || slots.length > isa.MapTile.Slots) return false;

  const grain = grainFor(l, shape, [...reads.values()], n);
  const units = Math.ceil(n / grain);
  /** Bytes of a unit, where what takes `whole` elements is cut like the shape; 0 if it is not. */
  const unitOf = (whole: number, bytes: number): number =>
    whole === n || grain % (n / rowCount(shape)) === 0 ? ((grain * whole) / n) * bytes : 0;
  const words = mapWords(l, n, grain, slots, once, each, viewWords);

  const text = mapText(nodes, outs);
  const order = touched(slots, [...once, ...each]);
  l.emit(
    isa.Opcode.Map,
    words,
    units,
    label,
    [...reads.values()].map(
      ([ref, whole]): Touch => [
        ref,
        unitOf(whole, bytesOf(ref.buffer.dtype)),
        viewed.has(ref.buffer) ? Number.POSITIVE_INFINITY : order.lastRead.get(ref.buffer),
      ],
    ),
    outs.map(({ node, to, into }): Touch => {
      const stride = into ? rowStride(into) : 0;
      const whole = into ? stride * rowCount(shape) : n;
      // Rows of the whole, of which this is some columns.
      const place =
        stride > 0 ? { buffer: to.buffer, offset: to.offset - (into?.offset ?? 0) * bytesOf(node.dtype) } : to;
      return [place, unitOf(whole, bytesOf(node.dtype)), into ? undefined : order.firstWrite.get(to.buffer)];
    }),
    n * (NS.micro * each.length + NS.tile),
    text,
  );
  return true;
}

/** The words of a Map: its fixed part, slot table, micro-program, views. */
export function mapWords(
  l: Emission,
  n: number,
  grain: number,
  slots: readonly (readonly [isa.Slot, Word])[],
  once: readonly (readonly number[])[],
  each: readonly (readonly number[])[],
  views: readonly { readonly slot: number; readonly words: readonly Word[] }[] = [],
): Word[] {
  const at = isa.Map.Length;
  const micros = once.length + each.length;
  const words = l.words<typeof isa.Map>({
    [isa.Map.N]: n,
    [isa.Map.Grain]: grain,
    [isa.Map.Slots]: slots.length,
    [isa.Map.SlotsAt]: at,
    [isa.Map.Micros]: micros,
    [isa.Map.MicrosAt]: at + slots.length * 2,
    [isa.Map.Once]: once.length,
  });
  for (const [kind, value] of slots) words.push(kind, value);
  for (const micro of once) words.push(...micro);
  for (const micro of each) words.push(...micro);
  for (const v of views) {
    words[at + v.slot * 2 + 1] = words.length;
    words.push(...v.words);
  }
  return words;
}

/** Elements per unit: that of an operand's writer if one fits, so that no barrier is needed; else rows of the shape. */
export function grainFor(
  l: Emission,
  shape: readonly number[],
  operands: readonly (readonly [{ readonly buffer: Allocation }, Cut])[],
  n: number,
): number {
  const row = n / rowCount(shape);
  for (const [{ buffer: b }, whole] of operands) {
    const w = l.writerOf(b);
    if (!w || whole === 0) continue;
    const unit = ((w.writes.find((x) => x.buffer === b)?.unit ?? 0) / bytesOf(b.dtype)) * (n / whole);
    if (unit > 0 && unit % 4 === 0 && w.units === Math.ceil(n / unit) && (whole === n || unit % row === 0)) return unit;
  }
  return grainOf(shape);
}

/** The micro-program of a Map: its slots, what is done once, what for each tile. */
export interface MicroProgram {
  readonly slots: readonly (readonly [isa.Slot, Word])[];
  readonly once: readonly (readonly number[])[];
  readonly each: readonly (readonly number[])[];
}

/** One Map instruction that fills `count` words of a result and reads nothing. */
export function emitFill(
  l: Emission,
  node: Node,
  out: Ref,
  count: number,
  { slots, once, each }: MicroProgram,
  cost: number,
  text: string,
): void {
  const words = mapWords(l, count, GRAIN, slots, once, each);
  l.emit(isa.Opcode.Map, words, Math.ceil(count / GRAIN), node, [], [[out, GRAIN * 4]], cost, text);
}

/** Zeros in all of a result: words of zero whatever the dtype; buffers have room for the last one. */
export function emitZeros(l: Emission, node: Node, out: Ref): void {
  const size = numel(node.shape);
  const zeros: MicroProgram = {
    slots: [
      [isa.Slot.Register, 0],
      [isa.Slot.Immediate, 0],
      [isa.Slot.Dense, out],
    ],
    once: [[isa.Micro.Splat, 0, 1, 0, 0]],
    each: [[isa.Micro.Copy, 2, 0, 0, 0]],
  };
  emitFill(l, node, out, Math.ceil((size * bytesOf(node.dtype)) / 4), zeros, size * NS.zeros, "zeros");
}

function mapText(nodes: readonly Node[], outs: readonly { node: Node }[]): string {
  if (nodes.length === 0) return "copy";
  const names = nodes.map((x) => x.op.name).join(" ");
  return outs.length > 1 ? `${names} (${outs.length} results)` : names;
}
