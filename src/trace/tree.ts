/** @file Nested arrays and objects of tensors: taken apart and put together again. */
import { ValueError } from "../core/errors.ts";
import { Tensor } from "../tensor/tensor.ts";

export type Tree = unknown;

/** Whether a value is an object that was written as one, and no instance of a class. */
export function isPlain(x: unknown): x is Record<string, unknown> {
  if (typeof x !== "object" || x === null) return false;
  const prototype = Object.getPrototypeOf(x);
  return prototype === Object.prototype || prototype === null;
}

/** The names of all fields of an object. Faster than ownKeys, which makes no use of what the engine knows of its shape. */
export function keysOf(x: object): PropertyKey[] {
  const symbols = Object.getOwnPropertySymbols(x);
  const names: PropertyKey[] = Object.getOwnPropertyNames(x);
  return symbols.length > 0 ? names.concat(symbols) : names;
}

/** The tensors of a tree, in order. */
export function leavesOf(tree: Tree): Tensor[] {
  const leaves: Tensor[] = [];
  mapTree(tree, (t) => leaves.push(t));
  return leaves;
}

/** Deepest nesting of a tree. What is deeper holds itself. */
export const DEEPEST = 500;

/** Most parts of a tree. Few arrays that hold each other many times have more. */
export const MOST_PARTS = 2 ** 20;

/**
 * The same tree with each tensor replaced; f is told the path to it ("layers.0.weight"). With `met`, what is one object in the
 * tree is one in the copy.
 * @throws ValueError for a tree that holds itself, or its parts too often.
 */
export function mapTree(
  tree: Tree,
  f: (t: Tensor, path: string) => unknown,
  path = "",
  depth = 0,
  parts: { left: number; readonly met?: Map<object, unknown> } = { left: MOST_PARTS },
): unknown {
  if (typeof tree !== "object" || tree === null) return tree;
  const { met } = parts;
  let copy = met?.get(tree);
  if (copy) return copy;
  if (tree instanceof Tensor) copy = f(tree, path);
  else {
    if (depth > DEEPEST || parts.left-- === 0)
      throw new ValueError(
        `arrays and objects are nested more than ${DEEPEST} deep, have more than ${MOST_PARTS} parts, or hold themselves: ` +
          `${path.slice(0, 60)}...`,
      );
    const to = (key: PropertyKey, x: unknown): unknown =>
      mapTree(x, f, path ? `${path}.${String(key)}` : String(key), depth + 1, parts);
    if (Array.isArray(tree)) copy = tree.map((x, i) => to(i, x));
    else if (isPlain(tree)) {
      const fields: Record<PropertyKey, unknown> = { ...tree };
      for (const k of keysOf(tree)) fields[k] = to(k, (tree as typeof fields)[k]);
      copy = Object.setPrototypeOf(fields, Object.getPrototypeOf(tree));
    } else copy = tree;
  }
  met?.set(tree, copy);
  return copy;
}

/**
 * The tensors of a tree at the places where `like` has them, in the order of `like`: objects are matched by key.
 * @throws ValueError with the path of a place where only one of the two has a tensor.
 */
export function tensorsLike(message: string, tree: Tree, like: Tree): Tensor[] {
  const leaves: Tensor[] = [];
  const fail = (path: readonly string[], what: string): never => {
    throw new ValueError(`${message}: ${what}${path.length > 0 ? ` at ${path.join(".")}` : ""}`);
  };
  leavesOf([tree, like]); // refuses what holds itself
  const walk = (x: unknown, y: unknown, path: readonly string[]): void => {
    if (y instanceof Tensor) leaves.push(x instanceof Tensor ? x : fail(path, "no tensor"));
    else if ((Array.isArray(x) && Array.isArray(y)) || (isPlain(x) && isPlain(y))) {
      const [from, to] = [x, y] as Record<PropertyKey, unknown>[];
      for (const k of new Set([...keysOf(to), ...keysOf(from)])) walk(from[k], to[k], [...path, String(k)]);
    } else if (leavesOf([x, y]).length > 0) fail(path, x instanceof Tensor ? "a tensor too many" : "another structure");
  };
  walk(tree, like, []);
  return leaves;
}
