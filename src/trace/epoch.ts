/** @file An epoch in few launches: what a compiled function does with the batches of a loader. */
import { allocate, type TypedArray } from "../core/dtype.ts";
import { ValueError } from "../core/errors.ts";
import { sameShape, type Shape, show } from "../core/shape.ts";
import type { Node } from "../graph/node.ts";
import { Tensor } from "../tensor/tensor.ts";
import { dataLeaf } from "./bindings.ts";
import { type Entry, launch, resultOf } from "./record.ts";

/** An epoch that begins: which rows, in which order, of what. */
export interface Epoch {
  readonly rows: Int32Array;
  readonly batchSize: number;
  readonly batches: number;
  /** What the rows are of. */
  readonly dataset: object;
  /** The batch of the rows with these indices, int32, from the memory of the runtime in use. */
  readonly batch: (indices: Tensor) => Tensor[];
}

/** What has epochs: a DataLoader. The method begins one, or throws. */
export const EPOCH = Symbol("fourlane.epoch");
export interface Epochs {
  [EPOCH](): Epoch;
}

/** Most batches of one launch: what is behind it in the queue waits for a whole one. */
const RUN_LIMIT = 1024;

/**
 * The shape of a result over launches of `count` batches each: one entry for each batch; or, if only the first extents differ
 * and are the rows of each batch, one for each row.
 */
function overBatches(launches: readonly { shape: Shape; rows: number; count: number }[]): Shape {
  const [{ shape }] = launches;
  const total = (of: (l: (typeof launches)[number]) => number): number => launches.reduce((s, l) => s + of(l), 0);
  if (launches.every((l) => sameShape(l.shape, shape))) return [total((l) => l.count), ...shape];
  if (launches.every((l) => l.shape[0] === l.rows && sameShape(l.shape.slice(1), shape.slice(1))))
    return [total((l) => l.count * l.rows), ...shape.slice(1)];
  const other = launches.find((l) => !sameShape(l.shape, shape));
  throw new ValueError(`run: the last batch gives ${show(other?.shape ?? [])} instead of ${show(shape)}; use dropLast`);
}

/** The outputs of several launches, each one after the other. */
function joined(outputs: readonly Node[], pieces: readonly TypedArray[][]): TypedArray[] {
  if (pieces.length === 1) return pieces[0];
  return outputs.map(({ dtype }, k) => {
    const length = pieces.reduce((n, p) => n + p[k].length, 0);
    const all = allocate(dtype, length);
    let at = 0;
    for (const p of pieces) {
      all.set(p[k], at);
      at += p[k].length;
    }
    return all;
  });
}

/** @internal Runs an epoch by the programs that `entryOf` finds for the indices of a batch. The entry of the first batch, and the result. */
export function runEpoch(
  { rows, batchSize, batches }: Epoch,
  entryOf: (indices: Tensor) => Entry,
): { entry: Entry; result: unknown } {
  const part = (from: number, count: number): Int32Array =>
    rows.subarray(from * batchSize, Math.min(rows.length, (from + count) * batchSize));
  const launches: { entry: Entry; from: number; count: number; rows: number }[] = [];
  for (let from = 0, count = 0; from < batches; from += count) {
    const first = part(from, 1);
    const entry = entryOf(new Tensor(dataLeaf([first.length], "int32", first)));
    count = Math.max(1, Math.min(Math.floor(rows.length / batchSize) - from, RUN_LIMIT));
    launches.push({ entry, from, count, rows: first.length });
  }
  const [{ entry: first }] = launches;
  const { outputs } = first.graph;
  const shapes = outputs.map((_, k) =>
    overBatches(launches.map((l) => ({ ...l, shape: l.entry.graph.outputs[k].shape }))),
  );
  let before: Promise<TypedArray[]> | undefined;
  const parts = launches.map(({ entry, from, count }) => {
    before = launch(entry, [part(from, count)], { count, before });
    return before;
  });
  const all = Promise.all(parts).then((pieces) => joined(outputs, pieces));
  return { entry: first, result: resultOf(first, all, shapes) };
}
