/** @file Datasets: rows on the host, gathered by index into the tensors of a batch. */
import { arrayType, checkNumbers, holds } from "../core/convert.ts";
import { allocate, bytesOf, checkDType, type DType, type TypedArray } from "../core/dtype.ts";
import { DTypeError, IndexError, ShapeError, ValueError } from "../core/errors.ts";
import { checkOptions, type Names } from "../core/options.ts";
import { checkCount, checkShape, numel, type Shape, show } from "../core/shape.ts";
import { consecutive, permutation } from "../core/threefry.ts";
import { bytes } from "../ops/movement.ts";
import { tensor } from "../tensor/creation.ts";
import { Tensor } from "../tensor/tensor.ts";
import type { NestedArray } from "../tensor/values.ts";
import { dataLeaf } from "../trace/bindings.ts";
import { BY_IDENTITY } from "../trace/signature.ts";
import { perSession, Variable } from "../trace/variable.ts";

/** Anything a DataLoader can draw batches from. */
export interface Dataset {
  /** Number of rows. */
  readonly length: number;
  /** The rows at the indices: one tensor per column, of shape [indices.length, ...row]. */
  batch(indices: ArrayLike<number>): Tensor[] | Promise<Tensor[]>;
}

/** Values on the host, one row per example. They are kept, not copied. */
export interface Column {
  /** Row-major values. */
  readonly data: TypedArray;
  /** [rows, ...row]; default [data.length]. */
  readonly shape?: Shape;
  /**
   * What batches hold; default: the data's own type, or float32 with `scale` or `shift`. Only without loss, but that
   * float32 rounds an int32, and bool is whether it is 0.
   */
  readonly dtype?: DType;
  /**
   * Batches hold value * scale + shift; default 1. The calling thread computes it: where every tenth of a millisecond
   * counts, deliver bytes and write `x.div(255)` in the compiled function, which the workers fuse into what they do anyway.
   */
  readonly scale?: number;
  /** See scale. Default 0. */
  readonly shift?: number;
}

const COLUMN: Names<Column> = { data: true, shape: true, dtype: true, scale: true, shift: true };

/** The types that data of a type can be delivered in. */
const DELIVERED: Partial<Record<DType, readonly DType[]>> = {
  uint8: ["uint8", "bool", "int32", "float32"],
  int32: ["int32", "float32"],
  float32: ["float32"],
};

/** One column, checked: what is stored, and how it is delivered. */
interface Source {
  readonly rows: number;
  readonly row: Shape;
  readonly dtype: DType;
  /** Copies rows into a batch. */
  gather(indices: ArrayLike<number>): TypedArray | Promise<TypedArray>;
  /** What the workers are to keep. */
  variable(): Variable;
  /** Rows of the variable, as they are delivered. */
  deliver(rows: Tensor): Tensor;
}

function storedType(data: unknown): DType | undefined {
  const type = arrayType(data);
  return type === "Float32Array"
    ? "float32"
    : type === "Int32Array"
      ? "int32"
      : type === "Uint8Array"
        ? "uint8"
        : undefined;
}

/** The rows of an array at the indices, one after the other, converted to the type of `out`. */
function gatherRows(data: TypedArray, width: number, indices: ArrayLike<number>, out: TypedArray): TypedArray {
  for (let i = 0; i < indices.length; i++) {
    const from = indices[i] * width;
    if (width === 1) out[i] = data[from];
    else out.set(data.subarray(from, from + width), i * width);
  }
  return out;
}

/** In a second pass, which is as fast as one (the first is a copy in native code) and always over floats. */
function scaleInPlace(x: Float32Array, scale: number, shift: number): void {
  const n = x.length;
  for (let i = 0; i < n; i++) x[i] = x[i] * scale + shift;
}

