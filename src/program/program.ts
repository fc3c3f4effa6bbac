/** @file The format of programs: plain integers and where they must be adjusted. What the compiler writes and the session reads. */
import * as isa from "../../assembly/isa.ts";
import type { DType } from "../core/dtype.ts";
import type { Shape } from "../core/shape.ts";

/** Bytes rounded up to whole cache lines. */
export const align = (n: number): number => Math.ceil(n / isa.Size.Line) * isa.Size.Line;

/** Bytes of a program's intermediate values. */
export interface MemoryPlan {
  /** Bytes of the arena. */
  readonly bytes: number;
  /** No plan can be smaller: the largest sum of bytes alive at once. */
  readonly lowerBound: number;
  /** Bytes if nothing shared memory. */
  readonly unshared: number;
}

/** Whose kernel an instruction is. */
export const familyOf = (opcode: isa.Opcode): isa.Family => Math.floor(opcode / isa.Range.Opcodes);

/** Where a buffer of the program lives: one of these three, or the n-th resident or update. */
export type Region = number;
export const ARENA: Region = 0;
/** What the host writes before a run, and what it reads after it. */
export const INPUTS: Region = 1;
export const OUTPUTS: Region = 2;
export const RESIDENTS: Region = 3;

/** A piece of memory the host writes or reads: `offset` bytes into a region. */
export interface Place {
  readonly region: Region;
  readonly offset: number;
  readonly bytes: number;
  readonly shape: Shape;
  readonly dtype: DType;
}

/** What an instruction is. */
export interface Label {
  /** The operation, and the shapes of its operands. */
  readonly op: string;
  readonly shapes: string;
  /** What users call it, and a bad index of it. */
  readonly called?: { readonly name: string; readonly index: string; readonly of: string };
  /** Of what is asserted: what each place tells of. */
  readonly names?: readonly string[];
  readonly word: number;
  readonly phase: number;
  readonly text: string;
  /** Of a loop: how many of the labels that follow are of instructions in it. */
  readonly inside?: number;
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
  /** Whose kernels its instructions are. */
  readonly families: readonly isa.Family[];
  readonly inputs: readonly Place[];
  readonly outputs: readonly Place[];
  /** Regions from the fourth on. */
  readonly residents: readonly Place[];
  /** The regions after those. */
  readonly updates: readonly Place[];
  readonly phases: number;
  readonly plan: MemoryPlan;
  /** Word offset of each instruction, barriers included, and what it computes: for messages and profiles. */
  readonly labels: readonly Label[];
  /** The readable form. */
  print(): string;
}
