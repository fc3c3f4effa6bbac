/** @file Making tensors: of given values, of one value, of a sequence. */
import { checkDType, type DType, type TypedArray } from "../core/dtype.ts";
import { DTypeError, ValueError } from "../core/errors.ts";
import { checkOptions } from "../core/options.ts";
import { checkShape, type Shape } from "../core/shape.ts";
import { iota } from "../ops/leaf.ts";
import { Tensor } from "./tensor.ts";
import { full as fullLeaf, type NestedArray, valuesLeaf } from "./values.ts";

export interface TensorOptions {
  /** Default: float32 for numbers, bool for booleans, the array's own type for typed arrays. */
  dtype?: DType;
  /** Whether backward() fills `.grad`. */
  requiresGrad?: boolean;
}

/**
 * A tensor of the given values: a number, nested arrays, or a typed array with a shape. Values are copied.
 * @param values Numbers or booleans. Float64Array is rounded to float32.
 * @param shapeOrOptions The shape (default: as nested), or options.
 */
export function tensor(
  values: NestedArray | TypedArray | Float64Array | Uint8ClampedArray,
  shapeOrOptions?: Shape | TensorOptions,
  options?: TensorOptions,
): Tensor {
  const given = Array.isArray(shapeOrOptions) ? (shapeOrOptions as Shape) : undefined;
  const named = options === undefined && !given ? (shapeOrOptions as TensorOptions | undefined) : options;
  const opts = checkOptions("tensor", named, { dtype: true, requiresGrad: true });
  const t = new Tensor(valuesLeaf(values, given, opts.dtype));
  if (opts.requiresGrad) t.requiresGrad = true;
  return t;
}

function filled(op: string, shape: Shape, value: number, options: { dtype?: DType }): Tensor {
  const checked = checkShape(op, shape);
  return new Tensor(
    fullLeaf(checked, value, checkDType(op, checkOptions(op, options, { dtype: true }).dtype ?? "float32")),
  );
}

/** A tensor of one value. */
export function full(shape: Shape, value: number, options: { dtype?: DType } = {}): Tensor {
  if (typeof value !== "number" && typeof value !== "boolean")
    throw new DTypeError(`full: value must be a number or a boolean, got ${String(value)}`);
  return filled("full", shape, Number(value), options);
}

export function zeros(shape: Shape, options: { dtype?: DType } = {}): Tensor {
  return filled("zeros", shape, 0, options);
}

export function ones(shape: Shape, options: { dtype?: DType } = {}): Tensor {
  return filled("ones", shape, 1, options);
}

/** start, start + step, ... below end; int32 if all three are integers, else float32. */
export function arange(start: number, end?: number, step = 1): Tensor {
  const [from, to] = end === undefined ? [0, start] : [start, end];
  if (!Number.isFinite(from) || !Number.isFinite(to) || !Number.isFinite(step) || step === 0)
    throw new ValueError(`arange: start ${from}, end ${to} and step ${step} must be finite, the step not 0`);
  const n = Math.max(0, Math.ceil((to - from) / step));
  const i = new Tensor(iota(checkShape("arange", [n])));
  return [from, step].every(Number.isInteger) && Number.isInteger(to)
    ? i.mul(step).add(from)
    : i.float().mul(step).add(from);
}
