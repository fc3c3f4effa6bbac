/** @file What lowering makes: instructions over buffers, before they have places in memory. */
import type { OpDef } from "../graph/node.ts";
import type { Opcode } from "../../assembly/isa.ts";
import type { DType } from "../core/dtype.ts";
import type { Shape } from "../core/shape.ts";

/**
 * Where a buffer lies that is not in the arena. input and output: written before the run and read after it by the host, in
 * regions of their own, so that it can do so while another run uses the arena; resident: a leaf with a place of its own;
 * update: the new value of a variable, with a place of its own.
 */
export interface Home {
  readonly kind: "input" | "output" | "resident" | "update";
  /** Which of them. */
  readonly index: number;
}

export interface Allocation {
  /** Its position among the program's buffers. */
  readonly id: number;
  readonly bytes: number;
  readonly dtype: DType;
}

/** The homes of buffers, by their ids. Those without one live in the arena, while they are needed. */
export type Homes = readonly (Home | undefined)[];

/** A byte address within a buffer. */
export interface Ref {
  readonly buffer: Allocation;
  readonly offset: number;
  /** Read it only in a phase after the one that writes this: later than it could be, to need less memory at once. */
  readonly after?: Allocation;
  /** Others write other parts of the buffer. */
  readonly part?: true;
}

export type Word = number | Ref;

/** `unit` bytes of the buffer from its start belong to each unit of the instruction; 0 = any unit may touch any byte. */
export interface Access {
  readonly buffer: Allocation;
  readonly unit: number;
  /**
   * Where the instruction works through tiles: the number of the last operation within one that reads the buffer, or of the
   * first that writes it. A result may lie over an operand that is not read after it was written.
   */
  readonly at?: number;
  /** See Ref. */
  readonly after?: Allocation;
}

/** What is worth saying about a node. Not the node itself: programs outlive graphs, and what those are bound to. */
export interface Described {
  readonly op: string;
  readonly dtype: DType;
  readonly shape: Shape;
  /** Of its operands. */
  readonly shapes: string;
  /** See OpDef. */
  readonly called?: OpDef["called"];
  /** Of what is asserted: what each place tells of. */
  readonly names?: readonly string[];
}

export interface Instr {
  readonly opcode: Opcode;
  /** All words, header included. */
  readonly words: readonly Word[];
  readonly units: number;
  readonly lanes: number;
  readonly reads: readonly Access[];
  readonly writes: readonly Access[];
  /** Estimated time on one worker, in nanoseconds. */
  readonly cost: number;
  /** What it computes (the last node of a group), for messages. */
  readonly label: Described;
  /** How it reads, for explain(). */
  readonly text: string;
  /** Of a loop: the instructions in it. */
  readonly inner?: readonly Inner[];
}

/** An instruction within another. */
export interface Inner {
  /** Its place among the words of that. */
  readonly word: number;
  readonly label: Described;
  readonly text: string;
  /** How many of those that follow are within this one. */
  readonly inside: number;
}

/** Instructions in the order in which they run. */
export interface Schedule {
  readonly instrs: readonly Instr[];
  /** The phase of each. */
  readonly phaseOf: Int32Array;
  /** How many phases there are. */
  readonly phases: number;
}
