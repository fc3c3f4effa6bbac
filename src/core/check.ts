/** @file Checks of arguments that are functions, and of what they return. */
import { ValueError } from "./errors.ts";

/** @throws ValueError unless f is a function that does something when it is called. */
export function checkFunction(op: string, f: unknown): void {
  if (typeof f !== "function") throw new ValueError(`${op}: a function is wanted, got ${String(f)}`);
  if (/Generator/.test(Object.prototype.toString.call(f)))
    throw new ValueError(`${op}: the function is a generator, calling it does nothing; it must return tensors`);
}

/** Why what a function returned is not there yet; undefined if it is. */
export function laterResult(result: unknown): string | undefined {
  const { then, next } = (result ?? {}) as { then?: unknown; next?: unknown };
  if (typeof then === "function") return "the function is async; it must return tensors, to be awaited outside";
  if (typeof next === "function") return "the function returns an iterator; it must return tensors";
  return undefined;
}

/** @throws ValueError if what a function returned is still to come. */
export function checkNotAsync(op: string, result: unknown): void {
  const why = laterResult(result);
  if (why) throw new ValueError(`${op}: ${why}`);
}
