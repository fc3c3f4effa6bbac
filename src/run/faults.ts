/** @file What kernels recorded, as errors. */
import * as isa from "../../assembly/isa.ts";
import type { Program } from "../program/program.ts";
import { type FourlaneError, IndexError, NonFiniteError } from "../core/errors.ts";
import type { FaultRecord } from "./device.ts";
import type { Loaded } from "./images.ts";

/** The error for a fault that a program's kernels recorded. */
export function faultError(program: Program, loaded: Loaded, fault: FaultRecord): FourlaneError {
  const words = loaded.images.map((image) => (fault.ip - image.address) / 4);
  const label = program.labels.find((l) => words.includes(l.word));
  if (fault.code === isa.FaultCode.NonFinite)
    return new NonFiniteError(`${label?.op}: ${label?.names?.[fault.where]} has a NaN or an infinity`);
  const { name, index, of } = label?.called ?? { name: label?.op ?? "a kernel", index: "index", of: "rows" };
  return new IndexError(
    `${name}: ${index} ${fault.value} at position ${fault.where} is out of range for ${fault.bound} ${of} ` +
      `(operands ${label?.shapes ?? ""})`,
    fault.value,
    fault.bound,
    fault.where,
  );
}
