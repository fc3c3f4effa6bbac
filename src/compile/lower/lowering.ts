/** @file Values in memory, as views of it, and as copies where no view will do: what all rules build on. */
import * as isa from "../../../assembly/isa.ts";
import { byteLength, bytesOf } from "../../core/dtype.ts";
import { numel } from "../../core/shape.ts";
import type { Computation, Node } from "../../graph/node.ts";
import { CONTRACT } from "../../ops/contract.ts";
import { CONSTANT } from "../../ops/leaf.ts";
import type { Group } from "../fuse.ts";
import type { Allocation, Homes, Instr, Ref, Schedule } from "../instr.ts";
import { collapse, dense, isDense, type Strided, viewThrough } from "../view.ts";
import { NS } from "./cost.ts";
import { Emission, rowBlocks, ROWS } from "./emission.ts";
import { emitMap, emitZeros } from "./map.ts";
import { areAll, type Part, piecesIn } from "./parts.ts";

/** Whether a node's own kernel writes its value, all of it: then it lies in no other's place. */
const isProduct = ({ op }: Node): boolean => op === CONTRACT.matmul || op === CONTRACT.addmm;

/** A lowered graph. */
export interface Lowered {
  readonly instrs: readonly Instr[];
  readonly buffers: readonly Allocation[];
  readonly homes: Homes;
  readonly outputs: { buffer: Allocation; node: Node }[];
  readonly inputs: Allocation[];
  readonly residents: Allocation[];
  readonly updates: Allocation[];
}

/** The body of a loop: what it is lowered to, when it runs, and where in memory of its own its intermediate values lie. */
export interface Body extends Lowered {
  readonly schedule: Schedule;
  readonly plan: { readonly bytes: number; readonly offsets: ReadonlyMap<number, number> };
}

export class Lowering extends Emission {
  private readonly views = new Map<Node, Strided>();
  /** Nodes that someone outside their own group reads, or that leave the program. */
  private readonly needed: Set<Node>;
  /** How often each node is used. */
  private readonly uses: ReadonlyMap<Node, number>;
  private readonly parts: ReadonlyMap<Node, Part>;
  /** Pieces of other results that have been written where they go. */
  readonly inPlace = new Set<Node>();

  /** What instructions left beside their results, for those that follow: by a name that says of what it is. */
  readonly kept = new Map<string, Ref>();
  private readers: ReadonlyMap<Node, readonly Node[]> | undefined;

  constructor(
    needed: ReadonlySet<Node>,
    readonly order: readonly Node[],
    uses: ReadonlyMap<Node, number>,
    parts: ReadonlyMap<Node, Part>,
    readonly compileBody: (graph: Computation) => Body,
  ) {
    super();
    this.needed = new Set(needed);
    this.uses = uses;
    this.parts = parts;
  }

  /** A place for a node's value: that of the piece it is, if it lies there without gaps, else a buffer of its own. */
  override result(n: Node): Ref {
    const part = this.parts.get(n);
    return part && isDense(part.into) ? this.place(n, part) : super.result(n);
  }

  /** The same for who can write to a strided part of a place. */
  destination(n: Node): { to: Ref; into?: Strided } {
    const part = this.parts.get(n);
    if (!part || isDense(part.into)) return { to: this.places.get(n) ?? this.result(n) };
    return { to: this.place(n, part), into: part.into };
  }

  /** The first element of a part; from now on the node's value is there. */
  private place(n: Node, { whole, into, piece }: Part): Ref {
    const { buffer, offset } = this.whole(whole);
    const to: Ref = { buffer, offset: offset + into.offset * bytesOf(n.dtype), part: true };
    if (isDense(into)) this.places.set(n, to);
    else this.views.set(n, into);
    this.inPlace.add(piece);
    return to;
  }

  /** Where a node lies that is put together from pieces, with zeros between them if there are gaps, or another one's with axes permuted. */
  private whole(n: Node): Ref {
    const known = this.places.get(n);
    if (known) return known;
    const out = super.result(n);
    const pieces = piecesIn(n);
    if (pieces && !areAll(pieces, n)) emitZeros(this, n, out);
    return out;
  }

  /** The same, with what lies there: a part of another such node, if it is a piece of that. */
  assembled(n: Node): { to: Ref; region: Strided } {
    const part = this.parts.get(n);
    if (!part) return { to: this.whole(n), region: dense(n) };
    return { to: this.place(n, part), region: { ...part.into, offset: 0 } };
  }

  /** The place of `from`, for a sum of it and more: its own if nothing else needs it, else that of a copy. */
  takeOver(n: Node, from: Node): Ref {
    const own = this.uses.get(from) === 1 && isProduct(from) ? this.places.get(from) : undefined;
    if (own) {
      this.places.set(n, own);
      return own;
    }
    const to = this.result(n);
    emitMap(this, n, n.shape, [], [{ node: from, to }]);
    return to;
  }

