/**
 * @file What a compiled function was called with, as text: equal texts mean that one program serves both calls. Tensors count
 * by shape and dtype, everything else by value, for it is part of the program.
 */
import { ValueError } from "../core/errors.ts";
import { Tensor } from "../tensor/tensor.ts";
import { identityOf } from "../core/identity.ts";
import { DEEPEST, isPlain, MOST_PARTS } from "./tree.ts";

/** Most numbers in arrays that count by value. More are slow to compare, and are meant as data. */
const MOST_NUMBERS = 4096;

/**
 * Marks classes whose instances count as themselves, whatever happens to them: what changes in them lies in variables, which
 * programs read anew, or is guarded.
 */
export const BY_IDENTITY = Symbol("fourlane.byIdentity");

export interface Signature {
  /** The tensors that are arguments, in order. */
  readonly leaves: Tensor[];
  readonly text: string;
}

const symbols = new Map<symbol, number>();

function symbolNumber(x: symbol): number {
  let n = symbols.get(x);
  if (n === undefined) symbols.set(x, (n = symbols.size));
  return n;
}

/** Called with the path of each value ("argument 1.scale") and its text. */
type Visit = (path: string, text: string) => void;

/**
 * The signature of arguments; `isLeaf` says which tensors are arguments. With `visit` it is told where what stands, which
 * takes longer.
 * @throws ValueError for what cannot count by value: promises, more than 4096 numbers in arrays.
 */
export function signatureOf(
  op: string,
  args: readonly unknown[],
  isLeaf: (t: Tensor) => boolean,
  visit?: Visit,
): Signature {
  const leaves: Tensor[] = [];
  const inside = new Set<object>();
  /** How many objects around are no part of the tree of arguments: tensors in them come from outside. */
  let closed = 0;
  let numbers = 0;
  let parts = 0;
  let at = 0;
  const where = (path: string): string => (visit ? path : `argument ${at} or a part of it`);
  const count = (n: number, path: string): void => {
    numbers += n;
    if (numbers > MOST_NUMBERS)
      throw new ValueError(
        `${op}: ${where(path)} brings the numbers in arrays to ${numbers}, more than ${MOST_NUMBERS}; they would be part of the ` +
          "program: give them as a tensor",
      );
  };
  const below = (path: string, key: string | number): string => (visit ? `${path}.${key}` : path);
  const fields = (x: object, path: string): string => {
    let text = "";
    for (const k of Object.keys(x))
      text += `${JSON.stringify(k)}:${walk((x as Record<string, unknown>)[k], below(path, k))},`;
    return `{${text}}`;
  };
  const list = (xs: readonly unknown[], path: string): string => {
    let text = "";
    for (let i = 0; i < xs.length; i++) {
      if (typeof xs[i] === "number") count(1, path);
      text += `${i in xs ? walk(xs[i], below(path, i)) : ""},`;
    }
    return `[${text}]`;
  };
  const instance = (x: object, path: string): string => {
    if (x instanceof Promise)
      throw new ValueError(`${op}: ${where(path)} is a promise: await it, and give what it resolves to`);
    if (ArrayBuffer.isView(x) || x instanceof ArrayBuffer) {
      const bytes = x instanceof ArrayBuffer ? new Uint8Array(x) : x;
      const values =
        bytes instanceof DataView ? new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength) : bytes;
      const { length } = values as Uint8Array;
      count(length, path);
      return `${Object.prototype.toString.call(x)}${Array.prototype.map.call(values, primitive).join()}`;
    }
    if (x instanceof Date) return `date:${x.getTime()}`;
    if (x instanceof Map) return `map${list([...x.keys()], path)}${list([...x.values()], path)}`;
    if (x instanceof Set) return `set${list([...x], path)}`;
    const own = `#${identityOf(x)}`;
    // What a class keeps in public fields may change in place.
    return BY_IDENTITY in x ? own : own + fields(x, path);
  };
  const walk = (x: unknown, path: string): string => {
    if (x === null || typeof x !== "object") {
      const text = typeof x === "function" ? `#${identityOf(x)}` : primitive(x);
      visit?.(path, text);
      return text;
    }
    if (x instanceof Tensor) {
      const leaf = closed === 0 && isLeaf(x);
      if (leaf) leaves.push(x);
      const text = leaf ? `T${x.dtype}[${x.shape.join()}]${x.requiresGrad ? "g" : ""}` : `#${identityOf(x)}`;
      visit?.(path, text);
      return text;
    }
    // Within themselves objects are what they are.
    if (inside.has(x)) return `#${identityOf(x)}`;
    if (inside.size > DEEPEST || parts++ === MOST_PARTS)
      throw new ValueError(
        `${op}: ${where(path.slice(0, 60))} is nested more than ${DEEPEST} deep, or has more than ${MOST_PARTS} parts`,
      );
    inside.add(x);
    let text: string;
    if (Array.isArray(x)) text = list(x, path);
    else if (isPlain(x)) text = fields(x, path);
    else {
      closed++;
      text = instance(x, path);
      closed--;
      visit?.(path, text);
    }
    inside.delete(x);
    return text;
  };
  let text = "";
  for (; at < args.length; at++) text += `${walk(args[at], visit ? `argument ${at}` : "")}|`;
  return { leaves, text };
}

/** A value that is no object, as text. */
function primitive(x: unknown): string {
  if (typeof x === "string") return JSON.stringify(x);
  if (typeof x === "symbol") return `symbol:${symbolNumber(x)}`;
  return Object.is(x, -0) ? "-0" : `${typeof x}:${String(x)}`;
}
