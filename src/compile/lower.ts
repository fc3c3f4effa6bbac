/** @file Nodes to instructions. The only place that knows both operations and kernels. */
import * as isa from "../../assembly/isa.ts";
import { byteLength, bytesOf, type DType, isFloat } from "../core/dtype.ts";
import { FourlaneError, ShapeError } from "../core/errors.ts";
import { numel, show, stridesOf } from "../core/shape.ts";
import { type Graph, type Node, type OpDef, toposort } from "../graph/node.ts";
import { CONTRACT } from "../ops/contract.ts";
import { CAST } from "../ops/elementwise.ts";
import { FUSED } from "../ops/fused.ts";
import { CONSTANT, constantValue, LEAF } from "../ops/leaf.ts";
import { LOOKUP } from "../ops/lookup.ts";
import { RANDOM } from "../ops/random.ts";
import { SCAN } from "../ops/scan.ts";
import { STRUCTURE } from "../ops/structure.ts";
import { WINDOW } from "../ops/windows.ts";
import { fuse, type Group } from "./fuse.ts";
import type { Access, Buffer, BufferKind, Described, Instr, Ref, Word } from "./instr.ts";
import { type AdamUpdate, matchAdam } from "./patterns.ts";
import { collapse, dense, isDense, type Strided, viewThrough } from "./view.ts";

/** Rows of a unit, where work is cut by rows: the height of the matrix kernel's tile. */
const ROWS = 4;
/** Elements of a unit of a vector. */
const GRAIN = 16;
/** Rows summed into one partial result when a long reduction has few outputs. */
const SUM_BLOCK = 4096;
/** Multiply-adds up to which a product that is to be precise is computed in float64: some microseconds. */
const SMALL_PRODUCT = 1 << 14;
const float = new Float32Array(1);
const floatAsInt = new Int32Array(float.buffer);

function floatBits(v: number): number {
  float[0] = v;
  return floatAsInt[0];
}

export interface Lowered {
  readonly instrs: Instr[];
  readonly buffers: Buffer[];
  readonly outputs: { buffer: Buffer; node: Node }[];
  readonly inputs: Buffer[];
  readonly residents: Buffer[];
  readonly updates: Buffer[];
}

/** A matrix operand: base address and strides in elements. */
interface Matrix {
  readonly ref: Ref;
  readonly row: number;
  readonly col: number;
  readonly batch: number;
}

/** Steps of an elementwise node: micro-operations from its (4-byte) operands to its 4-byte result. */
function microsOf(n: Node): { name: string; immediates?: number[] }[] {
  const from = n.src[0].dtype;
  if (n.op === CAST) {
    const to = n.dtype;
    if (to === "float32") return [{ name: "ToFloat" }];
    if (to === "bool") return isFloat(from) ? [{ name: "ToBool" }] : [{ name: "NeI", immediates: [0] }];
    const low = to === "uint8" ? [{ name: "AndI", immediates: [255] }] : [];
    if (isFloat(from)) return [{ name: "ToInt" }, ...low];
    return low.length > 0 && from !== "bool" ? low : [{ name: "Copy" }];
  }
  const plain = n.op.name[0].toUpperCase() + n.op.name.slice(1);
  if (n.op.name === "where") return [{ name: plain }];
  // Between instructions a uint8 has 8 bits, inside of one 32.
  const low = n.dtype === "uint8" ? [{ name: "AndI", immediates: [255] }] : [];
  return [{ name: isFloat(from) ? plain : `${plain}I` }, ...low];
}

class Lowering {
  readonly instrs: Instr[] = [];
  readonly buffers: Buffer[] = [];
  /** Where a node's value lies, dense, once computed. */
  private readonly places = new Map<Node, Ref>();
  private readonly views = new Map<Node, Strided>();
  private readonly labels = new Map<Node, Described>();
  private readonly groups: ReadonlyMap<Node, Group>;
  /** Nodes that someone outside their own group reads, or that leave the program. */
  private readonly needed = new Set<Node>();

  private readonly order: readonly Node[];

  constructor(topological: readonly Node[], roots: readonly Node[]) {
    const { order, groups } = fuse(topological);
    this.order = order;
    this.groups = groups;
    for (const n of order)
      for (const s of n.src) if (!this.groups.get(s) || this.groups.get(s) !== this.groups.get(n)) this.needed.add(s);
    for (const n of roots) this.needed.add(n);
  }

  run(): void {
    for (const n of this.order) {
      const group = this.groups.get(n);
      if (group) {
        if (n === group[group.length - 1]) this.map(group);
      } else if (n.op.kind !== "leaf" && n.op.kind !== "view") this.lowerNode(n);
    }
  }

  // --- buffers ---------------------------------------------------------------------------------------------------------------

  buffer(bytes: number, dtype: DType, kind: BufferKind = "temp", index = 0): Buffer {
    const b: Buffer = { id: this.buffers.length, bytes, dtype, kind, index };
    this.buffers.push(b);
    return b;
  }

  place(n: Node, ref: Ref): void {
    this.places.set(n, ref);
  }

  private result(n: Node): Ref {
    const ref = { buffer: this.buffer(byteLength(n.shape, n.dtype), n.dtype), offset: 0 };
    this.places.set(n, ref);
    return ref;
  }

