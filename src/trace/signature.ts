/**
 * @file What a compiled function was called with, as text: equal texts mean that one program serves both calls. Tensors count
 * by shape and dtype, everything else by value, for it is part of the program. What was met before is written as its number there:
 * whether two arguments are one object is part of the program, too.
 */
import { FourlaneError, ValueError } from "../core/errors.ts";
import { Tensor } from "../tensor/tensor.ts";
import { identityOf } from "../core/identity.ts";
import { DEEPEST, isPlain, keysOf } from "./tree.ts";

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

/** What to give in place of what cannot be compared. */
const INSTEAD = "give its values as numbers, texts, plain arrays or tensors";

/** Whether a class is the platform's: such keep values in slots, where nobody sees them change. */
function isPlatform(c: { name: string }): boolean {
  // In Node some are written in JavaScript.
  return (
    Function.prototype.toString.call(c).slice(-15, -2) === "[native code]" || Reflect.get(globalThis, c.name) === c
  );
}

/** What an object was made from, unless that is what literals are. */
function prototypeOf(x: object): string {
  const p = Object.getPrototypeOf(x);
  return p === Object.prototype || p === Array.prototype ? "" : `#${p && identityOf(p)}`;
}

/**
 * The signature of arguments; `isLeaf` says which tensors are arguments. With `visit` it is told where what stands, which
 * takes longer.
 * @throws ValueError for what cannot count by value: what the platform hides, more than 4096 numbers in arrays.
 */
export function signatureOf(
  op: string,
  args: readonly unknown[],
  isLeaf: (t: Tensor) => boolean,
  visit?: Visit,
): Signature {
  const leaves: Tensor[] = [];
  /** Numbers of what was met before: what reaches the function as a copy, and what does as it is. */
  const copied = new Map<object, number>();
  let kept: Map<object, number> | undefined;
  /** How many objects around are no part of the tree of arguments: tensors in them come from outside. */
  let closed = 0;
  let depth = 0;
  let numbers = 0;
  let at = 0;
  const fail = (path: string, why: string): never => {
    throw new ValueError(`${op}: ${path || `argument ${at} or a part of it`} ${why}`);
  };
  const count = (n: number, path: string): void => {
    numbers += n;
    if (numbers > MOST_NUMBERS)
      fail(
        path,
        `brings the numbers in arrays to ${numbers}, more than ${MOST_NUMBERS}; they would be part of the program: give them ` +
          "as a tensor",
      );
  };
  const below = (path: string, key: PropertyKey): string => (visit ? `${path}.${String(key)}` : path);
  const fields = (x: object, path: string, keys: readonly PropertyKey[] = keysOf(x)): string => {
    let text = "{";
    for (const k of keys)
      text += `${typeof k === "string" ? `${k.length}:${k}` : primitive(k)}=${walk((x as Record<PropertyKey, unknown>)[k], below(path, k))},`;
    return `${text}}`;
  };
  const list = (xs: readonly unknown[], path: string): string => {
    let text = "[";
    let keys = 0;
    for (let i = 0; i < xs.length; i++) {
      const v = xs[i];
      if (typeof v === "number" || v === undefined) count(1, path);
      if (v !== undefined || i in xs) {
        keys++;
        text += walk(v, below(path, i));
      }
      text += ",";
    }
    if (Object.keys(xs).length > keys) fail(path, `is an array with fields of its own: ${INSTEAD}`);
    return `${text}]`;
  };
  const instance = (x: object, path: string): string => {
    if (BY_IDENTITY in x) return `#${identityOf(x)}`;
    if (typeof x === "function") return `#${identityOf(x)}${fields(x, path, Object.keys(x))}`;
    let name = "";
    let text = prototypeOf(x);
    for (let p = Object.getPrototypeOf(x), up: object; !name && (up = Object.getPrototypeOf(p)); p = up) {
      // Prototypes of iterators have tags, but no constructor.
      if (!Object.hasOwn(p, "constructor") && !(Symbol.toStringTag in p)) text += fields(p, path);
      else if (isPlatform(p.constructor)) ({ name } = p.constructor);
    }
    let keys = keysOf(x);
    if (ArrayBuffer.isView(x) || name.endsWith("ArrayBuffer")) {
      const { buffer = x as ArrayBuffer, byteOffset, byteLength } = x as DataView;
      const values = "length" in x ? (x as Uint8Array) : new Uint8Array(buffer, byteOffset, byteLength);
      count(values.length, path);
      text += Array.prototype.map.call(values, primitive).join();
      if ("length" in x) keys = keys.slice(values.length);
    } else if (name === "Map") {
      const map = x as Map<unknown, unknown>;
      text += list([...map.keys()], path) + list([...map.values()], path);
    } else if (name === "Set") text += list([...(x as Set<unknown>)], path);
    else {
      const value = name && (x.valueOf() === x ? String(x) : x.valueOf());
      // What has no text of its own, but EventTarget (and classes of users that are global), has values nobody can read.
      const hidden = /^\[object (.*)]/.exec(String(value))?.[1];
      if (!name || hidden === "Object" || hidden === "EventTarget") text = `#${identityOf(x)}${text}`;
      else if (hidden)
        fail(path, `is a ${hidden}, which cannot be compared: await it if it is a promise, or ${INSTEAD}`);
      else text += primitive(value);
    }
    return text + fields(x, path, keys);
  };
  const walk = (x: unknown, path: string): string => {
    if (x === null || (typeof x !== "object" && typeof x !== "function")) {
      const text = primitive(x);
      visit?.(path, text);
      return text;
    }
    let text: string;
    const tensor = x instanceof Tensor;
    if (tensor && (closed > 0 || !isLeaf(x))) text = `#${identityOf(x)}`;
    else {
      const plain = !tensor && (Array.isArray(x) || isPlain(x));
      const met = closed === 0 && (tensor || plain) ? copied : (kept ??= new Map());
      const before = met.get(x);
      if (before !== undefined) return `^${before}`;
      met.set(x, met.size);
      if (tensor) {
        leaves.push(x);
        text = `T${x.dtype}[`;
        for (const size of x.shape) text += `${size},`;
        text += x.requiresGrad ? "]g" : "]";
      } else {
        if (depth++ > DEEPEST) fail(path.slice(0, 60), `is nested more than ${DEEPEST} deep`);
        if (plain) text = prototypeOf(x) + (Array.isArray(x) ? list(x, path) : fields(x, path));
        else {
          closed++;
          text = instance(x, path);
          closed--;
        }
        depth--;
        if (plain) return text;
      }
    }
    visit?.(path, text);
    return text;
  };
  let text = "";
  try {
    for (; at < args.length; at++) text += `${walk(args[at], visit ? `argument ${at}` : "")}|`;
  } catch (error) {
    if (error instanceof FourlaneError) throw error;
    fail("", `cannot be read (${String(error)}): ${INSTEAD}`);
  }
  return { leaves, text };
}

/** A value that is no object, as text. */
function primitive(x: unknown): string {
  if (typeof x === "number") return Object.is(x, -0) ? "-0" : String(x);
  if (typeof x === "string") return JSON.stringify(x);
  if (typeof x === "symbol") return `symbol:${symbolNumber(x)}`;
  return typeof x === "bigint" ? `${x}n` : String(x);
}
