/** @file Values from outside as leaves of the graph: numbers, nested arrays, typed arrays. */
import { arrayType, checkNumbers, holds } from "../core/convert.ts";
import { allocate, checkDType, type DType, type TypedArray } from "../core/dtype.ts";
import { DTypeError, ShapeError, ValueError } from "../core/errors.ts";
import { checkCount, checkShape, numel, type Shape, show, stridesOf } from "../core/shape.ts";
import type { Node } from "../graph/node.ts";
import { constant } from "../ops/leaf.ts";
import { dataLeaf } from "../trace/bindings.ts";

/** Nested arrays of numbers or booleans. */
export type NestedArray = number | boolean | readonly NestedArray[];

/** A leaf of these values, copied; shape and dtype are those they have, unless they are given. */
export function valuesLeaf(
  values: NestedArray | TypedArray | Float64Array | Uint8ClampedArray,
  givenShape?: Shape,
  givenDType?: DType,
): Node {
  let flat: ArrayLike<number>;
  let shape: Shape;
  let dtype: DType;
  if (ArrayBuffer.isView(values)) {
    checkNumbers("tensor: the values", values);
    const type = arrayType(values);
    if (type.startsWith("Big"))
      throw new DTypeError(
        "tensor: there is no int64; give the numbers as an Int32Array (or Array.from(values, Number))",
      );
    flat = values as ArrayLike<number>;
    shape = givenShape ?? [flat.length];
    dtype = type === "Int32Array" ? "int32" : type.startsWith("Uint8") ? "uint8" : "float32";
  } else {
    const nested = flatten(values);
    flat = nested.flat;
    shape = givenShape ?? nested.shape;
    dtype = nested.boolean ? "bool" : "float32";
  }
  checkShape("tensor", shape);
  if (givenDType !== undefined) dtype = checkDType("tensor", givenDType);
  if (numel(shape) !== flat.length)
    throw new ShapeError(`tensor: ${flat.length} values do not fill shape ${show(shape)}`);
  const array = allocate(dtype, flat.length);
  if (dtype === "bool") for (let i = 0; i < flat.length; i++) array[i] = flat[i] ? 1 : 0;
  else array.set(flat);
  if ((dtype === "int32" || dtype === "uint8") && array.constructor !== values.constructor) {
    const bad = array.findIndex((v, i) => v !== Math.trunc(flat[i]));
    if (bad >= 0) throw new ValueError(`tensor: ${flat[bad]} is no value of dtype ${dtype}`);
  }
  return dataLeaf([...shape], dtype, array);
}

/** Deepest nesting of arrays: no shape has as many axes. */
const DEEPEST = 64;

function flatten(values: NestedArray): { flat: number[]; shape: number[]; boolean: boolean } {
  const shape: number[] = [];
  for (let v: NestedArray = values; Array.isArray(v); v = v[0]) {
    if (shape.push(v.length) > DEEPEST)
      throw new ShapeError(`tensor: arrays are nested more than ${DEEPEST} deep, or hold themselves`);
  }
  // Few arrays that hold each other many times are a lot to walk.
  checkCount("tensor", "numbers in nested arrays", numel(shape.map((d) => d || 1)), 2 ** 26);
  const flat: number[] = [];
  let boolean = true;
  const walk = (v: NestedArray, axis: number): void => {
    if (!Array.isArray(v)) {
      if (axis !== shape.length) throw new ShapeError("tensor: nested arrays have different depths");
      if (typeof v !== "number" && typeof v !== "boolean")
        throw new DTypeError(`tensor: values must be numbers or booleans, got ${typeof v}`);
      if (typeof v === "number") boolean = false;
      flat.push(Number(v));
      return;
    }
    if (axis >= shape.length || v.length !== shape[axis])
      throw new ShapeError(`tensor: nested arrays have different lengths at depth ${axis}`);
    for (const x of v) walk(x, axis + 1);
  };
  walk(values, 0);
  return { flat, shape, boolean: boolean && flat.length > 0 };
}

/** One value, repeated over a shape. */
export function full(shape: Shape, value: number, dtype: DType): Node {
  // As tensor() has it: fractions are cut off, what is out of range is no value.
  if ((dtype === "int32" || dtype === "uint8") && !holds(dtype, Math.trunc(value)))
    throw new ValueError(`full: ${value} is no value of dtype ${dtype}`);
  return constant(value, shape, dtype);
}

/** Where the elements of a tensor of this shape are not 0: one int32 index for each axis. */
export function truePlaces(values: TypedArray, shape: Shape): Node[] {
  const places: number[] = [];
  values.forEach((v, i) => {
    if (v !== 0) places.push(i);
  });
  return stridesOf(shape).map((s, axis) =>
    dataLeaf(
      [places.length],
      "int32",
      Int32Array.from(places, (p) => Math.floor(p / s) % shape[axis]),
    ),
  );
}