function hostSource(column: Column, which: string): Source {
  const { data, scale = 1, shift = 0 } = (column ?? {}) as Partial<Column>;
  const stored = storedType(data);
  if (!stored || !data)
    throw new DTypeError(
      `TensorDataset: ${which} must hold a Uint8Array, Int32Array or Float32Array, or be a tensor or nested arrays`,
    );
  checkNumbers(`TensorDataset: ${which}`, data);
  checkOptions(`TensorDataset: ${which}`, column, COLUMN);
  const shape = checkShape("TensorDataset", column.shape ?? [data.length]);
  if (shape.length === 0) throw new ShapeError(`TensorDataset: ${which} has shape [], which has no axis of rows`);
  if (numel(shape) !== data.length)
    throw new ShapeError(`TensorDataset: ${which}: ${data.length} values do not fill shape ${show(shape)}`);
  for (const [name, value] of Object.entries({ scale, shift }))
    if (!Number.isFinite(value) || !holds("float32", value))
      throw new ValueError(`TensorDataset: ${which}: ${name} must be finite in float32, got ${value}`);
  const scaled = column.scale !== undefined || column.shift !== undefined;
  const dtype = checkDType(`TensorDataset: ${which}`, column.dtype ?? (scaled ? "float32" : stored));
  if (scaled && dtype !== "float32")
    throw new DTypeError(`TensorDataset: ${which}: scale and shift need dtype float32, got ${dtype}`);
  if (!DELIVERED[stored]?.includes(dtype))
    throw new DTypeError(`TensorDataset: ${which} holds ${stored}, which dtype ${dtype} cannot hold without loss`);

  const row = shape.slice(1);
  const width = numel(row);
  const gather = (indices: ArrayLike<number>): TypedArray => {
    const out = gatherRows(data, width, indices, allocate(dtype, indices.length * width));
    if (scaled) scaleInPlace(out as Float32Array, scale, shift);
    return dtype === "bool" ? out.map((v) => Number(v !== 0)) : out;
  };
  // Workers gather rows in words of four bytes.
  const inWords = data.BYTES_PER_ELEMENT === 1 && width % 4 === 0;
  const variable = (): Variable => {
    if (data.BYTES_PER_ELEMENT === 4) return new Variable(shape, stored, data, { captured: true });
    if (!inWords) return new Variable(shape, "int32", Int32Array.from(data), { captured: true });
    const { buffer, byteOffset } = data.byteOffset % 4 === 0 ? data : data.slice();
    return new Variable([shape[0], width / 4], "int32", new Int32Array(buffer, byteOffset, data.length / 4), {
      captured: true,
    });
  };
  const deliver = (rows: Tensor): Tensor => {
    const values = inWords ? new Tensor(bytes(rows.node)).reshape([rows.shape[0], ...row]) : rows;
    const x = values.to(dtype);
    return scaled ? x.mul(scale).add(shift) : x;
  };
  return { rows: shape[0], row, dtype, gather, variable, deliver };
}

function tensorSource(tensor: Tensor, which: string): Source {
  if (tensor.ndim === 0) throw new ShapeError(`TensorDataset: ${which} has shape [], which has no axis of rows`);
  const { dtype } = tensor;
  const row = tensor.shape.slice(1);
  const width = numel(row);
  let values: Promise<TypedArray> | undefined;
  const gather = async (indices: ArrayLike<number>): Promise<TypedArray> => {
    values ??= tensor.data().catch((error) => {
      values = undefined; // the next use tries again
      throw error;
    });
    return gatherRows(await values, width, indices, allocate(dtype, indices.length * width));
  };
  const variable = (): Variable => {
    const { node } = bytesOf(dtype) === 4 ? tensor : tensor.to("int32");
    return new Variable(tensor.shape, node.dtype, node, { captured: true });
  };
  return { rows: tensor.shape[0], row, dtype, gather, variable, deliver: (rows) => rows.to(dtype) };
}

/** @internal */
export function checkDataset(op: string, dataset: Dataset): void {
  if (!dataset || typeof dataset.batch !== "function" || !Number.isSafeInteger(dataset.length) || dataset.length < 0)
    throw new ValueError(`${op}: the dataset must have a length and a method batch(indices)`);
  checkCount(op, "rows", dataset.length, 2 ** 30);
}

function checkIndices(op: string, indices: ArrayLike<number>, rows: number): void {
  if (!Number.isSafeInteger(indices?.length))
    throw new ValueError(`${op}: indices must be an array of integers, got ${String(indices)}`);
  for (let i = 0; i < indices.length; i++) {
    const v = indices[i];
    if (!Number.isInteger(v) || v < 0 || v >= rows)
      throw new IndexError(`${op}: index ${v} at position ${i} is not that of one of ${rows} rows`, v, rows, i);
  }
}

/**
 * Rows that belong together, from columns with the same first extent: typed arrays on the host, described by a Column, nested
 * arrays (float32, as tensor() takes them), or tensors, whose values are fetched with the first batch. Nothing is copied until a batch is made.
 *
 * @example new TensorDataset({ data: pixels, shape: [n, 784], scale: 1 / 255 }, { data: labels, dtype: "int32" })
 */
export class TensorDataset implements Dataset {
  /** @internal */
  get [BY_IDENTITY](): true {
    return true;
  }

  readonly length: number;
  private readonly sources: readonly Source[];

  /**
   * @throws ShapeError if a column's values do not fill its shape, or columns have different numbers of rows; DTypeError if
   * a column cannot be delivered in the dtype asked for.
   */
  constructor(...columns: (Column | TypedArray | Tensor | NestedArray)[]) {
    if (columns.length === 0) throw new ValueError("TensorDataset: give at least one column");
    this.sources = columns.map((column, i) => {
      const which = `column ${i}`;
      if (column instanceof Tensor) return tensorSource(column, which);
      if (Array.isArray(column)) return tensorSource(tensor(column as NestedArray), which);
      return hostSource(ArrayBuffer.isView(column) ? { data: column as TypedArray } : (column as Column), which);
    });
    this.length = this.sources[0].rows;
    this.sources.forEach(({ rows }, i) => {
      if (rows !== this.length)
        throw new ShapeError(`TensorDataset: column 0 has ${this.length} rows, column ${i} has ${rows}`);
    });
  }

