/** @file A program: plain integers and where they must be adjusted, ready to be copied into memory. */
import * as isa from "../../assembly/isa.ts";
import { byteLength, type DType } from "../core/dtype.ts";
import { show, type Shape } from "../core/shape.ts";
import type { Buffer, Described, Instr, Ref } from "./instr.ts";
import type { Lowered } from "./lower.ts";
import { align, type Plan } from "./plan.ts";

/** Where a buffer of the program lives: one of these three, or the n-th resident or update. */
export type Region = number;
export const ARENA: Region = 0;
/** What the host writes before a run, and what it reads after it. */
export const INPUTS: Region = 1;
export const OUTPUTS: Region = 2;
const RESIDENTS: Region = 3;

/** A piece of memory the host writes or reads: `offset` bytes into a region. */
export interface Place {
  readonly region: Region;
  readonly offset: number;
  readonly bytes: number;
  readonly shape: Shape;
  readonly dtype: DType;
}

/** What an instruction is. */
export interface Label extends Pick<Described, "op" | "shapes" | "finite"> {
  readonly word: number;
  readonly phase: number;
  readonly text: string;
}

export interface Program {
  /** The words of all instructions; addresses are relative to their region. */
  readonly code: Int32Array;
  /** Pairs (word, region): add the region's address to the word. */
  readonly relocations: Int32Array;
  readonly arenaBytes: number;
  /** Of the regions of inputs and outputs; multiples of a cache line. */
  readonly inputBytes: number;
  readonly outputBytes: number;
  /** Most workers any instruction has use for. */
  readonly lanes: number;
  readonly inputs: readonly Place[];
  readonly outputs: readonly Place[];
  /** Regions from the fourth on. */
  readonly residents: readonly Place[];
  /** The regions after those. */
  readonly updates: readonly Place[];
  readonly phases: number;
  readonly plan: Plan;
  /** Word offset of each instruction, barriers included, and what it computes: for messages and profiles. */
  readonly labels: readonly Label[];
  /** The readable form. */
  print(): string;
}

/** Gives every word its number. */
export function encode(low: Lowered, phases: number, plan: Plan): Program {
  const code: number[] = [];
  const relocations: number[] = [];
  const labels: Label[] = [];
  const residents = low.residents.length;

  const regionOf = (b: Buffer): Region => {
    if (b.kind === "resident") return RESIDENTS + b.index;
    if (b.kind === "update") return RESIDENTS + residents + b.index;
    return b.kind === "input" ? INPUTS : b.kind === "output" ? OUTPUTS : ARENA;
  };
  const offsets = new Map(plan.offsets);
  /** Puts buffers side by side; returns the bytes they take. */
  const sideBySide = (buffers: Iterable<Buffer>): number => {
    let at = 0;
    for (const b of buffers) {
      offsets.set(b.id, at);
      at += align(b.bytes);
    }
    return at;
  };
  const inputBytes = sideBySide(low.inputs);
  const outputBytes = sideBySide(new Set(low.outputs.map((o) => o.buffer)));
  const offsetOf = (b: Buffer): number => offsets.get(b.id) ?? 0;

  let phase = 0;
  for (const i of low.instrs) {
    if (i.units === 0) continue;
    for (; phase < i.phase; phase++) {
      labels.push({ word: code.length, phase, op: "barrier", text: "barrier", shapes: "" });
      code.push(isa.Opcode.Barrier, 4, 0, 0);
    }
    const { op, shapes, finite } = i.label;
    labels.push({ word: code.length, phase, op, text: i.text, shapes, finite });
    i.words[isa.At.Units] = i.units;
    i.words[isa.At.Lanes] = i.lanes;
    for (const w of i.words) {
      if (typeof w === "number") code.push(w | 0);
      else {
        relocations.push(code.length, regionOf(w.buffer));
        code.push(offsetOf(w.buffer) + w.offset);
      }
    }
  }

  // Workers refuse a program that does nothing; one whose results are empty or given still runs.
  if (code.length === 0) {
    labels.push({ word: 0, phase: 0, op: "barrier", text: "barrier", shapes: "" });
    code.push(isa.Opcode.Barrier, 4, 0, 0);
  }

  const place = (ref: Ref, shape: Shape, dtype: DType, bytes: number): Place => ({
    region: regionOf(ref.buffer),
    offset: offsetOf(ref.buffer) + ref.offset,
    bytes,
    shape,
    dtype,
  });
  const whole = (b: Buffer): Place => place({ buffer: b, offset: 0 }, [], b.dtype, b.bytes);
  const instrs = low.instrs;
  return {
    code: new Int32Array(code),
    relocations: new Int32Array(relocations),
    arenaBytes: plan.bytes,
    inputBytes,
    outputBytes,
    lanes: instrs.reduce((most, i) => Math.max(most, i.lanes), 1),
    inputs: low.inputs.map(whole),
    outputs: low.outputs.map(({ buffer, node }) =>
      place({ buffer, offset: 0 }, node.shape, node.dtype, byteLength(node.shape, node.dtype)),
    ),
    residents: low.residents.map(whole),
    updates: low.updates.map(whole),
    phases,
    plan,
    labels,
    print: () => print(instrs, plan),
  };
}

const NAMES = new Map(Object.entries(isa.Opcode).map(([name, opcode]) => [opcode, name]));
const kb = (n: number): string => (n < 10_240 ? `${n} B` : `${(n / 1024).toFixed(1)} KB`);

function bufferName(b: Buffer): string {
  const prefix = { temp: "t", input: "in", output: "out", resident: "r", update: "new" }[b.kind];
  return b.kind === "temp" ? `t${b.id}` : `${prefix}${b.index}`;
}

/** The program as text: instructions by phase, then the memory plan. */
function print(instrs: readonly Instr[], plan: Plan): string {
  const lines: string[] = [];
  const list = (xs: readonly { buffer: Buffer }[]): string =>
    [...new Set(xs.map((x) => bufferName(x.buffer)))].join(" ");
  let phases = 0;
  for (const i of instrs) {
    for (; phases <= i.phase; phases++) lines.push(phases === 0 ? "phase 0" : `phase ${phases}  (after a barrier)`);
    const lanes = i.lanes === 1 ? "1 worker" : `<= ${i.lanes} workers`;
    const name = NAMES.get(i.opcode) as string;
    const call = `${name[0].toLowerCase()}${name.slice(1)}`;
    lines.push(
      `  ${list(i.writes)} = ${call} ${list(i.reads)}`.padEnd(44) +
        `  ${i.text} -> ${i.label.dtype}${show(i.label.shape)}`.padEnd(52) +
        `  ${i.units} units, ${lanes}`,
    );
  }
  const ratio = plan.lowerBound > 0 ? plan.bytes / plan.lowerBound : 1;
  lines.push(
    `arena ${kb(plan.bytes)}, lower bound ${kb(plan.lowerBound)} (ratio ${ratio.toFixed(3)}), unshared ${kb(plan.unshared)}`,
  );
  return lines.join("\n");
}
