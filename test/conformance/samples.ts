/** Reading PyTorch's samples: safetensors files whose metadata entry `case` says in JSON what they are of. */
import { readFileSync } from "node:fs";
import type { DType } from "../../src/index.ts";

export interface Sample<Case> {
  readonly arrays: Map<string, { shape: number[]; data: Float64Array; dtype: string }>;
  readonly case: Case;
}

/** What the types of a file are here; float64 is what results are compared with. */
export const DTYPES: Record<string, DType> = { F32: "float32", I64: "int32", BOOL: "bool", U8: "uint8" };

export function load<Case>(file: URL): Sample<Case> {
  const bytes = readFileSync(file);
  const size = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.subarray(8, 8 + size).toString());
  const arrays: Sample<Case>["arrays"] = new Map();
  for (const [name, entry] of Object.entries(header)) {
    if (name === "__metadata__") continue;
    const { dtype, shape, data_offsets } = entry as { dtype: string; shape: number[]; data_offsets: [number, number] };
    const raw = bytes.subarray(8 + size + data_offsets[0], 8 + size + data_offsets[1]);
    const n = shape.reduce((p, d) => p * d, 1);
    const read: Record<string, (i: number) => number> = {
      F64: (i) => raw.readDoubleLE(i * 8),
      F32: (i) => raw.readFloatLE(i * 4),
      I64: (i) => Number(raw.readBigInt64LE(i * 8)),
      BOOL: (i) => raw[i],
      U8: (i) => raw[i],
    };
    arrays.set(name, { shape, dtype, data: Float64Array.from({ length: n }, (_, i) => read[dtype](i)) });
  }
  return { arrays, case: JSON.parse(header.__metadata__.case) };
}