  /** The nodes of the program that read n: of several that can be made at once, the first one's rule makes all. */
  readersOf(n: Node): readonly Node[] {
    if (!this.readers) {
      const found = new Map<Node, Node[]>();
      for (const reader of this.order)
        for (const s of new Set(reader.src)) {
          const list = found.get(s);
          if (list) list.push(reader);
          else found.set(s, [reader]);
        }
      this.readers = found;
    }
    return this.readers.get(n) ?? [];
  }

  /** The node's value as a strided view of something that lies in memory (or of a constant). */
  view(n: Node): Strided {
    // Back to what has a view already, or needs none; iterative: views may be deeper than the stack.
    const path: Node[] = [];
    let x = n;
    for (; !this.views.has(x) && x.op.kind === "view" && !this.places.has(x); x = x.src[0]) path.push(x);
    let v = this.views.get(x) ?? dense(x);
    this.views.set(x, v);
    for (let y = path.pop(); y; y = path.pop()) {
      const through = viewThrough(y, v);
      if (!through) this.ref(y.src[0]);
      v = through ?? (viewThrough(y, dense(y.src[0])) as Strided);
      this.views.set(y, v);
    }
    return v;
  }

  /** Where the node's value lies, dense; copies it there if it only exists as a view or a constant. */
  ref(n: Node): Ref {
    const known = this.places.get(n);
    if (known) return known;
    const v = this.view(n);
    if (v.base.op !== CONSTANT && isDense(v)) {
      const ref = this.origin(v);
      // Kernels read 4-byte words: a byte view may start anywhere, which only Map handles.
      if (ref.offset % 4 === 0) {
        this.places.set(n, ref);
        return ref;
      }
    }
    return this.copy(n);
  }

  /** Whether the node's value is in memory already, or a view of what is. */
  isMade(n: Node): boolean {
    let x = n;
    while (x.op.kind === "view" && !this.places.has(x)) x = x.src[0];
    return x.op === CONSTANT || this.places.has(x);
  }

  /** A dense copy of a view or a constant, in a buffer of its own. */
  copy(n: Node): Ref {
    const v = this.view(n);
    if (v.base.op !== CONSTANT && bytesOf(n.dtype) === 4 && this.transpose(n, v)) return this.places.get(n) as Ref;
    const out = { buffer: this.buffer(byteLength(n.shape, n.dtype), n.dtype), offset: 0 };
    emitMap(this, n, n.shape, [], [{ node: n, to: out }]);
    this.places.set(n, out);
    this.views.set(n, dense(n));
    return out;
  }

  /** A copy whose only rearrangement is a swap of two (groups of) axes has a kernel of its own. */
  private transpose(n: Node, v: Strided): boolean {
    const { dims, strides } = collapse(v.shape, v.strides);
    const r = dims.length;
    if (r < 2 || r > 3 || numel(dims) < 64) return false;
    const [rows, cols] = dims.slice(-2);
    if (strides[r - 2] !== 1 || strides[r - 1] !== rows || (r === 3 && strides[0] !== rows * cols)) return false;
    const src = this.ref(v.base);
    const out = this.result(n);
    const batch = r === 3 ? dims[0] : 1;
    const blocks = rowBlocks(rows);
    const words = this.words<typeof isa.Transpose>({
      [isa.Transpose.Out]: out,
      [isa.Transpose.In]: this.origin(v),
      [isa.Transpose.Batch]: batch,
      [isa.Transpose.Rows]: cols,
      [isa.Transpose.Cols]: rows,
      [isa.Transpose.Block]: ROWS,
    });
    const write = batch === 1 || rows % ROWS === 0 ? ROWS * cols * 4 : 0;
    this.emit(
      isa.Opcode.Transpose,
      words,
      batch * blocks,
      n,
      [[src, 0]],
      [[out, write]],
      numel(n.shape) * NS.transpose,
    );
    this.views.set(n, dense(n));
    return true;
  }

  /** A group of elementwise nodes, as one instruction or, if it holds too much, several. */
  map(group: Group): void {
    const outs = group.filter((n) => this.needed.has(n)).map((node) => ({ node, ...this.destination(node) }));
    if (emitMap(this, group[group.length - 1], group[0].shape, group, outs)) return;
    // Too many operands for one instruction: the first half has one of its own, and the second one reads its results. A
    // single node always fits: three operands and what it is converted with take a dozen slots.
    const first = group.slice(0, group.length >> 1);
    const second = group.slice(first.length);
    for (const n of second) for (const s of n.src) if (first.includes(s)) this.needed.add(s);
    this.map(first);
    this.map(second);
  }
}