  /**
   * The rows at the indices, copied: one tensor per column, of shape [indices.length, ...row].
   * @throws IndexError if an index is not an integer in [0, length).
   */
  async batch(indices: ArrayLike<number>): Promise<Tensor[]> {
    checkIndices("TensorDataset.batch", indices, this.length);
    const arrays = await Promise.all(this.sources.map((s) => s.gather(indices)));
    return this.sources.map(({ row, dtype }, i) => new Tensor(dataLeaf([indices.length, ...row], dtype, arrays[i])));
  }

  /**
   * @internal The columns in the memory of the runtime in use, for a trace: given the indices of rows, int32, the tensors
   * that batch() would deliver, but for `scale` and `shift`, which are float32 there.
   */
  resident(): (indices: Tensor) => Tensor[] {
    const columns = this.residents();
    return (indices) => this.sources.map((s, i) => s.deliver(new Tensor(columns[i].node).indexSelect(0, indices)));
  }

  private readonly residents = perSession(() => this.sources.map((s) => s.variable()));

  /** Rows begin to end - 1, without copying them. Throws a ValueError unless 0 <= begin <= end <= length. */
  subset(begin: number, end: number = this.length): Subset {
    if (!Number.isInteger(begin) || !Number.isInteger(end) || begin < 0 || begin > end || end > this.length)
      throw new ValueError(`subset: rows ${begin} to ${end} do not lie within ${this.length} rows`);
    return new Subset(this, consecutive(begin, end));
  }
}

/** The rows of a dataset named by indices, in their order. */
export class Subset implements Dataset {
  /** @internal */
  get [BY_IDENTITY](): true {
    return true;
  }

  readonly dataset: Dataset;
  readonly indices: ArrayLike<number>;

  /** @throws IndexError if an index is not an integer in [0, dataset.length). */
  constructor(dataset: Dataset, indices: ArrayLike<number>) {
    checkDataset("Subset", dataset);
    checkIndices("Subset", indices, dataset.length);
    this.dataset = dataset;
    this.indices = indices;
  }

  get length(): number {
    return this.indices.length;
  }

  /** See Dataset.batch. Rejects with an IndexError if an index is not an integer in [0, length). */
  async batch(indices: ArrayLike<number>): Promise<Tensor[]> {
    checkIndices("Subset.batch", indices, this.length);
    return this.dataset.batch(Uint32Array.from(indices, (i) => this.indices[i]));
  }
}

/** @internal The dataset that holds the rows, and which they are there; undefined if it is none of this module's. */
export function rootOf(
  dataset: Dataset,
  rows: ArrayLike<number>,
): { dataset: TensorDataset; rows: ArrayLike<number> } | undefined {
  if (dataset instanceof TensorDataset) return { dataset, rows };
  if (!(dataset instanceof Subset)) return undefined;
  return rootOf(
    dataset.dataset,
    Int32Array.from(rows, (i) => dataset.indices[i]),
  );
}

/** No epoch of a DataLoader shuffles by this stream, so a split and a shuffle of one seed have nothing in common. */
const SPLIT_STREAM = 2 ** 32 - 1;

/**
 * Splits a dataset at random into parts that do not overlap; the same for the same seed.
 * @param lengths Rows per part, adding up to the dataset's length; or fractions that add up to 1 (each rounded down, what
 * remains goes to the first parts, one row each).
 * @throws ValueError if they do not add up.
 */
export function randomSplit(dataset: Dataset, lengths: readonly number[], options: { seed?: number } = {}): Subset[] {
  checkDataset("randomSplit", dataset);
  const n = dataset.length;
  const { seed: given = 0 } = checkOptions("randomSplit", options, { seed: true });
  const seed = checkSeed("randomSplit", given);
  if (!Array.isArray(lengths))
    throw new ValueError(`randomSplit: lengths must be an array of numbers, got ${String(lengths)}`);
  const text = `lengths ${show(lengths)}`;
  if (lengths.some((x) => !(x >= 0))) throw new ValueError(`randomSplit: ${text} must not be negative`);
  const total = lengths.reduce((a, b) => a + b, 0);
  let counts = lengths;
  if (lengths.some((x) => !Number.isInteger(x)) || (total === 1 && n !== 1)) {
    if (Math.abs(total - 1) > 1e-12)
      throw new ValueError(`randomSplit: fractions ${show(lengths)} add up to ${total}, not 1`);
    // The product may fall just short of an integer (0.29 * 100): one part in 2^40 is no row.
    const floors = lengths.map((x) => Math.min(n, Math.floor(n * x * (1 + 2 ** -40))));
    let rest = n - floors.reduce((a, b) => a + b, 0);
    counts = floors.map((c, i) => (lengths[i] > 0 && rest > 0 ? (rest--, c + 1) : c));
  } else if (total !== n) throw new ValueError(`randomSplit: ${text} add up to ${total}, the dataset has ${n} rows`);
  const order = permutation(n, seed, SPLIT_STREAM);
  let at = 0;
  return counts.map((count) => {
    at += count;
    return new Subset(dataset, order.subarray(at - count, at));
  });
}

/** @internal */
export function checkSeed(op: string, seed: number): number {
  if (!Number.isSafeInteger(seed) || seed < 0)
    throw new ValueError(`${op}: seed must be an integer from 0 to 2^53 - 1, got ${String(seed)}`);
  return seed;
}
