/** @file What is put side by side, into zeros, or given another name. */
import * as isa from "../../../../assembly/isa.ts";
import { bytesOf } from "../../../core/dtype.ts";
import { numel, stridesOf } from "../../../core/shape.ts";
import type { Node } from "../../../graph/node.ts";
import type { AxisAttrs } from "../../../ops/linear.ts";
import type { PadAttrs } from "../../../ops/movement.ts";
import { CONSTANT } from "../../../ops/leaf.ts";
import { NS } from "../cost.ts";
import type { Lowering } from "../lowering.ts";
import { emitFill, emitMap, type MicroProgram } from "../map.ts";

/** Parts written side by side, each by a strided store. */
export function concat(l: Lowering, n: Node<AxisAttrs>): void {
  const out = l.result(n);
  const { axis } = n.attrs;
  const strides = stridesOf(n.shape);
  let at = 0;
  for (const x of n.src) {
    const to = { buffer: out.buffer, offset: at * strides[axis] * bytesOf(n.dtype) };
    if (numel(x.shape) > 0)
      emitMap(l, n, x.shape, [], [{ node: x, to, into: { base: n, offset: 0, shape: x.shape, strides } }]);
    at += x.shape[axis];
  }
}

/** Zeros, then the source in its place. */
export function pad(l: Lowering, n: Node<PadAttrs>): void {
  const [x] = n.src;
  const { begin, step } = n.attrs;
  const out = l.result(n);
  const size = numel(n.shape);
  // Whatever the dtype, zeros are words of zero; buffers have room for the last one.
  const count = Math.ceil((size * bytesOf(n.dtype)) / 4);
  const zeros: MicroProgram = {
    slots: [
      [isa.Slot.Register, 0],
      [isa.Slot.Immediate, 0],
      [isa.Slot.Dense, out],
    ],
    once: [[isa.Micro.Splat, 0, 1, 0, 0]],
    each: [[isa.Micro.Copy, 2, 0, 0, 0]],
  };
  emitFill(l, n, out, count, zeros, size * NS.zeros, "zeros");
  if (numel(x.shape) === 0) return;
  const strides = stridesOf(n.shape);
  const offset = begin.reduce((o, b, i) => o + b * strides[i], 0) * bytesOf(n.dtype);
  const into = { base: n, offset: 0, shape: x.shape, strides: strides.map((s, i) => s * step[i]) };
  emitMap(l, n, x.shape, [], [{ node: x, to: { buffer: out.buffer, offset }, into }]);
}

/** The same bytes, for readers in a phase after the one that writes the second operand. */
export function fence(l: Lowering, n: Node): void {
  const after = l.view(n.src[1]).base;
  const ref = l.ref(n.src[0]);
  l.places.set(n, after.op === CONSTANT ? ref : { ...ref, after: l.ref(after).buffer });
}

/** The same bytes under another type. */
export function bytes(l: Lowering, n: Node): void {
  l.places.set(n, l.ref(n.src[0]));
}

export function iota(l: Lowering, n: Node): void {
  const out = l.result(n);
  const count = numel(n.shape);
  const numbers: MicroProgram = { slots: [[isa.Slot.Dense, out]], once: [], each: [[isa.Micro.Iota, 0, 0, 0, 0]] };
  emitFill(l, n, out, count, numbers, count * NS.iota, "iota");
}
