/** @file Instructions as text, for people. */
import * as isa from "../../assembly/isa.ts";
import { show } from "../core/shape.ts";
import type { MemoryPlan } from "../program/program.ts";
import type { Allocation, Homes, Schedule } from "./instr.ts";

const NAMES = new Map(Object.entries(isa.Opcode).map(([name, opcode]) => [opcode, name]));
const kb = (n: number): string => (n < 10_240 ? `${n} B` : `${(n / 1024).toFixed(1)} KB`);

const PREFIXES = { input: "in", output: "out", resident: "r", update: "new" };

function bufferName(b: Allocation, homes: Homes): string {
  const home = homes[b.id];
  return home ? `${PREFIXES[home.kind]}${home.index}` : `t${b.id}`;
}

/** The program as text: instructions by phase, then the memory plan. */
export function print({ instrs, phaseOf }: Schedule, homes: Homes, plan: MemoryPlan): string {
  const lines: string[] = [];
  const list = (xs: readonly { buffer: Allocation }[]): string =>
    [...new Set(xs.map((x) => bufferName(x.buffer, homes)))].join(" ");
  let phases = 0;
  for (const [k, i] of instrs.entries()) {
    for (; phases <= phaseOf[k]; phases++) lines.push(phases === 0 ? "phase 0" : `phase ${phases}  (after a barrier)`);
    const lanes = i.lanes === 1 ? "1 worker" : `<= ${i.lanes} workers`;
    const name = NAMES.get(i.opcode) as string;
    const call = `${name[0].toLowerCase()}${name.slice(1)}`;
    lines.push(
      `  ${list(i.writes)} = ${call} ${list(i.reads)}`.padEnd(44) +
        `  ${i.text} -> ${i.label.dtype}${show(i.label.shape)}`.padEnd(52) +
        `  ${i.units} units, ${lanes}`,
    );
    for (const { label, text } of i.inner ?? [])
      lines.push(text === "barrier" ? "      barrier" : `      ${text} -> ${label.dtype}${show(label.shape)}`);
  }
  const ratio = plan.lowerBound > 0 ? plan.bytes / plan.lowerBound : 1;
  lines.push(
    `arena ${kb(plan.bytes)}, lower bound ${kb(plan.lowerBound)} (ratio ${ratio.toFixed(3)}), unshared ${kb(plan.unshared)}`,
  );
  return lines.join("\n");
}
