/** @file Instructions to a program. */
import * as isa from "../../assembly/isa.ts";
import { byteLength, type DType } from "../core/dtype.ts";
import type { Shape } from "../core/shape.ts";
import {
  align,
  ARENA,
  familyOf,
  INPUTS,
  type Label,
  OUTPUTS,
  type Place,
  type Program,
  type Region,
  RESIDENTS,
} from "../program/program.ts";
import type { Allocation, Described, Ref, Schedule } from "./instr.ts";
import type { Lowered } from "./lower/lowering.ts";
import type { Plan } from "./plan.ts";
import { print } from "./print.ts";

/** Gives every word its number. */
export function encode(low: Lowered, schedule: Schedule, plan: Plan): Program {
  const { instrs, phaseOf, phases } = schedule;
  const { homes } = low;
  const code: number[] = [];
  const relocations: number[] = [];
  const labels: Label[] = [];
  const families = new Set<isa.Family>();
  const residents = low.residents.length;

  const regionOf = (b: Allocation): Region => {
    const home = homes[b.id];
    if (!home) return ARENA;
    if (home.kind === "resident") return RESIDENTS + home.index;
    if (home.kind === "update") return RESIDENTS + residents + home.index;
    return home.kind === "input" ? INPUTS : OUTPUTS;
  };
  const offsets = new Map(plan.offsets);
  /** Puts buffers side by side; returns the bytes they take. */
  const sideBySide = (buffers: Iterable<Allocation>): number => {
    let at = 0;
    for (const b of buffers) {
      offsets.set(b.id, at);
      at += align(b.bytes);
    }
    return at;
  };
  const inputBytes = sideBySide(low.inputs);
  const outputBytes = sideBySide(new Set(low.outputs.map((o) => o.buffer)));
  const offsetOf = (b: Allocation): number => offsets.get(b.id) ?? 0;

  let phase = 0;
  for (let k = 0; k < instrs.length; k++) {
    const i = instrs[k];
    if (i.units === 0) continue;
    for (; phase < phaseOf[k]; phase++) {
      labels.push({ word: code.length, phase, op: "barrier", text: "barrier", shapes: "" });
      code.push(isa.Opcode.Barrier, 4, 0, 0);
    }
    for (const opcode of [i.opcode, ...(i.inner ?? []).map(({ word }) => i.words[word] as number)])
      if (opcode > 0) families.add(familyOf(opcode));
    const label = ({ op, shapes, called, names }: Described, text: string, word: number, inside = 0): void => {
      labels.push({ word: code.length + word, phase, op, text, shapes, called, names, inside });
    };
    label(i.label, i.text, 0, i.inner?.length);
    for (const { label: l, text, word, inside } of i.inner ?? []) label(l, text, word, inside);
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
  const whole = (b: Allocation): Place => place({ buffer: b, offset: 0 }, [], b.dtype, b.bytes);
  return {
    code: new Int32Array(code),
    relocations: new Int32Array(relocations),
    arenaBytes: plan.bytes,
    inputBytes,
    outputBytes,
    lanes: instrs.reduce((most, i) => Math.max(most, i.lanes), 1),
    families: [...families],
    inputs: low.inputs.map(whole),
    outputs: low.outputs.map(({ buffer, node }) =>
      place({ buffer, offset: 0 }, node.shape, node.dtype, byteLength(node.shape, node.dtype)),
    ),
    residents: low.residents.map(whole),
    updates: low.updates.map(whole),
    phases,
    plan,
    labels,
    print: () => print(schedule, homes, plan),
  };
}
