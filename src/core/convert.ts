/** @file Numbers from outside as elements of a dtype, without silent loss. */
import { allocate, type DType, isFloat, type TypedArray } from "./dtype.ts";
import { DTypeError, ValueError } from "./errors.ts";

/** Arrays of numbers, with an own type or without. */
export type Numbers =
  | readonly (number | boolean | bigint)[]
  | TypedArray
  | Float64Array
  | Int8Array
  | Int16Array
  | Uint16Array
  | Uint32Array
  | Uint8ClampedArray
  | BigInt64Array
  | BigUint64Array;

/** @throws DTypeError unless it is an array of numbers whose memory is still there; `what` names it. */
export function checkNumbers(what: string, values: unknown): asserts values is Numbers {
  if (!Array.isArray(values) && (!ArrayBuffer.isView(values) || arrayType(values) === "DataView"))
    throw new DTypeError(`${what} must be a tensor or an array of numbers, got ${String(values)}`);
  if (Array.isArray(values) || (values as Uint8Array).length > 0) return;
  try {
    void new Uint8Array((values as Uint8Array).buffer);
  } catch {
    throw new DTypeError(`${what} is an array whose buffer is detached: it was transferred to another thread`);
  }
}

/** The class of a typed array, as text: one from a frame or a context of its own is no instance of this one's classes. */
export function arrayType(values: unknown): string {
  return Object.prototype.toString.call(values).slice(8, -1);
}

/** The range of each integer dtype. */
const LIMITS = { int32: [-(2 ** 31), 2 ** 31 - 1], uint8: [0, 255], bool: [0, 1] } as const;

/** Whether a dtype holds a number exactly; float32 if it stays finite. */
export function holds(dtype: DType, v: number): boolean {
  if (isFloat(dtype)) return Number.isFinite(Math.fround(v)) || !Number.isFinite(v);
  const [low, high] = LIMITS[dtype as keyof typeof LIMITS];
  return Number.isInteger(v) && v >= low && v <= high;
}

/**
 * A copy as elements of a dtype. float32 is rounded to the nearest, but a finite number stays finite; integers and booleans
 * must be the same number in the dtype.
 * @throws ValueError that names the element; DTypeError for what is no number.
 */
export function converted(what: string, values: Numbers, dtype: DType): TypedArray {
  checkNumbers(what, values);
  const out = allocate(dtype, values.length);
  if (dtype !== "bool" && values.constructor === out.constructor) {
    out.set(values as TypedArray);
    return out;
  }
  for (let i = 0; i < values.length; i++) {
    const v: unknown = values[i];
    if (typeof v !== "number" && typeof v !== "boolean" && typeof v !== "bigint")
      throw new DTypeError(`${what}: element ${i} is no number: ${String(v)}`);
    const number = Number(v);
    // Every bigint is finite, also one that is an infinity as a number.
    if (!holds(dtype, number) || (typeof v === "bigint" && !Number.isFinite(number)))
      throw new ValueError(`${what}: element ${i} is ${String(v)}, which is no value of dtype ${dtype}`);
    out[i] = number;
  }
  return out;
}