  /** The node's value as a strided view of something that lies in memory (or of a constant). */
  private view(n: Node): Strided {
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
      const base = this.ref(v.base);
      const ref = { ...base, offset: base.offset + v.offset * bytesOf(n.dtype) };
      // Kernels read 4-byte words: a byte view may start anywhere, which only Map handles.
      if (ref.offset % 4 === 0) {
        this.places.set(n, ref);
        return ref;
      }
    }
    return this.copy(n);
  }

  /** A dense copy of a view or a constant, in a buffer of its own. */
  copy(n: Node): Ref {
    const v = this.view(n);
    if (v.base.op !== CONSTANT && bytesOf(n.dtype) === 4 && this.transpose(n, v)) return this.places.get(n) as Ref;
    const out = { buffer: this.buffer(byteLength(n.shape, n.dtype), n.dtype), offset: 0 };
    this.emitMap(n, n.shape, [], [{ node: n, to: out }]);
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
    const blocks = Math.ceil(rows / ROWS);
    const words = this.words(isa.Transpose, {
      Out: out,
      In: { ...src, offset: src.offset + v.offset * 4 },
      Batch: batch,
      Rows: cols,
      Cols: rows,
      Block: ROWS,
    });
    const write = batch === 1 || rows % ROWS === 0 ? ROWS * cols * 4 : 0;
    this.emit(isa.Opcode.Transpose, words, batch * blocks, n, [[src, 0]], [[out, write]], numel(n.shape) * 0.5);
    this.views.set(n, dense(n));
    return true;
  }

  // --- emission --------------------------------------------------------------------------------------------------------------

  /** The words of an instruction, from its operands by the names they have in the instruction set: all, and no others. */
  private words<Enum extends { Length: number }>(
    at: Enum,
    operands: Record<Exclude<keyof Enum, "Length">, Word>,
  ): Word[] {
    const words = new Array<Word>(at.Length).fill(0);
    for (const name in operands)
      words[(at as unknown as Record<string, number>)[name]] = operands[name as keyof typeof operands];
    return words;
  }

  /** `unit`: see Access; it only holds for a ref at the start of its buffer. */
  private emit(
    opcode: isa.Opcode,
    words: Word[],
    units: number,
    node: Node,
    reads: [Ref, number][],
    writes: [Ref, number][],
    cost: number,
    text = node.op.name,
  ): void {
    const access = ([ref, unit]: [Ref, number]): Access => ({
      buffer: ref.buffer,
      after: ref.after,
      unit: ref.offset === 0 && ref.buffer.bytes <= unit * units ? unit : 0,
    });
    const instr: Instr = {
      opcode,
      words,
      units,
      lanes: Math.max(1, Math.ceil(cost / isa.Lane.Nanoseconds)),
      reads: reads.map(access),
      writes: writes.map(access),
      cost,
      label: this.label(node),
      text,
      phase: 0,
    };
    words[isa.At.Opcode] = opcode;
    words[isa.At.Length] = words.length;
    // Work that continues on the slices of its producer, worker by worker, costs no barrier: join it on as many lanes.
    for (const r of instr.reads) {
      const w = r.buffer.writer;
      if (w && r.unit > 0 && w.units === units && w.writes.some((x) => x.buffer === r.buffer && x.unit === r.unit))
        if (w.lanes > instr.lanes) instr.lanes = w.lanes;
    }
    for (const w of instr.writes) w.buffer.writer ??= instr;
    this.instrs.push(instr);
  }

  private label(n: Node): Described {
    let label = this.labels.get(n);
    if (!label) {
      const { dtype, shape } = n;
      const shapes = n.src.map((s) => show(s.shape)).join(" ");
      label = { op: n.op.name, dtype, shape, shapes, finite: n.attrs.finite as string[] | undefined };
      this.labels.set(n, label);
    }
    return label;
  }

  private rowBlocks(rows: number): number {
    return Math.ceil(rows / ROWS);
  }

  // --- Map -------------------------------------------------------------------------------------------------------------------

  private map(group: Group): void {
    if (this.adam(group)) return;
    const outs = group
      .filter((n) => this.needed.has(n))
      .map((node) => ({ node, to: this.places.get(node) ?? this.result(node) }));
    if (this.emitMap(group[group.length - 1], group[0].shape, group, outs)) return;
    // Too many operands for one instruction: the first half has one of its own, and the second one reads its results. A
    // single node always fits: three operands and what it is converted with take a dozen slots.
    const first = group.slice(0, group.length >> 1);
    const second = group.slice(first.length);
    for (const n of second) for (const s of n.src) if (first.includes(s)) this.needed.add(s);
    this.map(first);
    this.map(second);
  }

  /** An optimiser's update in one pass, with whatever else is in the group before it. */
  private adam(group: Group): boolean {
    for (const n of group) {
      const a = matchAdam(n);
      if (!a || !group.includes(a.newM)) continue;
      const results = [a.newW, a.newM, a.newV];
      const operands = [a.w, a.m, a.v, a.g, a.stepSize, a.root];
      const rest = group.filter((x) => !a.nodes.has(x));
      const inside = (x: Node): boolean => a.nodes.has(x);
      // What it reads is there before: it is none of its own results either.
      if (
        operands.some(inside) ||
        rest.some((x) => x.src.some(inside)) ||
        [...a.nodes].some((x) => this.needed.has(x) && !results.includes(x))
      )
        continue;
      for (const x of operands) this.needed.add(x);
      if (rest.length > 0) this.map(rest);
      this.emitAdam(a);
      return true;
    }
    return false;
  }

  private emitAdam(a: AdamUpdate): void {
    const n = numel(a.newW.shape);
    const old = [a.w, a.m, a.v, a.g].map((x) => this.ref(x));
    const [stepSize, root] = [this.ref(a.stepSize), this.ref(a.root)];
    const [newW, newM, newV] = [a.newW, a.newM, a.newV].map((x) => this.result(x));
    const grain = this.grain(
      a.newW.shape,
      old.map((r) => r.buffer),
      n,
    );
    const [w, m, v, g] = old;
    const words = this.words(isa.Adam, {
      W: w,
      M: m,
      V: v,
      G: g,
      NewW: newW,
      NewM: newM,
      NewV: newV,
      StepSize: stepSize,
      Root: root,
      N: n,
      Grain: grain,
      Beta1: floatBits(a.beta1),
      Rest1: floatBits(a.rest1),
      Beta2: floatBits(a.beta2),
      Rest2: floatBits(a.rest2),
      Eps: floatBits(a.eps),
    });
    this.emit(
      isa.Opcode.Adam,
      words,
      Math.ceil(n / grain),
      a.newW,
      [...old.map((r): [Ref, number] => [r, grain * 4]), [stepSize, 0], [root, 0]],
      [newW, newM, newV].map((r): [Ref, number] => [r, grain * 4]),
      n,
      "adam",
    );
  }

  /**
   * One Map instruction over `shape`: computes `nodes`, then writes each of `outs` to its place. With `into`, an output goes
   * to a strided part of its place instead. False, and nothing emitted, if there is not room for all in one.
   */
  private emitMap(
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
    const reads = new Map<Buffer, [Ref, "slice" | "all"]>();
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
    const reading = (ref: Ref, how: "slice" | "all"): void => {
      const before = reads.get(ref.buffer);
      const same = !before || (before[1] === how && before[0].offset === ref.offset);
      reads.set(ref.buffer, [ref, same ? how : "all"]);
    };

    const slotOf = new Map<Node, number>();
    const lastUse = new Map<Node, number>();
    nodes.forEach((x, i) => x.src.forEach((s) => lastUse.set(s, i)));
    for (const o of outs) lastUse.set(o.node, Number.POSITIVE_INFINITY);

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
      const v = this.view(x);
      const value = constantValue(v.base);
      let s: number;
      if (value !== undefined) s = immediate(isFloat(x.dtype) ? floatBits(value) : value);
      else {
        const bytes = bytesOf(x.dtype);
        const base = this.ref(v.base);
        const at = { ...base, offset: base.offset + v.offset * bytes };
        if (isDense(v) && numel(v.shape) === n) {
          reading(at, "slice");
          if (bytes === 4) s = slot(isa.Slot.Dense, at);
          else {
            s = register();
            each.push([isa.Micro.LoadByte, s, slot(isa.Slot.Bytes, at), 0, 0]);
          }
        } else {
          reading(at, "all");
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
      for (const { name, immediates = [] } of steps) {
        const micro = isa.Micro[name as keyof typeof isa.Micro];
        if (micro === undefined)
          throw new FourlaneError("NO_KERNEL", `${x.op.name}: no kernel ${name} for ${x.src[0].dtype}`);
        const args = [...src, ...immediates.map(immediate)];
        each.push([micro, dst, args[0], args[1] ?? 0, args[2] ?? 0]);
        src = [dst];
      }
      slotOf.set(x, dst);
    });
    for (const o of outs) {
      const bytes = bytesOf(o.node.dtype);
      const from = operand(o.node);
      if (o.into) each.push([isa.Micro.StoreView, viewSlot(o.to, bytes, o.into), from, 0, 0]);
      else if (bytes === 1) each.push([isa.Micro.StoreByte, slot(isa.Slot.Bytes, o.to), from, 0, 0]);
      else if (!nodes.includes(o.node)) each.push([isa.Micro.Copy, slot(isa.Slot.Dense, o.to), from, 0, 0]);
    }
    if (registers > isa.MapTile.Registers || slots.length > isa.MapTile.Slots) return false;

    const grain = this.grain(
      shape,
      [...reads.values()].filter(([, how]) => how === "slice").map(([ref]) => ref.buffer),
      n,
    );
    const units = Math.ceil(n / grain);
    const words = this.mapWords(n, grain, slots, once, each, viewWords);

    const text = this.mapText(nodes, outs);
    this.emit(
      isa.Opcode.Map,
      words,
      units,
      label,
      [...reads.values()].map(([ref, how]): [Ref, number] => [
        ref,
        how === "slice" ? grain * bytesOf(ref.buffer.dtype) : 0,
      ]),
      outs.map((o): [Ref, number] => [o.to, o.into ? 0 : grain * bytesOf(o.node.dtype)]),
      n * (0.12 * each.length + 0.1),
      text,
    );
    return true;
  }

  /** The words of a Map: its fixed part, slot table, micro-program, views. */
  private mapWords(
    n: number,
    grain: number,
    slots: readonly (readonly [isa.Slot, Word])[],
    once: readonly (readonly number[])[],
    each: readonly (readonly number[])[],
    views: readonly { readonly slot: number; readonly words: readonly Word[] }[] = [],
  ): Word[] {
    const at = isa.Map.Length;
    const micros = once.length + each.length;
    const words = this.words(isa.Map, {
      N: n,
      Grain: grain,
      Slots: slots.length,
      SlotsAt: at,
      Micros: micros,
      MicrosAt: at + slots.length * 2,
      Once: once.length,
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
  private grain(shape: readonly number[], operands: readonly Buffer[], n: number): number {
    for (const b of operands) {
      const w = b.writer;
      if (!w) continue;
      const unit = (w.writes.find((x) => x.buffer === b)?.unit ?? 0) / bytesOf(b.dtype);
      if (unit > 0 && unit % 4 === 0 && w.units === Math.ceil(n / unit)) return unit;
    }
    return shape.length >= 2 && shape[0] >= 2 * ROWS && n > 0 ? ROWS * (n / shape[0]) : GRAIN;
  }

  private mapText(nodes: readonly Node[], outs: readonly { node: Node }[]): string {
    if (nodes.length === 0) return "copy";
    const names = nodes.map((x) => x.op.name).join(" ");
    return outs.length > 1 ? `${names} (${outs.length} results)` : names;
  }

  // --- everything else -------------------------------------------------------------------------------------------------------

  private lowerNode(n: Node): void {
    const rule = RULES.get(n.op);
    if (!rule) throw new FourlaneError("NO_KERNEL", `${n.op.name}: cannot be compiled, it has no kernel`);
    rule.call(this, n);
  }

  matmul(n: Node): void {
    const [a, b] = n.src;
    const r = n.shape.length;
    const [m, k] = a.shape.slice(-2);
    const cols = n.shape[r - 1];
    const A = this.matrix(a);
    const B = this.matrix(b);
    const out = this.result(n);
    const batch = numel(n.shape.slice(0, -2));
    const orientation = `${A.row === 1 && A.col !== 1 ? "T" : "N"}${B.row === 1 && B.col !== 1 ? "T" : "N"}`;
    const text = `matmul ${orientation} ${batch > 1 ? `${batch} x ` : ""}${m}x${k}x${cols}`;
    if (n.dtype === "int32" || (n.attrs.precise === true && batch * m * cols * k <= SMALL_PRODUCT)) {
      this.product(n, A, B, out, text);
      return;
    }
    // Rows are cut where there are enough of them; otherwise columns keep all workers busy.
    const byRows = batch * this.rowBlocks(m) >= 8 || cols <= 16;
    const block = byRows ? ROWS : 8 * Math.max(1, Math.ceil(cols / 256));
    const blocks = Math.ceil((byRows ? m : cols) / block);
    const words = this.words(isa.Gemm, {
      C: out,
      A: A.ref,
      B: B.ref,
      M: m,
      N: cols,
      K: k,
      CRow: cols,
      ARow: A.row,
      ACol: A.col,
      BRow: B.row,
      BCol: B.col,
      Batch: batch,
      CBatch: m * cols,
      ABatch: A.batch,
      BBatch: B.batch,
      Slice: byRows ? 0 : 1,
      Block: block,
    });
    const even = byRows && (batch === 1 || m % ROWS === 0);
    const rowMajor = A.col === 1 && A.row === k && (batch === 1 || A.batch === m * k);
    this.emit(
      isa.Opcode.Gemm,
      words,
      batch * blocks,
      n,
      [
        [A.ref, even && rowMajor ? ROWS * k * 4 : 0],
        [B.ref, 0],
      ],
      [[out, even ? ROWS * cols * 4 : 0]],
      batch * (m * cols * k * 0.05 + k * cols * 0.2),
      text,
    );
  }

  private product(n: Node, A: Matrix, B: Matrix, out: Ref, text: string): void {
    const [m, k] = n.src[0].shape.slice(-2);
    const cols = n.shape[n.shape.length - 1];
    const batch = numel(n.shape.slice(0, -2));
    const words = this.words(isa.Product, {
      C: out,
      A: A.ref,
      B: B.ref,
      M: m,
      N: cols,
      K: k,
      ARow: A.row,
      ACol: A.col,
      BRow: B.row,
      BCol: B.col,
      Batch: batch,
      ABatch: A.batch,
      BBatch: B.batch,
      Block: ROWS,
      Integer: n.dtype === "int32" ? 1 : 0,
    });
    const rowMajor = A.col === 1 && A.row === k && (batch === 1 || A.batch === m * k);
    const reads: [Ref, number][] = [
      [A.ref, rowMajor ? ROWS * k * 4 : 0],
      [B.ref, 0],
    ];
    const units = this.rowBlocks(batch * m);
    this.emit(isa.Opcode.Product, words, units, n, reads, [[out, ROWS * cols * 4]], batch * m * cols * k * 0.3, text);
  }

  /** Base address and strides of a matrix operand; copied if its batch has no single stride. */
  private matrix(n: Node): Matrix {
    let v = this.view(n);
    const lead = v.shape.length - 2;
    let c = collapse(v.shape.slice(0, lead), v.strides.slice(0, lead));
    if (v.base.op === CONSTANT || c.dims.length > 1 || v.strides.slice(lead).some((s) => s < 0)) {
      this.copy(n);
      v = dense(n);
      c = collapse(v.shape.slice(0, lead), v.strides.slice(0, lead));
    }
    const base = this.ref(v.base);
    const [row, col] = v.strides.slice(lead);
    return {
      ref: { ...base, offset: base.offset + v.offset * 4 },
      row,
      col,
      batch: c.dims.length === 0 ? 0 : c.strides[0],
    };
  }

  /** Sum, max, min over any axes: runs of neighbouring axes one after the other, innermost first. */
  reduce(n: Node): void {
    const [x] = n.src;
    const axes = n.attrs.axes as number[];
    const name = n.op.name[0].toUpperCase() + n.op.name.slice(1) + (isFloat(n.dtype) ? "" : "I");
    const kind = isa.ReduceKind[name as keyof typeof isa.ReduceKind];
    let from = this.ref(x);
    const shape = [...x.shape];
    const left = [...axes];
    while (left.length > 0) {
      const last = left.pop() as number;
      let first = last;
      while (left.length > 0 && left[left.length - 1] === first - 1) first = left.pop() as number;
      const outer = numel(shape.slice(0, first));
      const rows = numel(shape.slice(first, last + 1));
      const inner = numel(shape.slice(last + 1));
      for (let d = first; d <= last; d++) shape[d] = 1;
      from = this.reduceRun(n, from, kind, outer, rows, inner, left.length === 0);
    }
  }

  argReduce(n: Node): void {
    const [x] = n.src;
    const axis = n.attrs.axis as number;
    const name = `${n.op.name === "argmax" ? "ArgMax" : "ArgMin"}${isFloat(x.dtype) ? "" : "I"}`;
    const kind = isa.ReduceKind[name as keyof typeof isa.ReduceKind];
    const outer = numel(x.shape.slice(0, axis));
    this.reduceInto(n, this.ref(x), this.result(n), kind, outer, x.shape[axis], numel(x.shape.slice(axis + 1)), 0);
  }

  private reduceRun(
    n: Node,
    from: Ref,
    kind: isa.ReduceKind,
    outer: number,
    rows: number,
    inner: number,
    final: boolean,
  ): Ref {
    const target = (): Ref => (final ? this.result(n) : { buffer: this.buffer(outer * inner * 4, n.dtype), offset: 0 });
    // Few results of many rows: partial results first, cut by shape alone.
    if (rows >= 4 * SUM_BLOCK && outer * inner < 256) {
      const blocks = Math.ceil(rows / SUM_BLOCK);
      const partial = { buffer: this.buffer(outer * blocks * inner * 4, n.dtype), offset: 0 };
      this.reduceInto(n, from, partial, kind, outer, rows, inner, SUM_BLOCK);
      const out = target();
      this.reduceInto(n, partial, out, kind, outer, blocks, inner, 0);
      return out;
    }
    const out = target();
    this.reduceInto(n, from, out, kind, outer, rows, inner, 0);
    return out;
  }

  private reduceInto(
    n: Node,
    from: Ref,
    to: Ref,
    kind: isa.ReduceKind,
    outer: number,
    rows: number,
    inner: number,
    blockRows: number,
  ): void {
    const block = blockRows || Math.max(rows, 1);
    const blocks = Math.max(1, Math.ceil(rows / block));
    const count = outer * blocks * inner;
    // Row reductions follow the rows of whoever made them; column reductions take whole vectors.
    const grain = inner === 1 ? ROWS : GRAIN;
    const words = this.words(isa.Reduce, {
      Out: to,
      In: from,
      Outer: outer,
      R: rows,
      Inner: inner,
      Block: block,
      Blocks: blocks,
      Kind: kind,
      Grain: grain,
    });
    this.emit(
      isa.Opcode.Reduce,
      words,
      Math.ceil(count / grain),
      n,
      [[from, inner === 1 && blocks === 1 ? grain * rows * 4 : 0]],
      [[to, grain * 4]],
      outer * rows * inner * 0.2,
      `${n.op.name} [${outer}, ${rows}, ${inner}]${blocks > 1 ? ` in ${blocks} blocks` : ""}`,
    );
  }

  softmax(n: Node): void {
    const [x] = n.src;
    const cols = x.shape[x.shape.length - 1];
    const rows = cols === 0 ? 0 : numel(x.shape) / cols;
    const from = this.ref(x);
    const out = this.result(n);
    const words = this.words(isa.Softmax, {
      Out: out,
      In: from,
      Rows: rows,
      Cols: cols,
      Log: n.op === FUSED.logSoftmax ? 1 : 0,
      Block: ROWS,
    });
    const unit = ROWS * cols * 4;
    this.emit(isa.Opcode.Softmax, words, this.rowBlocks(rows), n, [[from, unit]], [[out, unit]], rows * cols * 3);
  }

  softmaxGrad(n: Node): void {
    const [y, g] = n.src;
    const cols = y.shape[y.shape.length - 1];
    const rows = cols === 0 ? 0 : numel(y.shape) / cols;
    const fy = this.ref(y);
    const fg = this.ref(g);
    const out = this.result(n);
    const words = this.words(isa.SoftmaxGrad, {
      Out: out,
      Y: fy,
      G: fg,
      Rows: rows,
      Cols: cols,
      Log: n.op === FUSED.logSoftmaxGrad ? 1 : 0,
      Block: ROWS,
    });
    const unit = ROWS * cols * 4;
    const reads: [Ref, number][] = [
      [fy, unit],
      [fg, unit],
    ];
    this.emit(isa.Opcode.SoftmaxGrad, words, this.rowBlocks(rows), n, reads, [[out, unit]], rows * cols * 2);
  }

  crossEntropy(n: Node): void {
    const [x, labels, g] = n.src;
    const [rows, cols] = x.shape;
    const fx = this.ref(x);
    const fl = this.ref(labels);
    const reads: [Ref, number][] = [
      [fx, ROWS * cols * 4],
      [fl, ROWS * 4],
    ];
    if (g) {
      const fg = this.ref(g);
      reads.push([fg, ROWS * 4]);
      const out = this.result(n);
      const words = this.words(isa.CrossEntropyGrad, {
        Out: out,
        X: fx,
        Label: fl,
        G: fg,
        Rows: rows,
        Cols: cols,
        Ignore: n.attrs.ignore as number,
        Block: ROWS,
      });
      const writes: [Ref, number][] = [[out, ROWS * cols * 4]];
      this.emit(isa.Opcode.CrossEntropyGrad, words, this.rowBlocks(rows), n, reads, writes, rows * cols * 3);
      return;
    }
    const out = this.result(n);
    const words = this.words(isa.CrossEntropy, {
      Loss: out,
      X: fx,
      Label: fl,
      Rows: rows,
      Cols: cols,
      Ignore: n.attrs.ignore as number,
      Block: ROWS,
    });
    this.emit(isa.Opcode.CrossEntropy, words, this.rowBlocks(rows), n, reads, [[out, ROWS * 4]], rows * cols * 3);
  }

  /** Extents before, along and after an axis. */
  private around(n: Node, axis: number): { Outer: number; rows: number; Inner: number } {
    return { Outer: numel(n.shape.slice(0, axis)), rows: n.shape[axis], Inner: numel(n.shape.slice(axis + 1)) };
  }

  /** An index operand by its strides before, along and after the axis; copied if these are not one each. */
  private indexOf(n: Node, axis: number): { ref: Ref; outer: number; row: number; inner: number } {
    const parts = (v: Strided): { dims: number[]; strides: number[] }[] =>
      [0, axis, axis + 1].map((from, i) => {
        const to = [axis, axis + 1, v.shape.length][i];
        return collapse(v.shape.slice(from, to), v.strides.slice(from, to));
      });
    let v = this.view(n);
    if (v.base.op === CONSTANT || parts(v).some((p) => p.dims.length > 1)) {
      this.copy(n);
      v = dense(n);
    }
    const base = this.ref(v.base);
    const [outer, row, inner] = parts(v).map((p) => p.strides[0] ?? 0);
    return { ref: { ...base, offset: base.offset + v.offset * 4 }, outer, row, inner };
  }

  gather(n: Node): void {
    const [x, index] = n.src;
    const axis = n.attrs.axis as number;
    const { Outer, rows, Inner } = this.around(n, axis);
    const from = this.ref(x);
    const at = this.indexOf(index, axis);
    const out = this.result(n);
    const words = this.words(isa.Gather, {
      Out: out,
      In: from,
      Index: at.ref,
      Outer,
      Rows: rows,
      Bound: x.shape[axis],
      Inner,
      IndexOuter: at.outer,
      IndexRow: at.row,
      IndexInner: at.inner,
      Block: ROWS,
    });
    const own = Outer === 1 && at.row === 1 && at.inner === 0;
    const reads: [Ref, number][] = [
      [from, 0],
      [at.ref, own ? ROWS * 4 : 0],
    ];
    const units = this.rowBlocks(Outer * rows);
    this.emit(isa.Opcode.Gather, words, units, n, reads, [[out, ROWS * Inner * 4]], numel(n.shape) * 0.3);
  }

  /** scatterAdd of values by an index, or scatterLast of an index alone. */
  scatter(n: Node): void {
    const index = n.src[n.src.length - 1];
    const axis = n.attrs.axis as number;
    const { Outer, rows, Inner } = this.around(n, axis);
    const at = this.indexOf(index, axis);
    const last = n.op === LOOKUP.scatterLast;
    const from = last ? at.ref : this.ref(n.src[0]);
    const out = this.result(n);
    const words = this.words(isa.ScatterAdd, {
      Out: out,
      In: from,
      Index: at.ref,
      Outer,
      Rows: index.shape[axis],
      Bound: rows,
      Inner,
      IndexOuter: at.outer,
      IndexRow: at.row,
      IndexInner: at.inner,
      Kind: last ? isa.ScatterKind.Last : isFloat(n.dtype) ? isa.ScatterKind.Sum : isa.ScatterKind.SumI,
      Block: ROWS,
    });
    const reads: [Ref, number][] = [
      [from, 0],
      [at.ref, 0],
    ];
    const cost = numel(index.shape) * 0.4 + numel(n.shape) * 0.1;
    const units = this.rowBlocks(Outer * rows);
    this.emit(isa.Opcode.ScatterAdd, words, units, n, reads, [[out, ROWS * Inner * 4]], cost);
  }

  cumsum(n: Node): void {
    const { Outer, rows, Inner } = this.around(n, n.attrs.axis as number);
    const from = this.ref(n.src[0]);
    const out = this.result(n);
    // Whole rows lie together, columns do not.
    const grain = Inner === 1 ? ROWS : GRAIN;
    const words = this.words(isa.Scan, {
      Out: out,
      In: from,
      Outer,
      R: rows,
      Inner,
      Reverse: n.attrs.reverse ? 1 : 0,
      Integer: isFloat(n.dtype) ? 0 : 1,
      Grain: grain,
    });
    const unit = Inner === 1 ? ROWS * rows * 4 : 0;
    const units = Math.ceil((Outer * Inner) / grain);
    this.emit(isa.Opcode.Scan, words, units, n, [[from, unit]], [[out, unit]], numel(n.shape) * 1.5);
  }

  argsort(n: Node): void {
    const [x] = n.src;
    const cols = x.shape[x.shape.length - 1];
    const rows = cols === 0 ? 0 : numel(x.shape) / cols;
    const from = this.ref(x);
    const out = this.result(n);
    const spare = { buffer: this.buffer(byteLength(n.shape, n.dtype), n.dtype), offset: 0 };
    const words = this.words(isa.Argsort, {
      Out: out,
      In: from,
      Spare: spare,
      Rows: rows,
      Cols: cols,
      Descending: n.attrs.descending ? 1 : 0,
      Integer: isFloat(x.dtype) ? 0 : 1,
      Block: 1,
    });
    const unit = cols * 4;
    const writes: [Ref, number][] = [
      [out, unit],
      [spare, unit],
    ];
    this.emit(isa.Opcode.Argsort, words, rows, n, [[from, unit]], writes, numel(n.shape) * 40);
  }

  fold(n: Node): void {
    const [x] = n.src;
    const { axis, step, dilation } = n.attrs as { axis: number; step: number; dilation: number };
    const { Outer, rows, Inner } = this.around(n, axis);
    const size = x.shape[x.shape.length - 1];
    const from = this.ref(x);
    const out = this.result(n);
    const words = this.words(isa.Fold, {
      Out: out,
      In: from,
      Outer,
      Extent: rows,
      Windows: x.shape[axis],
      Inner,
      Size: size,
      Step: step,
      Dilation: dilation,
      Block: ROWS,
    });
    const units = this.rowBlocks(Outer * rows);
    const cost = numel(x.shape) + numel(n.shape) * 0.1;
    this.emit(isa.Opcode.Fold, words, units, n, [[from, 0]], [[out, ROWS * Inner * 4]], cost);
  }

  random(n: Node): void {
    const state = this.ref(n.src[0]);
    const out = this.result(n);
    const size = numel(n.shape);
    const kind = n.op === RANDOM.normal ? "Normal" : n.op === RANDOM.uniform ? "Uniform" : "Bits";
    // Whole rows where the shape has them, so that what uses the draw needs no barrier.
    const rows = n.shape.length >= 2 && n.shape[0] >= 2 * ROWS && size > 0 ? ROWS * (size / n.shape[0]) : GRAIN;
    const grain = rows % 8 === 0 ? rows : GRAIN;
    const words = this.words(isa.Random, {
      Out: out,
      State: state,
      Draw: n.attrs.draw as number,
      N: size,
      Kind: isa.RandomKind[kind],
      A: floatBits(n.attrs.a as number),
      B: floatBits(n.attrs.b as number),
      Grain: grain,
    });
    this.emit(isa.Opcode.Random, words, Math.ceil(size / grain), n, [[state, 0]], [[out, grain * 4]], size * 8);
  }

  /** Parts written side by side, each by a strided store. */
  concat(n: Node): void {
    const out = this.result(n);
    const axis = n.attrs.axis as number;
    const strides = stridesOf(n.shape);
    let at = 0;
    for (const x of n.src) {
      const to = { buffer: out.buffer, offset: at * strides[axis] * bytesOf(n.dtype) };
      if (numel(x.shape) > 0)
        this.emitMap(n, x.shape, [], [{ node: x, to, into: { base: n, offset: 0, shape: x.shape, strides } }]);
      at += x.shape[axis];
    }
  }

  /** Zeros, then the source in its place. */
  pad(n: Node): void {
    const [x] = n.src;
    const { begin, step } = n.attrs as { begin: number[]; step: number[] };
    const out = this.result(n);
    const size = numel(n.shape);
    // Whatever the dtype, zeros are words of zero; buffers have room for the last one.
    const count = Math.ceil((size * bytesOf(n.dtype)) / 4);
    const slots: [isa.Slot, Word][] = [
      [isa.Slot.Register, 0],
      [isa.Slot.Immediate, 0],
      [isa.Slot.Dense, out],
    ];
    const words = this.mapWords(count, GRAIN, slots, [[isa.Micro.Splat, 0, 1, 0, 0]], [[isa.Micro.Copy, 2, 0, 0, 0]]);
    this.emit(isa.Opcode.Map, words, Math.ceil(count / GRAIN), n, [], [[out, GRAIN * 4]], size * 0.15, "zeros");
    if (numel(x.shape) === 0) return;
    const strides = stridesOf(n.shape);
    const offset = begin.reduce((o, b, i) => o + b * strides[i], 0) * bytesOf(n.dtype);
    const into = { base: n, offset: 0, shape: x.shape, strides: strides.map((s, i) => s * step[i]) };
    this.emitMap(n, x.shape, [], [{ node: x, to: { buffer: out.buffer, offset }, into }]);
  }

  /** The same bytes, for readers in a phase after the one that writes the second operand. */
  fence(n: Node): void {
    const after = this.view(n.src[1]).base;
    const ref = this.ref(n.src[0]);
    this.places.set(n, after.op === CONSTANT ? ref : { ...ref, after: this.ref(after).buffer });
  }

  /** The same bytes under another type. */
  bytes(n: Node): void {
    this.places.set(n, this.ref(n.src[0]));
  }

  iota(n: Node): void {
    const out = this.result(n);
    const count = numel(n.shape);
    const words = this.mapWords(count, GRAIN, [[isa.Slot.Dense, out]], [], [[isa.Micro.Iota, 0, 0, 0, 0]]);
    this.emit(isa.Opcode.Map, words, Math.ceil(count / GRAIN), n, [], [[out, GRAIN * 4]], count * 0.2, "iota");
  }
}

/** Operations with instructions of their own; elementwise ones become Map, views become addresses. */
const RULES = new Map<OpDef, (this: Lowering, n: Node) => void>([
  [CONTRACT.matmul, Lowering.prototype.matmul],
  [STRUCTURE.sum, Lowering.prototype.reduce],
  [STRUCTURE.max, Lowering.prototype.reduce],
  [STRUCTURE.min, Lowering.prototype.reduce],
  [STRUCTURE.argmax, Lowering.prototype.argReduce],
  [STRUCTURE.argmin, Lowering.prototype.argReduce],
  [STRUCTURE.concat, Lowering.prototype.concat],
  [STRUCTURE.pad, Lowering.prototype.pad],
  [STRUCTURE.iota, Lowering.prototype.iota],
  [STRUCTURE.bytes, Lowering.prototype.bytes],
  [STRUCTURE.fence, Lowering.prototype.fence],
  [FUSED.softmax, Lowering.prototype.softmax],
  [FUSED.logSoftmax, Lowering.prototype.softmax],
  [FUSED.softmaxGrad, Lowering.prototype.softmaxGrad],
  [FUSED.logSoftmaxGrad, Lowering.prototype.softmaxGrad],
  [FUSED.crossEntropyRows, Lowering.prototype.crossEntropy],
  [FUSED.crossEntropyGradRows, Lowering.prototype.crossEntropy],
  [RANDOM.randomBits, Lowering.prototype.random],
  [RANDOM.uniform, Lowering.prototype.random],
  [RANDOM.normal, Lowering.prototype.random],
  [STRUCTURE.prod, Lowering.prototype.reduce],
  [LOOKUP.gather, Lowering.prototype.gather],
  [LOOKUP.scatterAdd, Lowering.prototype.scatter],
  [LOOKUP.scatterLast, Lowering.prototype.scatter],
  [SCAN.cumsum, Lowering.prototype.cumsum],
  [SCAN.argsort, Lowering.prototype.argsort],
  [WINDOW.fold, Lowering.prototype.fold],
]);

/** Whether the compiler can run an operation: for the test that the op table is covered. */
export function canLower(op: OpDef): boolean {
  return ["elementwise", "view", "identity", "leaf"].includes(op.kind) || RULES.has(op);
}

/** Instructions for a simplified graph. */
export function lower(graph: Graph): Lowered {
  const roots = [...graph.outputs, ...graph.updates];
  const order = toposort([...graph.inputs, ...graph.residents, ...roots]);
  for (const n of order)
    if (n.shape.length > 8) throw new ShapeError(`${n.op.name}: rank ${n.shape.length} of ${show(n.shape)} is above 8`);
  const low = new Lowering(order, roots);
  const bind = (list: readonly Node[], kind: BufferKind): Buffer[] =>
    list.map((n, i) => {
      if (n.op !== LEAF) throw new FourlaneError("INTERNAL", `${n.op.name}: only leaves can be bound`);
      const buffer = low.buffer(byteLength(n.shape, n.dtype), n.dtype, kind, i);
      low.place(n, { buffer, offset: 0 });
      return buffer;
    });
  const inputs = bind(graph.inputs, "input");
  const residents = bind(graph.residents, "resident");
  low.run();
  // What leaves the program has a buffer of its own, of the right kind.
  const leave = (kind: BufferKind, n: Node, i: number): Buffer => {
    let { buffer, offset } = low.ref(n);
    if (buffer.kind === "output" && kind === "output" && offset === 0) return buffer;
    const whole = offset === 0 && buffer.bytes === byteLength(n.shape, n.dtype);
    if (buffer.kind !== "temp" || !whole) ({ buffer, offset } = low.copy(n));
    buffer.kind = kind;
    buffer.index = i;
    return buffer;
  };
  const updates = graph.updates.map((n, i) => leave("update", n, i));
  const outputs = graph.outputs.map((node, i) => ({ buffer: leave("output", node, i), node }));
  return { instrs: low.instrs, buffers: low.buffers, outputs, inputs, residents, updates };
}
