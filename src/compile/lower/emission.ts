/** @file Instructions and buffers as they are made, whatever they compute. */
import * as isa from "../../../assembly/isa.ts";
import { byteLength, bytesOf, type DType } from "../../core/dtype.ts";
import { numel, show } from "../../core/shape.ts";
import { isOp, type Node } from "../../graph/node.ts";
import { ASSERT } from "../../ops/assert.ts";
import type { Access, Allocation, Described, Inner, Instr, Ref, Word } from "../instr.ts";
import type { Strided } from "../view.ts";

/** Rows of a unit, where work is cut by rows: whoever continues on those of a matrix product needs no barrier. */
export const ROWS = isa.GemmTile.Rows;
/** Elements of a unit of a vector. */
export const GRAIN = 16;

const float = new Float32Array(1);
const floatAsInt = new Int32Array(float.buffer);

export function floatBits(v: number): number {
  float[0] = v;
  return floatAsInt[0];
}

/** A word for each operand of an instruction. */
export type Operands<Enum> = { [K in Exclude<keyof Enum, "Length"> as Enum[K] & number]: Word };

/** A place that an instruction reads or writes, bytes of it for each unit, and when within a tile: see Access. */
export type Touch = readonly [ref: Ref, unit: number, at?: number];

/** Units of rows, each ROWS of them. */
export const rowBlocks = (rows: number): number => Math.ceil(rows / ROWS);

/**
 * Elements of a unit where a vector may be cut by the rows of its shape: whole rows where there are enough, so that what follows
 * row by row needs no barrier, if they make the multiple that the kernel wants.
 */
export function grainOf(shape: readonly number[], multiple = 1): number {
  const n = numel(shape);
  const rows = shape.length >= 2 && shape[0] >= 2 * ROWS && n > 0 ? ROWS * (n / shape[0]) : GRAIN;
  return rows % multiple === 0 ? rows : GRAIN;
}

/** Lines along an axis that make a unit: as many as rows where whole ones lie together, else a vector beside each other. */
export const linesOf = (inner: number): number => (inner === 1 ? ROWS : GRAIN);

export abstract class Emission {
  readonly instrs: Instr[] = [];
  readonly buffers: Allocation[] = [];
  /** Where a node's value lies, dense, once computed. */
  readonly places = new Map<Node, Ref>();
  private readonly labels = new Map<Node, Described>();
  /** By buffer: the last instruction that writes it, whose cut others follow; null if several cut it differently. */
  private readonly writers: (Instr | null)[] = [];

  /** The node's value as a strided view of something that lies in memory (or of a constant). */
  abstract view(n: Node): Strided;

  /** Where the node's value lies, dense; copied there if it only exists as a view or a constant. */
  abstract ref(n: Node): Ref;

  buffer(bytes: number, dtype: DType): Allocation {
    const b: Allocation = { id: this.buffers.length, bytes, dtype };
    this.buffers.push(b);
    return b;
  }

  /** A place for a node's value. */
  result(n: Node): Ref {
    const ref = { buffer: this.buffer(byteLength(n.shape, n.dtype), n.dtype), offset: 0 };
    this.places.set(n, ref);
    return ref;
  }

  /** The words of an instruction, from its operands by their places in the instruction set: all, and no others. */
  words<Enum>(operands: Operands<Enum>): Word[] {
    const words: Word[] = [0, 0, 0, 0];
    const of: Readonly<Record<number, Word>> = operands;
    for (let at = words.length; at in of; at++) words.push(of[at]);
    return words;
  }

  /** Where the first element of a view lies. */
  origin({ base, offset }: Strided): Ref {
    const ref = this.ref(base);
    return { ...ref, offset: ref.offset + offset * bytesOf(base.dtype) };
  }

  writerOf(b: Allocation): Instr | undefined {
    return this.writers[b.id] ?? undefined;
  }

  /** `unit`: see Access; it only holds for a ref at the start of its buffer. */
  emit(
    opcode: isa.Opcode,
    words: Word[],
    units: number,
    node: Node,
    reads: readonly Touch[],
    writes: readonly Touch[],
    cost: number,
    text = node.op.name,
    inner?: readonly Inner[],
  ): void {
    const access = ([ref, unit, at]: Touch): Access => ({
      at,
      buffer: ref.buffer,
      after: ref.after,
      unit: !ref.part && ref.offset === 0 && ref.buffer.bytes <= unit * units ? unit : 0,
    });
    const from = reads.map(access);
    const to = writes.map(access);
    // Not more than there are units: instructions that are cut alike then have as many, whatever each costs.
    let lanes = Math.max(1, Math.min(units, Math.ceil(cost / isa.Lane.Nanoseconds)));
    // Work that continues on the slices of its producer, worker by worker, costs no barrier: join it on as many lanes.
    for (const r of from) {
      const w = this.writerOf(r.buffer);
      if (w && r.unit > 0 && w.units === units && w.writes.some((x) => x.buffer === r.buffer && x.unit === r.unit))
        lanes = Math.max(lanes, w.lanes);
    }
    words[isa.At.Opcode] = opcode;
    words[isa.At.Length] = words.length;
    words[isa.At.Units] = units;
    words[isa.At.Lanes] = lanes;
    const label = this.label(node);
    const instr: Instr = { opcode, words, units, lanes, reads: from, writes: to, cost, label, text, inner };
    for (const { buffer, unit } of to) {
      const before = this.writers[buffer.id];
      const alike = before?.writes.some((x) => x.buffer === buffer && x.unit === unit);
      this.writers[buffer.id] = before === undefined || alike ? instr : null;
    }
    this.instrs.push(instr);
  }

  private label(n: Node): Described {
    let label = this.labels.get(n);
    if (!label) {
      const { dtype, shape } = n;
      const shapes = n.src.map((s) => show(s.shape)).join(" ");
      const { name, called } = n.op;
      label = {
        op: name,
        dtype,
        shape,
        shapes,
        called,
        names: isOp(n, ASSERT.assertFinite) ? n.attrs.names : undefined,
      };
      this.labels.set(n, label);
    }
    return label;
  }
}
