/** @file Checks of arguments that are numbers or functions, and of what those return. */
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

/** @throws ValueError unless it is a number in [low, high), and finite, in float32 too: that is what programs compute with. */
export function checkNumber(
  op: string,
  name: string,
  value: unknown,
  low = Number.NEGATIVE_INFINITY,
  high = Number.POSITIVE_INFINITY,
): void {
  const v = typeof value === "number" ? Math.fround(value) : Number.NaN;
  // Below low as it is, too: -1e-46 is -0 in float32, but not to what is computed here.
  if (!Number.isFinite(v) || v < low || (value as number) < low || v >= high)
    throw new ValueError(`${op}: ${name} must be finite in float32 and in [${low}, ${high}), got ${String(value)}`);
}
