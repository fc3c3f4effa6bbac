/** @file IDX, the format of MNIST and its relatives: 0, 0, type, rank, extents, elements; all big-endian. */
import { allocate, type DType, type TypedArray } from "../core/dtype.ts";
import { FormatError, ValueError } from "../core/errors.ts";
import { checkOptions } from "../core/options.ts";
import { show } from "../core/shape.ts";
import { TensorDataset } from "./dataset.ts";

/** The contents of an IDX file. */
export interface Idx {
  /** uint8 as stored; int8, int16 and int32 as int32; float32 as stored; float64 rounded to float32. */
  readonly dtype: DType;
  readonly shape: readonly number[];
  /** Row-major. */
  readonly data: TypedArray;
}

/** Where an IDX file may come from; plain or gzip. */
/** What bytes are read from: bytes, a Blob (a File), or the Response of a fetch. Described here, for programs without a DOM. */
export type IdxSource =
  | ArrayBuffer
  | Uint8Array
  | { arrayBuffer(): Promise<ArrayBuffer>; readonly ok?: boolean; readonly status?: number; readonly url?: string };

interface ElementType {
  readonly name: string;
  readonly bytes: number;
  readonly dtype: DType;
  read(view: DataView, at: number): number;
}

const TYPES: Readonly<Record<number, ElementType>> = {
  0x08: { name: "uint8", bytes: 1, dtype: "uint8", read: (v, at) => v.getUint8(at) },
  0x09: { name: "int8", bytes: 1, dtype: "int32", read: (v, at) => v.getInt8(at) },
  0x0b: { name: "int16", bytes: 2, dtype: "int32", read: (v, at) => v.getInt16(at) },
  0x0c: { name: "int32", bytes: 4, dtype: "int32", read: (v, at) => v.getInt32(at) },
  0x0d: { name: "float32", bytes: 4, dtype: "float32", read: (v, at) => v.getFloat32(at) },
  0x0e: { name: "float64", bytes: 8, dtype: "float32", read: (v, at) => v.getFloat64(at) },
};

/** As many elements as a tensor may have. */
const MOST_ELEMENTS = 2 ** 30 - 1;

const hex = (byte: number): string => `0x${byte.toString(16).padStart(2, "0")}`;

interface Header {
  readonly type: ElementType;
  readonly shape: number[];
  /** Number of elements. */
  readonly count: number;
  /** Bytes of the header. */
  readonly begin: number;
  /** Bytes of the whole file. */
  readonly end: number;
}

/** The header, checked; or how many bytes it takes, if there are fewer. */
function parseHeader(bytes: Uint8Array, name: string): Header | number {
  if (bytes.length < 4) return 4;
  if (bytes[0] !== 0 || bytes[1] !== 0)
    throw new FormatError(
      `${name}: not an IDX file: it starts with ${hex(bytes[0])} ${hex(bytes[1])}, not with two zeros`,
    );
  const type = TYPES[bytes[2]];
  if (!type) {
    const known = Object.entries(TYPES).map(([code, t]) => `${hex(Number(code))} ${t.name}`);
    throw new FormatError(`${name}: unknown element type ${hex(bytes[2])} (known: ${known.join(", ")})`);
  }
  const begin = 4 + 4 * bytes[3];
  if (bytes.length < begin) return begin;
  const view = new DataView(bytes.buffer, bytes.byteOffset, begin);
  const shape = Array.from({ length: bytes[3] }, (_, i) => view.getUint32(4 + 4 * i));
  let count = 1;
  for (const d of shape) {
    count *= d;
    if (count > MOST_ELEMENTS)
      throw new FormatError(`${name}: shape ${show(shape)} is absurd: more than ${MOST_ELEMENTS} elements`);
  }
  return { type, shape, count, begin, end: begin + count * type.bytes };
}

function wrongLength(name: string, { type, shape, end }: Header, got: string): FormatError {
  return new FormatError(
    `${name}: shape ${show(shape)} of ${type.name} takes ${end} bytes with its header, got ${got}`,
  );
}

