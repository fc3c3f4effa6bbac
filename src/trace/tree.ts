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
 * The same tree with each tensor replaced; f is told the path to it ("layers.0.weight").
 * @throws ValueError for a tree that holds itself, or its parts too often.
 */
export function mapTree(
  tree: Tree,
  f: (t: Tensor, path: string) => unknown,
  path = "",
  depth = 0,
  parts = { left: MOST_PARTS },
): unknown {
  if (tree instanceof Tensor) return f(tree, path);
  if (typeof tree !== "object" || tree === null) return tree;
  if (depth > DEEPEST || parts.left-- === 0)
    throw new ValueError(
      `arrays and objects are nested more than ${DEEPEST} deep, have more than ${MOST_PARTS} parts, or hold themselves: ` +
        `${path.slice(0, 60)}...`,
    );
  const to = (key: string | number, x: unknown): unknown =>
    mapTree(x, f, path ? `${path}.${key}` : String(key), depth + 1, parts);
  if (Array.isArray(tree)) return tree.map((x, i) => to(i, x));
  if (isPlain(tree)) return Object.fromEntries(Object.entries(tree).map(([k, v]) => [k, to(k, v)]));
  return tree;
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
      const [from, to] = [x, y] as Record<string, unknown>[];
      for (const k of new Set([...Object.keys(to), ...Object.keys(from)])) walk(from[k], to[k], [...path, k]);
    } else if (leavesOf([x, y]).length > 0) fail(path, x instanceof Tensor ? "a tensor too many" : "another structure");
  };
  walk(tree, like, []);
  return leaves;
}
