/** @file Checks of arguments that are functions. */
import { ValueError } from "./errors.ts";

/** @throws ValueError unless f is a function. */
export function checkFunction(op: string, f: unknown): void {
  if (typeof f !== "function") throw new ValueError(`${op}: a function is wanted, got ${String(f)}`);
}

/** @throws ValueError if what a function returned is a promise. */
export function checkNotAsync(op: string, result: unknown): void {
  if (result instanceof Promise)
    throw new ValueError(`${op}: the function is async; it must return tensors, to be awaited outside`);
}
