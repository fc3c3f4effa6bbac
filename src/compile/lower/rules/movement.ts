/** @file What is put side by side, into zeros, or given another name. */
import * as isa from "../../../../assembly/isa.ts";
import { bytesOf } from "../../../core/dtype.ts";
import { numel } from "../../../core/shape.ts";
import type { Node } from "../../../graph/node.ts";
import { CONSTANT } from "../../../ops/leaf.ts";
import { NS } from "../cost.ts";
import type { Lowering } from "../lowering.ts";
import { emitFill, emitMap, type MicroProgram } from "../map.ts";
import { piecesIn, within } from "../parts.ts";

/** Pieces side by side, or into zeros: those that are not written in place are copied, each by a strided store. */
export function pieces(l: Lowering, n: Node): void {
  const { to, region } = l.assembled(n);
  for (const piece of piecesIn(n) ?? []) {
    const { x } = piece;
    if (l.inPlace.has(x) || numel(x.shape) === 0) continue;
    const into = within(region, piece);
    const ref = { ...to, offset: to.offset + into.offset * bytesOf(n.dtype) };
    emitMap(l, n, x.shape, [], [{ node: x, to: ref, into }]);
  }
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
