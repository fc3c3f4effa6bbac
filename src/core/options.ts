/** @file Options: objects whose names are known. What is none, or misspelt, or another library's, is said. */
import { ValueError } from "./errors.ts";

/** The names of an options type, all of them: a slip fails in tsc. */
export type Names<T> = { readonly [K in keyof T]-?: true };

/** What other libraries call some of it; PyTorch's own names in snake_case are known by rule. */
const ELSEWHERE: Readonly<Record<string, string>> = {
  learningrate: "lr",
  rate: "lr",
  epsilon: "eps",
  beta1: "betas",
  beta2: "betas",
  decay: "weightDecay",
  l2: "weightDecay",
  dim: "axis",
  keepdims: "keepdim",
  strides: "stride",
  pad: "padding",
  pads: "padding",
  dilations: "dilation",
  dilationrate: "dilation",
  group: "groups",
  usebias: "bias",
  center: "affine",
  scale: "affine",
  ddof: "correction",
  unbiased: "correction",
  batch: "batchSize",
  trainable: "requiresGrad",
  type: "dtype",
  smoothing: "labelSmoothing",
  threads: "workers",
  numworkers: "workers",
  align: "alignCorners",
  rng: "generator",
  key: "generator",
  p: "normType",
};

/** How many letters must change, go or come for one text to become the other. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++)
      next.push(Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1)));
    row = next;
  }
  return row[b.length];
}

/** Which of the known names was probably meant. */
function meant(name: string, known: readonly string[]): string | undefined {
  const plain = (s: string): string => s.replace(/[_-]/g, "").toLowerCase();
  const near = known.map((k) => ({ k, d: distance(plain(name), plain(k)) })).sort((x, y) => x.d - y.d)[0];
  const same = known.find((k) => plain(k) === plain(name));
  const other = ELSEWHERE[plain(name)];
  if (same) return same;
  if (Object.hasOwn(ELSEWHERE, plain(name)) && known.includes(other)) return other;
  if (near && near.d <= Math.max(1, Math.floor(name.length / 3))) return near.k;
  const letters = (s: string): string => [...plain(s)].sort().join("");
  return known.find((k) => letters(k) === letters(name));
}

/**
 * The options a function was given, or none.
 * @throws ValueError unless they are an object with known names alone.
 */
export function checkOptions<T extends object>(op: string, given: T | undefined, names: Names<T>): T {
  if (given === undefined) return {} as T;
  const known = Object.keys(names);
  if (typeof given !== "object" || given === null || Array.isArray(given) || ArrayBuffer.isView(given))
    throw new ValueError(`${op}: options must be an object of ${known.join(", ")}, got ${String(given)}`);
  for (const name of Object.keys(given)) {
    if (Object.hasOwn(names, name)) continue;
    const close = meant(name, known);
    throw new ValueError(
      `${op}: there is no option ${name}${close ? `; did you mean ${close}?` : ""} (options are ${known.join(", ")})`,
    );
  }
  return given;
}