function checkBytes(op: string, bytes: ArrayBuffer | Uint8Array): Uint8Array {
  if (bytes instanceof Uint8Array) return bytes;
  // By its tag: buffers of another realm are no instances.
  if (Object.prototype.toString.call(bytes) === "[object ArrayBuffer]") return new Uint8Array(bytes);
  throw new ValueError(`${op}: an ArrayBuffer or Uint8Array is wanted, got ${bytes === null ? "null" : typeof bytes}`);
}

/**
 * Reads an IDX file from its bytes (not compressed). The values are copied.
 * @param name What errors call the file.
 * @throws FormatError if the magic number is wrong, the element type unknown, the shape absurd, or bytes are missing or too
 * many.
 */
export function parseIdx(bytes: ArrayBuffer | Uint8Array, name = "parseIdx"): Idx {
  const all = checkBytes("parseIdx", bytes);
  const header = parseHeader(all, name);
  if (typeof header === "number")
    throw new FormatError(`${name}: truncated: the header takes ${header} bytes or more, got ${all.length}`);
  const { type, shape, count, begin, end } = header;
  if (all.length < end) throw wrongLength(`${name}: truncated`, header, `${all.length}`);
  if (all.length > end) throw wrongLength(`${name}: ${all.length - end} bytes too many`, header, `${all.length}`);
  const data = allocate(type.dtype, count);
  if (type.dtype === "uint8") data.set(all.subarray(begin));
  else {
    const view = new DataView(all.buffer, all.byteOffset, all.byteLength);
    for (let i = 0; i < count; i++) data[i] = type.read(view, begin + i * type.bytes);
  }
  return { dtype: type.dtype, shape, data };
}

/** Decompresses; stops as soon as there is more than the header announces. */
async function inflate(bytes: Uint8Array, name: string): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let size = 0;
  const joined = (): Uint8Array => {
    const all = new Uint8Array(size);
    let at = 0;
    for (const part of parts) {
      all.set(part, at);
      at += part.length;
    }
    return all;
  };
  let end = Number.POSITIVE_INFINITY;
  const stream = new Blob([bytes as Uint8Array<ArrayBuffer>]).stream().pipeThrough(new DecompressionStream("gzip"));
  const reader = stream.getReader();
  try {
    while (true) {
      const { done, value } = await reader.read();
      if (done) return joined();
      parts.push(value);
      size += value.length;
      if (end === Number.POSITIVE_INFINITY) {
        const header = parseHeader(joined(), name);
        if (typeof header === "object") end = header.end;
      }
      if (size > end)
        throw new FormatError(`${name}: too many bytes: its header announces ${end}, got ${size} or more`);
    }
  } catch (error) {
    reader.cancel().catch(() => {});
    if (error instanceof FormatError) throw error;
    const why = error instanceof Error && error.message ? `: ${error.message}` : "";
    throw new FormatError(`${name}: the gzip data is truncated or corrupt${why}`, { cause: error });
  }
}

/**
 * Reads an IDX file, plain or gzip, from bytes, a Blob (a File), or the Response of a fetch.
 * @param name What errors call the file.
 * @throws FormatError as parseIdx does, and if the gzip data is truncated or corrupt, or the source cannot be read.
 */
export async function readIdx(source: IdxSource, name = "readIdx"): Promise<Idx> {
  let bytes: ArrayBuffer | Uint8Array;
  if (typeof source === "object" && source !== null && "arrayBuffer" in source) {
    if ("ok" in source && !source.ok)
      throw new FormatError(`${name}: the server answered with status ${source.status}`);
    try {
      bytes = await source.arrayBuffer();
    } catch (error) {
      throw new FormatError(`${name}: cannot be read: ${String((error as Error)?.message)}`, { cause: error });
    }
  } else bytes = source as ArrayBuffer | Uint8Array;
  const all = checkBytes("readIdx", bytes);
  return parseIdx(all[0] === 0x1f && all[1] === 0x8b ? await inflate(all, name) : all, name);
}

