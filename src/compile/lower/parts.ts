/**
 * @file Results that are parts of another one: what is put side by side, or into zeros, and used for nothing else, is written
 * where it goes. Decided before anything is lowered.
 */
import { bytesOf } from "../../core/dtype.ts";
import { numel } from "../../core/shape.ts";
import { isOp, type Node, type OpDef } from "../../graph/node.ts";
import { CONTRACT } from "../../ops/contract.ts";
import { IDENTITY } from "../../ops/identity.ts";
import { CONSTANT, LEAF } from "../../ops/leaf.ts";
import { MOVEMENT, type Piece, piecesOf } from "../../ops/movement.ts";
import { dense, isDense, type Strided, viewBack } from "../view.ts";

/** The part of a buffer that a node's value takes. */
export interface Part {
  /** The node whose buffer that is. */
  readonly whole: Node;
  /** The value's elements among those of the whole. */
  readonly into: Strided;
  /** The piece the value is, maybe under another shape. */
  readonly piece: Node;
}

/** What a node puts together; undefined if it is not that kind of node. */
export function piecesIn(n: Node): readonly Piece[] | undefined {
  if (isOp(n, MOVEMENT.pad)) return piecesOf(n.src, n.attrs);
  if (!isOp(n, MOVEMENT.concat)) return undefined;
  const { axis } = n.attrs;
  const step = n.shape.map(() => 1);
  let at = 0;
  return n.src.map((x) => {
    const begin = n.shape.map((_, i) => (i === axis ? at : 0));
    at += x.shape[axis];
    return { x, begin, step };
  });
}

/** Whether pieces leave no gaps. */
export const areAll = (pieces: readonly Piece[], { shape }: Node): boolean =>
  pieces.reduce((sum, { x }) => sum + numel(x.shape), 0) === numel(shape);

/** Where a piece lies, given where what it is a piece of does. */
export function within({ base, offset, strides }: Strided, { x, begin, step }: Piece): Strided {
  return {
    base,
    offset: begin.reduce((sum, b, i) => sum + b * strides[i], offset),
    shape: x.shape,
    strides: strides.map((s, i) => s * step[i]),
  };
}

const rowWriters = new Set<OpDef>();

/** For extensions: operations whose kernels write rows of the last axis wherever they go. */
export function addRowWriters(ops: readonly OpDef[]): void {
  for (const op of ops) rowWriters.add(op);
}

/** Whether a node's kernels write wherever they are told to, in a region of memory without gaps or, if `strided`, in any. */
function goesAnywhere(n: Node, into: Strided): boolean {
  const strided = !isDense(into);
  if (bytesOf(n.dtype) !== 4 || numel(n.shape) === 0) return false;
  const pieces = piecesIn(n);
  if (pieces) return areAll(pieces, n);
  if (rowWriters.has(n.op)) return into.strides[into.strides.length - 1] === 1;
  if (strided) return n.op.kind === "elementwise";
  return ![LEAF, CONSTANT, MOVEMENT.bytes, IDENTITY.fence].some((op) => n.op.name === op.name);
}

/** The node that one is made from by views alone, and where that lies if this is where the result does; undefined if others use it. */
function behind(n: Node, into: Strided, uses: ReadonlyMap<Node, number>): { x: Node; v: Strided } | undefined {
  let x = n;
  let v: Strided | undefined = into;
  for (; v && uses.get(x) === 1 && x.op.kind === "view"; x = x.src[0]) v = viewBack(x, v);
  return v && uses.get(x) === 1 ? { x, v } : undefined;
}

/** Whether a node's rows are written wherever they go, or those of all pieces it is put together from. */
function isWritten(x: Node, v: Strided, uses: ReadonlyMap<Node, number>): boolean {
  if (rowWriters.has(x.op)) return goesAnywhere(x, v);
  const pieces = piecesIn(x);
  if (!pieces || !areAll(pieces, x)) return false;
  return pieces.every((piece) => {
    const found = behind(piece.x, within(v, piece), uses);
    return found && rowWriters.has(found.x.op) && goesAnywhere(found.x, found.v);
  });
}

/** The parts of all nodes that are one. `uses`: how often each node is used. */
export function partsOf(order: readonly Node[], uses: ReadonlyMap<Node, number>): ReadonlyMap<Node, Part> {
  const parts = new Map<Node, Part>();
  // From the end: what something is part of may be part of something itself.
  for (let k = order.length - 1; k >= 0; k--) {
    const n = order[k];
    const { whole, into }: Pick<Part, "whole" | "into"> = parts.get(n) ?? { whole: n, into: dense(n) };
    // Heads that are merged, and what comes back where they were split: rows are written where the permuted ones lie.
    const permuted = n.op === MOVEMENT.permute && viewBack(n, into);
    const found = permuted ? behind(n.src[0], permuted, uses) : undefined;
    if (found && !parts.has(found.x) && isWritten(found.x, found.v, uses))
      parts.set(found.x, { whole, into: found.v, piece: n });
    for (const piece of piecesIn(n) ?? []) {
      const found = behind(piece.x, within(into, piece), uses);
      if (!found || !goesAnywhere(found.x, found.v)) continue;
      let { x } = found;
      const { v } = found;
      parts.set(x, { whole, into: v, piece: piece.x });
      // What a product is added to lies where the sum does.
      for (; x.op === CONTRACT.addmm && uses.get(x.src[0]) === 1; x = x.src[0])
        parts.set(x.src[0], { whole, into: v, piece: piece.x });
    }
  }
  return parts;
}
