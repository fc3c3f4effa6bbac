/** @file Element types. */
import { DTypeError } from "./errors.ts";
import { numel, type Shape } from "./shape.ts";

/** float32 and int32 take 4 bytes an element, uint8 and bool 1. */
export type DType = "float32" | "int32" | "uint8" | "bool";

export type TypedArray = Float32Array | Int32Array | Uint8Array;

const TABLE = {
  float32: { bytes: 4, array: Float32Array, rank: 3 },
  int32: { bytes: 4, array: Int32Array, rank: 2 },
  uint8: { bytes: 1, array: Uint8Array, rank: 1 },
  bool: { bytes: 1, array: Uint8Array, rank: 0 },
} as const;

export const DTYPES: readonly DType[] = Object.keys(TABLE) as DType[];

export function bytesOf(dtype: DType): number {
  return TABLE[dtype].bytes;
}

/** Bytes of a dense array. */
export function byteLength(shape: Shape, dtype: DType): number {
  return numel(shape) * bytesOf(dtype);
}

export function isFloat(dtype: DType): boolean {
  return dtype === "float32";
}

/** A zero-filled typed array of n elements. */
export function allocate(dtype: DType, n: number): TypedArray {
  return new TABLE[dtype].array(n);
}

/** A typed array of the dtype over existing bytes, without copying. */
export function viewAs(dtype: DType, buffer: ArrayBufferLike, byteOffset: number, n: number): TypedArray {
  return new TABLE[dtype].array(buffer as ArrayBuffer, byteOffset, n);
}

/** The dtype both operands convert to: bool < uint8 < int32 < float32. */
export function promote(a: DType, b: DType): DType {
  return TABLE[a].rank >= TABLE[b].rank ? a : b;
}

/** What counts for the dtype of a result: a tensor with axes before one without, and that before a bare number. */
export type Standing = "tensor" | "scalar" | "number";

/**
 * The dtype operands convert to, as PyTorch has it: that of the operands of the highest standing, unless one of lower
 * standing is of a higher kind (bool < integers < float32).
 */
export function resultType(operands: readonly { readonly dtype: DType; readonly standing: Standing }[]): DType {
  const kind = (d: DType): number => (d === "bool" ? 0 : isFloat(d) ? 2 : 1);
  let result: DType | undefined;
  for (const standing of ["tensor", "scalar", "number"] as const) {
    const dtypes = operands.filter((o) => o.standing === standing).map((o) => o.dtype);
    if (dtypes.length === 0) continue;
    const own = dtypes.reduce(promote);
    if (result === undefined || kind(own) > kind(result)) result = result ? promote(result, own) : own;
  }
  return result ?? "float32";
}

export function checkDType(op: string, dtype: unknown): DType {
  if (typeof dtype !== "string" || !Object.hasOwn(TABLE, dtype))
    throw new DTypeError(`${op}: dtype must be one of ${DTYPES.join(", ")}, got ${String(dtype)}`);
  return dtype as DType;
}