/** MNIST's four files; those for testing may be left out, both. */
export interface MnistFiles {
  readonly trainImages: IdxSource | Idx;
  readonly trainLabels: IdxSource | Idx;
  readonly testImages?: IdxSource | Idx;
  readonly testLabels?: IdxSource | Idx;
}

export interface Mnist {
  /** Batches [images, labels]: float32 (or as stored) [N, ...imageShape] and int32 [N]. */
  readonly train: TensorDataset;
  /** The same for testing; null without test files. */
  readonly test: TensorDataset | null;
  /** [1, rows, columns], as torchvision has it. */
  readonly imageShape: readonly number[];
  readonly classes: number;
}

export interface MnistOptions {
  /** Labels are from 0 to classes - 1; default 10. */
  classes?: number;
  /**
   * true: images come as stored, bytes from 0 to 255. They are a quarter of the size, and `x.div(255)` in the compiled
   * function is nearly free. Default false.
   */
  raw?: boolean;
}

function loadPair(images: Idx, labels: Idx, part: "train" | "test", options: Required<MnistOptions>): Mnist {
  const { classes, raw } = options;
  const [a, b] = [`${part}Images`, `${part}Labels`];
  if (images.shape.length < 2)
    throw new FormatError(`loadMnist: ${a} has shape ${show(images.shape)}; images need two axes or more`);
  if (labels.shape.length !== 1 || labels.dtype === "float32")
    throw new FormatError(
      `loadMnist: ${b} is ${labels.dtype} of shape ${show(labels.shape)}; integers of one axis are wanted`,
    );
  if (images.shape[0] !== labels.shape[0])
    throw new FormatError(`loadMnist: ${a} holds ${images.shape[0]} images, ${b} ${labels.shape[0]} labels`);
  labels.data.forEach((label, i) => {
    if (label < 0 || label >= classes)
      throw new FormatError(`loadMnist: ${b}: label ${label} at position ${i} is out of range for ${classes} classes`);
  });
  const [n, ...size] = images.shape;
  const imageShape = size.length === 2 ? [1, ...size] : size;
  const pixels = { data: images.data, shape: [n, ...imageShape] };
  const scaling = raw ? {} : images.dtype === "uint8" ? { scale: 1 / 255 } : { dtype: "float32" as const };
  const train = new TensorDataset({ ...pixels, ...scaling }, { data: labels.data, dtype: "int32" });
  return { train, test: null, imageShape, classes };
}

/**
 * Loads a data set in MNIST's four files: images of bytes become float32 from 0 to 1 (or stay, with `raw`), labels int32.
 * @param files Sources as for readIdx, or what it returned.
 * @throws FormatError if a file is broken, image and label counts differ, a label lies outside the classes, or
 * training and test images differ in size.
 */
export async function loadMnist(files: MnistFiles, options: MnistOptions = {}): Promise<Mnist> {
  const { classes = 10, raw = false } = checkOptions("loadMnist", options, { classes: true, raw: true });
  if (!Number.isSafeInteger(classes) || classes < 1)
    throw new ValueError(`loadMnist: classes must be a positive integer, got ${String(classes)}`);
  const read = async (name: keyof MnistFiles): Promise<Idx> => {
    const file = files?.[name];
    if (!file) throw new ValueError(`loadMnist: ${name} is missing`);
    return typeof file === "object" && "shape" in file ? file : readIdx(file, `loadMnist: ${name}`);
  };
  const train = loadPair(await read("trainImages"), await read("trainLabels"), "train", { classes, raw });
  if (!files.testImages && !files.testLabels) return train;
  const test = loadPair(await read("testImages"), await read("testLabels"), "test", { classes, raw });
  if (show(test.imageShape) !== show(train.imageShape))
    throw new FormatError(
      `loadMnist: trainImages are of shape ${show(train.imageShape)}, testImages of ${show(test.imageShape)}`,
    );
  return { ...train, test: test.train };
}
